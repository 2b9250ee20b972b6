//! What cannot be answered whole is answered with an error, or breaks where the peer sees it.

use nix::sys::signal::Signal;

use crate::support::{
    daemon::{Daemon, Serve},
    gate::Gate,
    packet::Packet,
    process,
};

/// The failing application on either kind of socket.
fn on_each_socket(gate: &Gate) -> [Daemon; 2] {
    [Serve::app("fails").gate(gate).start(), Serve::app("fails").gate(gate).on_tcp().start()]
}

#[test]
fn an_exception_before_the_head_is_a_500_and_a_traceback() {
    let daemon = Serve::app("fails").start();
    let reply = daemon.ask(&Packet::get("/before")).expect(500);
    assert!(!reply.text().contains("ValueError"), "the traceback is nobody else's business: {reply:?}");
    daemon.log.await_line(&["ValueError: raised before the head"]);
    assert_eq!(daemon.log.with(&["Traceback (most recent call last)"]).len(), 1);
    assert_eq!(daemon.log.with(&["in before_the_head"]).len(), 1);
    daemon.get("/well").expect_body("well");
}

#[test]
fn an_exception_after_start_response_but_before_the_head_is_a_500() {
    let daemon = Serve::app("fails").start();
    daemon.ask(&Packet::get("/started")).expect(500);
    daemon.log.await_line(&["ValueError: raised after start_response"]);
    daemon.get("/well").expect_body("well");
}

#[test]
fn an_exception_in_mid_stream_breaks_the_response_visibly() {
    let gate = Gate::new();
    for daemon in on_each_socket(&gate) {
        let mut peer = daemon.connect();
        peer.send(Packet::get("/mid").bytes()).await_bytes("the first half");
        gate.await_note("before the failure").open();
        peer.reply().expect_reset();
        daemon.log.await_line(&["ValueError: raised in mid-stream"]);
        daemon.get("/well").expect_body("well");
    }
}

#[test]
fn an_exception_in_mid_stream_breaks_the_response_to_a_post_visibly() {
    let gate = Gate::new();
    for daemon in on_each_socket(&gate) {
        let mut peer = daemon.connect();
        peer.send(Packet::post("/mid", "a body").bytes()).await_bytes("the first half");
        gate.await_note("before the failure").open();
        peer.reply().expect_reset();
    }
}

#[test]
fn a_worker_killed_mid_stream_breaks_the_response_visibly() {
    let gate = Gate::new();
    let daemon = Serve::app("fails").gate(&gate).start();
    let with_body = |size| Packet::post("/crash-mid-stream", vec![b'x'; size]);
    for packet in [Packet::get("/crash-mid-stream"), with_body(6), with_body(200_000), with_body(300_000)] {
        let mut peer = daemon.connect();
        peer.send(packet.bytes()).await_bytes("the first half");
        let worker = gate.await_arrival();
        process::signal(worker.note.parse().unwrap(), Signal::SIGKILL);
        peer.reply().expect_reset();
    }
}

#[test]
fn a_worker_that_dies_before_the_head_leaves_no_response_at_all() {
    let daemon = Serve::app("fails").start();
    let reply = daemon.ask(&Packet::get("/crash")).expect_reset();
    assert!(reply.is_empty(), "{reply:?}");
    daemon.get("/well").expect_body("well");
}

#[test]
fn a_body_shorter_than_its_content_length_breaks_the_response_visibly() {
    let daemon = Serve::app("fails").start();
    let reply = daemon.ask(&Packet::get("/short")).expect_reset();
    assert_eq!(reply.header("Content-Length").as_deref(), Some("100"));
    daemon.log.await_line(&["100"]);
    daemon.get("/well").expect_body("well");
}

#[test]
fn system_exit_costs_one_request() {
    let daemon = Serve::app("fails").start();
    daemon.ask(&Packet::get("/exit")).expect(500);
    daemon.get("/well").expect_body("well");
    assert_eq!(daemon.log.with(&["died"]), [""; 0]);
}

#[test]
fn an_application_that_breaks_the_rules_gets_a_500_and_a_reason() {
    let daemon = Serve::app("fails").start();
    let offences = [
        ("/never-started", "start_response"),
        ("/not-bytes", "bytes"),
        ("/not-iterable", "iterable"),
        ("/bad-status", "99 Too Low"),
        ("/split-header", "X-Bad"),
        ("/hop-by-hop", "Transfer-Encoding"),
    ];
    for (uri, reason) in offences {
        let reply = daemon.ask(&Packet::get(uri)).expect(500);
        assert!(!reply.holds(b"stolen"), "{reply:?}");
        daemon.log.await_line(&[reason]);
        daemon.get("/well").expect_body("well");
    }
}
