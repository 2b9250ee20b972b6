//! Whatever dies, and of whatever: it is replaced at once, and the log says what died, of what, and what it was serving.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    DEADLINE,
    daemon::{Daemon, Serve},
    gate::Gate,
    load,
    nginx::Nginx,
    packet::Packet,
    peer::Peer,
    process,
};

#[test]
fn the_log_says_what_died_of_what_and_what_it_was_serving() {
    // The kernel's OOM killer sends SIGKILL too.
    let endings = [
        ("/segfault", "SIGSEGV (in native code"),
        ("/crash", "SIGKILL (not by rusgi: dmesg"),
        ("/leave", "exit code 9"),
    ];
    for (uri, ending) in endings {
        let daemon = Serve::app("fails").start();
        let worker = format!("pid {}", daemon.workers()[0]);
        daemon.ask(&Packet::get(uri)).expect_reset();
        daemon.log.await_line(&["worker 1", &worker, "died", ending, "replacing it"]);
        let ending = ending.split(" (").next().unwrap();
        daemon.log.await_line(&[&worker, ending, "in the middle of a request", "method=GET", &format!("path={uri}")]);
        daemon.get("/well").expect_body("well");
    }
}

/// From the death of a preloaded worker to the answer of the one that takes its place.
fn time_to_replace() -> Duration {
    let daemon = Serve::app("process").flag("--preload").start();
    let doomed = daemon.workers()[0];
    let killed = Instant::now();
    process::signal(doomed, Signal::SIGKILL);
    assert_ne!(daemon.get("/").json()["pid"], doomed);
    killed.elapsed()
}

#[test]
fn a_preloaded_worker_is_replaced_within_a_tenth_of_a_second() {
    let mut times: Vec<_> = (0..5).map(|_| time_to_replace()).collect();
    times.sort();
    eprintln!("from the death of a worker to the answer of the next: {times:.1?}");
    // The machine may have been busy otherwise, but hardly every time.
    assert!(times[0] < Duration::from_millis(100), "{times:?}");
}

#[test]
fn a_forkserver_killed_under_load_costs_no_request() {
    for flags in [&[][..], &["--preload"]] {
        let serve = Serve::app("hello").workers(2);
        let daemon = flags.iter().fold(serve, |serve, flag| serve.flag(*flag)).start();
        let nginx = Nginx::start("unix-socket.conf", &daemon);
        let report = load::during(200, || nginx.connect(), || kill_forkservers(&daemon));
        eprintln!("a forkserver killed three times under load: {report}");
        report.expect_no_failure();
        nginx.expect_no_errors();
        daemon.stop();
    }
}

/// Kills the forkserver, and each of the next ones as soon as it is there.
fn kill_forkservers(daemon: &Daemon) {
    let workers = daemon.workers();
    // Workers whose forkserver has died are children of the supervisor too.
    let forkserver = || process::children(daemon.pid()).into_iter().find(|pid| !workers.contains(pid));
    for _ in 0..3 {
        assert!(process::eventually(|| forkserver().is_some()), "nobody took the forkserver's place");
        let doomed = forkserver().unwrap();
        process::signal(doomed, Signal::SIGKILL);
        daemon.log.await_line(&[&format!("(pid {doomed}) died: SIGKILL"), "2 workers go on"]);
    }
    assert!(process::eventually(|| forkserver().is_some()), "nobody took the forkserver's place");
}

#[test]
fn a_worker_whose_supervisor_has_died_finishes_its_request_and_goes() {
    let gate = Gate::new();
    let daemon = Serve::app("process").workers(2).gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let arrival = gate.await_arrival();
    let (busy, workers) = (arrival.note.parse::<i32>().unwrap(), daemon.workers());
    daemon.signal(Signal::SIGKILL);
    for idle in workers.into_iter().filter(|pid| *pid != busy) {
        assert!(process::has_ended(idle, DEADLINE), "worker {idle} goes on without a supervisor");
    }
    arrival.open();
    assert_eq!(peer.reply().expect(200).json()["pid"], busy);
    assert!(process::has_ended(busy, DEADLINE));
    daemon.log.await_end();
    assert!(Peer::try_unix(&daemon.socket()).is_err(), "somebody still accepts");
}

#[test]
fn a_supervisor_that_dies_under_load_breaks_no_response() {
    let daemon = Serve::app("hello").workers(2).start();
    let is_over = AtomicBool::new(false);
    let visit = || {
        let mut whole = 0;
        while let (false, Ok(mut peer)) = (is_over.load(Ordering::Relaxed), Peer::try_unix(&daemon.socket())) {
            let is_sent = peer.try_send(&Packet::get("/").bytes()).is_ok();
            let reply = peer.reply();
            // Who comes too late is reset before anything was answered.
            assert!(reply.is_empty() || reply.text() == "Hello, world!\n", "{is_sent} {reply:?}");
            whole += usize::from(!reply.is_empty());
        }
        whole
    };
    thread::scope(|scope| {
        let visitors: Vec<_> = (0..4).map(|_| scope.spawn(visit)).collect();
        (0..50).for_each(|_| drop(daemon.get("/")));
        daemon.signal(Signal::SIGKILL);
        daemon.log.await_end();
        is_over.store(true, Ordering::Relaxed);
        let whole: usize = visitors.into_iter().map(|visitor| visitor.join().unwrap()).sum();
        eprintln!("{whole} whole responses around the death of the supervisor");
    });
}
