//! A request that does not end is logged with its stack, answered with 504, and costs nobody else anything.

use std::time::{Duration, Instant};

use crate::support::{
    daemon::{Daemon, Serve},
    gate::{Arrival, Gate},
    packet::Packet,
    peer::Peer,
    process,
};

/// A daemon whose requests have half a second, and half a second of grace.
fn impatient() -> Serve {
    patient("500ms", "500ms")
}

fn patient(timeout: &str, grace: &str) -> Serve {
    Serve::app("slow").option("--request-timeout", timeout).option("--timeout-grace", grace)
}

fn facts(daemon: &Daemon) -> serde_json::Value {
    daemon.get("/facts").json()
}

fn send(daemon: &Daemon, uri: &str) -> Peer {
    let mut peer = daemon.connect();
    peer.send(Packet::get(uri).bytes());
    peer
}

/// The worker that answered, which is to be the same as before.
fn expect_same_worker(daemon: &Daemon, worker: i32) {
    assert_eq!(facts(daemon)["pid"], worker);
    assert_eq!(daemon.workers(), [worker]);
    assert_eq!(daemon.log.with(&["replaced"]), [""; 0]);
}

/// Occupies both threads of a worker; returns the main one's request first.
fn occupy_both(daemon: &Daemon, gate: &Gate) -> [(Peer, Arrival); 2] {
    let mut held = [(); 2].map(|()| {
        let peer = send(daemon, "/facts?gate");
        (peer, gate.await_arrival())
    });
    held.sort_by_key(|(_, arrival)| arrival.note != "True");
    held
}

fn let_go((peer, arrival): (Peer, Arrival)) {
    arrival.open();
    peer.reply().expect(200);
}

/// Asks for `uri` in the thread that is not the main one of a worker of two; the main one's request is at the gate still.
fn send_to_other(daemon: &Daemon, gate: &Gate, uri: &str) -> (Peer, (Peer, Arrival)) {
    let [held, other] = occupy_both(daemon, gate);
    let_go(other);
    let peer = send(daemon, &format!("{uri}?gate"));
    // The main thread is not let go before this one has the request.
    gate.await_note("False").open();
    (peer, held)
}

#[test]
fn what_waits_in_the_main_thread_is_interrupted_and_the_worker_lives() {
    for (uri, line) in [("/sleep", "time.sleep(1000)"), ("/lock", "held.acquire()"), ("/loop", "while True:")] {
        let daemon = impatient().start();
        let worker = daemon.workers()[0];
        let asked = Instant::now();
        let reply = daemon.ask(&Packet::get(uri)).expect(504).expect_body("504 Gateway Timeout\n");
        assert!(asked.elapsed() >= Duration::from_millis(450), "{uri} after {:?}", asked.elapsed());
        assert_eq!(reply.header("Content-Type").as_deref(), Some("text/plain; charset=utf-8"));
        daemon.log.await_line(&["request timeout: raising RequestTimeout"]);
        daemon.log.await_line(&["slow.py", "in", uri.trim_start_matches('/')]);
        daemon.log.await_line(&["method=GET", &format!("path={uri}"), "request_id=", "age="]);
        // A line of the loop's body is as likely as its head.
        if uri != "/loop" {
            daemon.log.await_line(&[line]);
        }
        expect_same_worker(&daemon, worker);
    }
}

#[test]
fn the_request_is_named_by_the_id_that_its_peer_gave_it() {
    let daemon = impatient().start();
    daemon.ask(&Packet::get("/sleep").var("HTTP_X_REQUEST_ID", "given-7")).expect(504);
    daemon.log.await_line(&["request_id=given-7", "path=/sleep"]);
}

#[test]
fn a_loop_in_another_thread_is_interrupted_and_the_worker_lives() {
    let gate = Gate::new();
    let daemon = patient("500ms", "10s").threads(2).gate(&gate).start();
    let worker = daemon.workers()[0];
    for _ in 0..2 {
        let (peer, held) = send_to_other(&daemon, &gate, "/loop");
        // The one at the gate has to be out before its own time is over.
        let_go(held);
        peer.reply().expect(504);
        // Nobody else has got an exception that was not meant for it.
        for _ in 0..10 {
            facts(&daemon);
        }
    }
    expect_same_worker(&daemon, worker);
}

#[test]
fn a_wait_in_another_thread_costs_the_worker_but_not_its_other_requests() {
    let gate = Gate::new();
    let daemon = patient("2s", "500ms").threads(2).gate(&gate).start();
    let worker = daemon.workers()[0];
    let (stuck, held) = send_to_other(&daemon, &gate, "/sleep");
    let_go(held);
    let mut long = daemon.connect();
    long.send(Packet::get("/unlimited").bytes());
    let arrival = gate.await_note("unlimited");
    stuck.reply().expect(504);
    daemon.log.await_line(&["has not ended", "504", "replaced", "path=/sleep"]);
    assert!(!process::has_ended(worker, Duration::from_millis(300)), "another request is at the gate still");
    arrival.open();
    assert_eq!(long.reply().expect(200).json()["pid"], worker);
    assert!(process::has_ended(worker, crate::support::DEADLINE));
    assert_ne!(facts(&daemon)["pid"], worker);
    assert_eq!(daemon.log.with(&["died"]), [""; 0]);
}

