//! A stop finishes what is in flight, in bounded time, and leaves nothing behind.

use std::{
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::support::{
    daemon::{Daemon, Serve},
    gate::{Arrival, Gate},
    packet::Packet,
    peer::Peer,
    reply::Reply,
};

/// A request that the application holds at the gate.
fn hold(daemon: &Daemon, gate: &Gate) -> (Peer, Arrival) {
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    (peer, gate.await_note("called"))
}

#[test]
fn an_idle_daemon_stops_at_once_on_either_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let daemon = Serve::app("respond").workers(2).threads(2).start();
        daemon.get("/one");
        let socket = daemon.socket();
        let start = Instant::now();
        daemon.signal(signal).await_stopping();
        daemon.wait().expect(0);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(!socket.exists());
    }
}

#[test]
fn requests_in_flight_are_finished_on_either_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let gate = Gate::new();
        let daemon = Serve::app("respond").gate(&gate).start();
        let (peer, arrival) = hold(&daemon, &gate);
        daemon.signal(signal).await_stopping();
        assert!(peer.is_waiting());
        arrival.open();
        peer.reply().expect(200).expect_body("let through");
        daemon.wait().expect(0);
    }
}

#[test]
fn a_stream_in_flight_is_finished() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated-stream").bytes()).await_bytes("before ");
    let arrival = gate.await_note("in the middle");
    daemon.signal(Signal::SIGTERM).await_stopping();
    arrival.open();
    peer.reply().expect(200).expect_body("before after");
    daemon.wait().expect(0);
}

#[test]
fn a_response_that_a_slow_peer_has_not_taken_is_finished() {
    let daemon = Serve::app("respond").start();
    let mut slow = daemon.connect();
    slow.send(Packet::get("/large").bytes()).await_bytes("\r\n\r\n");
    daemon.signal(Signal::SIGTERM).await_stopping();
    let reply = slow.reply().expect(200);
    assert_eq!(reply.body().len(), 5 * 1024 * 1024);
    daemon.wait().expect(0);
}

#[test]
fn ctrl_c_in_a_terminal_still_finishes_requests() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").workers(2).gate(&gate).start();
    let (peer, arrival) = hold(&daemon, &gate);
    // A terminal signals the whole process group, workers included.
    killpg(Pid::from_raw(daemon.pid()), Signal::SIGINT).unwrap();
    daemon.await_stopping();
    arrival.open();
    peer.reply().expect(200).expect_body("let through");
    let stopped = daemon.wait().expect(0);
    assert!(!stopped.log.contains("KeyboardInterrupt"), "{}", stopped.log);
}

#[test]
fn a_second_signal_stops_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let gate = Gate::new();
        let daemon = Serve::app("respond").gate(&gate).start();
        let (peer, _arrival) = hold(&daemon, &gate);
        daemon.signal(Signal::SIGTERM).await_stopping();
        let start = Instant::now();
        daemon.signal(signal);
        let socket = daemon.socket();
        daemon.wait().expect(0);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(!socket.exists());
        assert!(peer.reply().expect_reset().is_empty());
    }
}

#[test]
fn what_outlasts_the_stop_timeout_is_cut_and_named() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").option("--stop-timeout", "500ms").gate(&gate).start();
    let (peer, _arrival) = hold(&daemon, &gate);
    let worker = daemon.workers()[0];
    let start = Instant::now();
    daemon.signal(Signal::SIGTERM);
    let stopped = daemon.wait().expect(0);
    assert!(start.elapsed() > Duration::from_millis(450), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    let cut = stopped.log.lines().any(|line| line.contains("WARN") && line.contains(&worker.to_string()));
    assert!(cut && stopped.log.contains("--stop-timeout is over"), "{}", stopped.log);
    peer.reply().expect_reset();
}

#[test]
fn term_while_the_application_is_being_imported_stops_promptly() {
    for preload in [false, true] {
        let gate = Gate::new();
        let serve = Serve::app("hangs").gate(&gate);
        let daemon = if preload { serve.flag("--preload") } else { serve }.spawn();
        let _arrival = gate.await_note("importing");
        let start = Instant::now();
        let socket = daemon.socket();
        daemon.signal(Signal::SIGTERM);
        daemon.wait().expect(0);
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        assert!(!socket.exists());
    }
}

#[test]
fn term_at_any_moment_of_the_start_leaves_nothing_behind() {
    for moment in 0..16 {
        let daemon = Serve::app("respond").workers(2).spawn();
        // Any moment is as good as another, so none is waited for.
        thread::sleep(Duration::from_millis(8 * moment));
        let (socket, group) = (daemon.socket(), Pid::from_raw(daemon.pid()));
        daemon.signal(Signal::SIGTERM);
        let stopped = daemon.wait();
        // The first moments belong to the system, which has its own way.
        assert!(stopped.is_ended_by(Signal::SIGTERM) || stopped.code() == 0, "{}", stopped.log);
        assert!(!socket.exists());
        assert!(killpg(group, None).is_err(), "somebody is left");
    }
}

#[test]
fn a_request_that_comes_while_stopping_is_answered_or_refused() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").threads(2).gate(&gate).start();
    let (peer, arrival) = hold(&daemon, &gate);
    daemon.signal(Signal::SIGTERM).await_stopping();
    // The socket's file goes early, so that whoever comes late is refused rather than reset.
    let mut late = Peer::try_unix(&daemon.socket());
    if let Ok(late) = &mut late {
        late.send(Packet::get("/one").bytes());
    }
    arrival.open();
    peer.reply().expect(200);
    daemon.wait().expect(0);
    let is_well = |reply: Reply| reply.code() == 503 || reply.text() == "one chunk";
    assert!(late.map_or_else(|refused| refused.kind() == ErrorKind::NotFound, |late| is_well(late.reply())));
}

#[test]
fn a_hangup_does_not_stop_the_daemon() {
    let daemon = Serve::app("respond").start();
    daemon.signal(Signal::SIGHUP);
    daemon.log.await_line(&["reloaded:"]);
    daemon.get("/one");
    daemon.stop();
}

#[test]
fn signals_to_the_group_that_mean_nothing_leave_everything_running() {
    let daemon = Serve::app("respond").start();
    let worker = daemon.workers();
    for signal in [Signal::SIGWINCH, Signal::SIGPIPE, Signal::SIGCHLD] {
        killpg(Pid::from_raw(daemon.pid()), signal).unwrap();
    }
    daemon.get("/one");
    assert_eq!(daemon.workers(), worker);
}
