//! No peer and no application can keep a desk, tear a body apart, or make a broken response look whole.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::support::{DEADLINE, daemon::Serve, packet::Packet};

#[test]
fn a_head_request_for_an_endless_response_leaves_its_desk() {
    let daemon = Serve::app("hostile").start();
    let reply = daemon.ask(&Packet::request("HEAD", "/endless")).expect(200);
    assert!(reply.body().is_empty());
    daemon.get("/well").expect_body("well");
}

#[test]
fn a_peer_that_leaves_an_endless_response_leaves_its_desk() {
    let daemon = Serve::app("hostile").start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/endless").bytes()).await_bytes("tick");
    drop(peer);
    daemon.get("/well").expect_body("well");
}

#[test]
fn a_broken_response_is_seen_although_the_announced_body_never_came() {
    for daemon in [Serve::app("hostile").start(), Serve::app("hostile").on_tcp().start()] {
        let mut peer = daemon.connect();
        peer.send(Packet::request("POST", "/broken").var("CONTENT_LENGTH", "10").head());
        peer.reply().expect_reset();
    }
}

#[test]
fn a_broken_response_is_seen_although_the_body_stops_where_its_buffer_is_full() {
    let daemon = Serve::app("hostile").start();
    let mut peer = daemon.connect();
    peer.send(Packet::request("POST", "/broken").var("CONTENT_LENGTH", "300000").head()).send(vec![b'x'; 262_144]);
    peer.reply().expect_reset();
}

#[test]
fn an_early_answer_does_not_wait_for_a_body_that_dribbles() {
    let daemon = Serve::app("hostile").option("--body-buffer", "1000").start();
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut dribbling = stream.try_clone().unwrap();
    let packet = Packet::request("POST", "/refuse-early").var("CONTENT_LENGTH", "100000");
    dribbling.write_all(&[packet.head(), vec![b'x'; 1000]].concat()).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // A byte every few milliseconds is never a pause.
            while !is_over.load(Ordering::Relaxed) && dribbling.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let mut head = [0; 12];
        let answered = stream.read_exact(&mut head);
        is_over.store(true, Ordering::Relaxed);
        answered.unwrap();
        assert_eq!(&head, b"HTTP/1.1 401");
    });
}

#[test]
fn half_a_line_for_wsgi_errors_is_logged_when_its_request_ends() {
    let daemon = Serve::app("hostile").start();
    daemon.ask(&Packet::get("/half-a-line").var("HTTP_X_REQUEST_ID", "the-one")).expect(200);
    daemon.log.await_line(&["a line without an end", "the-one"]);
}

#[test]
fn framing_and_environ_agree_on_repeated_vars_that_end_empty() {
    let daemon = Serve::app("hostile").start();
    let packet = Packet::request("HEAD", "/framing").var("CONTENT_LENGTH", "5");
    let packet = packet.var("CONTENT_LENGTH", "").var("REQUEST_METHOD", "");
    daemon.ask(&packet).expect(200).expect_body("none GET ");
}

#[test]
fn two_threads_that_read_one_body_share_it_out() {
    let daemon = Serve::app("hostile").start();
    let reply = daemon.connect().send_meanwhile(Packet::post("/two-readers", vec![b'x'; 600_000]).bytes());
    reply.expect_body("600000 600000");
}

#[test]
fn a_stop_under_load_ends_without_cutting_a_request() {
    let daemon = Serve::app("hostile").start();
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Ends when nobody listens any more.
                while let Ok(mut stream) = UnixStream::connect(daemon.socket()) {
                    let mut reply = String::new();
                    stream.write_all(&Packet::get("/well").bytes()).unwrap();
                    stream.read_to_string(&mut reply).unwrap();
                    assert!(reply.ends_with("\r\n\r\nwell"), "{reply:?}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while served.load(Ordering::Relaxed) < 20 {
            thread::yield_now();
        }
        daemon.signal(Signal::SIGTERM);
    });
    let stopped = daemon.wait().expect(0);
    assert!(!stopped.log.contains("killing"), "{}", stopped.log);
}

#[test]
fn a_stop_answers_requests_that_are_not_complete() {
    let daemon = Serve::app("hostile").start();
    let mut head = daemon.connect();
    head.send(&Packet::get("/well").bytes()[..20]);
    let mut body = daemon.connect();
    body.send(Packet::request("POST", "/well").var("CONTENT_LENGTH", "10").head()).send(b"half");
    daemon.get("/well").expect_body("well");
    daemon.signal(Signal::SIGTERM);
    for peer in [head, body] {
        peer.reply().expect(503);
    }
    daemon.wait().expect(0);
}