#[test]
fn a_request_that_cannot_be_interrupted_is_answered_by_the_lobby_and_its_worker_replaced() {
    for uri in ["/swallows-everything", "/keeps-the-gil"] {
        let daemon = impatient().start();
        let worker = daemon.workers()[0];
        daemon.ask(&Packet::get(uri)).expect(504).expect_body("504 Gateway Timeout\n");
        daemon.log.await_line(&["has not ended", "504", "replaced", &format!("path={uri}")]);
        assert!(process::has_ended(worker, crate::support::DEADLINE));
        assert_ne!(facts(&daemon)["pid"], worker);
        assert_eq!(daemon.log.with(&["died"]), [""; 0]);
    }
}

#[test]
fn code_that_holds_the_gil_is_found_by_its_stack() {
    let daemon = impatient().start();
    daemon.ask(&Packet::get("/keeps-the-gil")).expect(504);
    daemon.log.await_line(&["GIL is held"]);
    daemon.log.await_line(&["slow.py", "keeps_the_gil"]);
    daemon.log.await_line(&["method=GET", "path=/keeps-the-gil", "request_id=", "age="]);
}

#[test]
fn a_head_request_gets_no_body_either_way() {
    for uri in ["/sleep", "/keeps-the-gil"] {
        let daemon = impatient().start();
        let reply = daemon.ask(&Packet::get(uri).var("REQUEST_METHOD", "HEAD"));
        assert_eq!((reply.code(), reply.body()), (504, &b""[..]));
    }
}

#[test]
fn a_response_that_has_begun_is_broken_visibly() {
    for uri in ["/stream", "/stuck-stream"] {
        for daemon in [impatient().start(), impatient().on_tcp().start()] {
            daemon.ask(&Packet::get(uri)).expect_reset();
            daemon.log.await_line(&["request timeout", "raising"]);
            assert!(facts(&daemon)["pid"].is_i64());
        }
    }
}

#[test]
fn except_exception_lets_it_pass_and_finally_is_run() {
    let daemon = impatient().start();
    daemon.ask(&Packet::get("/swallows-exceptions")).expect(504);
    daemon.ask(&Packet::get("/tidies-up")).expect(504);
    assert_eq!(facts(&daemon)["closed"], 1);
}

#[test]
fn an_application_may_answer_in_its_own_words() {
    let daemon = impatient().start();
    daemon.ask(&Packet::get("/answers-for-itself")).expect(503).expect_body("in its own words");
}

#[test]
fn an_application_gives_itself_more_time() {
    let gate = Gate::new();
    for (uri, note) in [("/longer", "longer"), ("/unlimited", "unlimited")] {
        let daemon = impatient().gate(&gate).start();
        let peer = send(&daemon, uri);
        let arrival = gate.await_note(note);
        // Nothing happens, which is what there is to see.
        std::thread::sleep(Duration::from_millis(1200));
        assert!(peer.is_waiting());
        arrival.open();
        peer.reply().expect(200);
        assert_eq!(daemon.log.with(&["timeout"]), [""; 0]);
        // That was for one request.
        daemon.ask(&Packet::get("/sleep")).expect(504);
    }
}

#[test]
fn an_application_gives_itself_less_time() {
    for timeout in ["1h", "0"] {
        let daemon = Serve::app("slow").option("--request-timeout", timeout).start();
        daemon.ask(&Packet::get("/shorter")).expect(504);
    }
}

#[test]
fn time_is_asked_for_in_the_thread_of_the_request_and_in_seconds() {
    let daemon = impatient().start();
    let text = daemon.get("/elsewhere").text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].contains("serves no request"), "{text}");
    assert!(lines[1..].iter().all(|line| line.starts_with("seconds: ")), "{text}");
}

#[test]
fn a_timeout_is_a_duration_or_nothing() {
    let stopped = Serve::app("slow").option("--request-timeout", "never").fail();
    stopped.expect(78).expect_log("--request-timeout: `never` is not a duration");
}

#[test]
fn a_worker_that_dies_is_reported_with_what_it_was_doing() {
    let daemon = Serve::app("fails").start();
    let worker = daemon.workers()[0];
    daemon.ask(&Packet::get("/segfault?secret=1")).expect_reset();
    let line = daemon.log.await_line(&["in the middle of a request", "SIGSEGV", &format!("pid {worker}")]);
    assert!(line.contains("method=GET path=/segfault age="), "{line}");
}
