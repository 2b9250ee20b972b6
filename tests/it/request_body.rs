//! `wsgi.input` holds exactly the request's body, whatever its size and however it comes.

use std::time::Duration;

use crate::support::{daemon::Serve, gate::Gate, packet::Packet};

const MIB: usize = 1024 * 1024;

/// Bytes among which a lost or doubled piece cannot hide.
fn body(size: usize) -> Vec<u8> {
    let words = (0_u32..).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes());
    words.take(size).collect()
}

#[test]
fn bodies_of_all_sizes_arrive_whole() {
    let daemon = Serve::app("mirror").start();
    for size in [0, 1, 2, 100, 4096, 65_536, 262_143, 262_144, 262_145, MIB] {
        daemon.ask(&Packet::post("/all", body(size))).expect(200).expect_body(body(size));
    }
}

#[test]
fn a_body_of_twenty_mebibytes_arrives_whole() {
    let daemon = Serve::app("mirror").start();
    daemon.ask(&Packet::post("/all", body(20 * MIB))).expect(200).expect_body(body(20 * MIB));
}

#[test]
fn a_body_of_twenty_mebibytes_arrives_whole_over_tcp() {
    let daemon = Serve::app("mirror").on_tcp().start();
    daemon.ask(&Packet::post("/pieces", body(20 * MIB))).expect(200).expect_body(body(20 * MIB));
}

#[test]
fn a_body_in_dribbles_arrives_whole() {
    let daemon = Serve::app("mirror").start();
    let sent = body(2 * MIB);
    let mut peer = daemon.connect();
    peer.send(Packet::post("/pieces", sent.clone()).head());
    peer.send_in_pieces(&sent, 50_000, Duration::from_millis(5));
    peer.reply().expect(200).expect_body(sent);
}

#[test]
fn a_body_in_single_bytes_arrives_whole() {
    let daemon = Serve::app("mirror").start();
    let sent = body(3000);
    // More writes than a socket holds, however few bytes they are: whatever is only looked at would stop the peer.
    for _ in 0..10 {
        let mut peer = daemon.connect();
        peer.send(Packet::post("/all", sent.clone()).head()).send_in_pieces(&sent, 1, Duration::ZERO);
        peer.reply().expect(200).expect_body(sent.clone());
    }
}

#[test]
fn a_body_may_start_long_after_its_packet() {
    let daemon = Serve::app("mirror").start();
    let mut peer = daemon.connect();
    peer.send_in_pieces(&Packet::post("/all", "later").head(), 4096, Duration::from_millis(100));
    peer.send("later");
    peer.reply().expect(200).expect_body("later");
}

#[test]
fn pep3333_input_can_be_read_by_every_method() {
    let daemon = Serve::app("mirror").start();
    let sent = "one\ntwo\nthree\nfour\nfive";
    let seen = daemon.ask(&Packet::post("/methods", sent)).expect(200).json();
    let wanted = serde_json::json!(["one\n", "two", "\nthr", "", ["ee\n", "four\n", "five"], "", ""]);
    assert_eq!(seen, wanted);
}

#[test]
fn pep3333_input_can_be_iterated_over_by_lines() {
    let daemon = Serve::app("mirror").start();
    daemon.ask(&Packet::post("/lines", "a\nb\n\nlast")).expect(200).expect_body("A\nB\n\nLAST");
}

#[test]
fn lines_longer_than_any_buffer_stay_whole() {
    let daemon = Serve::app("mirror").start();
    let sent = format!("{}\n{}", "x".repeat(MIB), "y".repeat(MIB));
    daemon.ask(&Packet::post("/lines", sent.as_str())).expect(200).expect_body(sent.to_uppercase());
}

#[test]
fn pep3333_input_ends_where_content_length_says() {
    let daemon = Serve::app("mirror").start();
    let mut peer = daemon.connect();
    peer.send(Packet::post("/all", "body").bytes()).send("bytes that nobody announced");
    peer.reply().expect(200).expect_body("body");
}

#[test]
fn without_content_length_there_is_no_body() {
    let daemon = Serve::app("mirror").start();
    daemon.ask(&Packet::request("POST", "/all")).expect(200).expect_body("");
    daemon.ask(&Packet::request("POST", "/all").var("CONTENT_LENGTH", "")).expect(200).expect_body("");
}

#[test]
fn an_application_that_reads_nothing_costs_the_peer_nothing() {
    for daemon in [Serve::app("mirror").start(), Serve::app("mirror").on_tcp().start()] {
        for size in [10, 5000, 300_000, 3 * MIB] {
            let packet = Packet::post("/none", body(size)).bytes();
            daemon.connect().send_meanwhile(packet).expect(200).expect_body("read nothing");
        }
    }
}

#[test]
fn an_application_that_reads_a_part_costs_the_peer_nothing() {
    for daemon in [Serve::app("mirror").start(), Serve::app("mirror").on_tcp().start()] {
        for size in [11, 5000, 300_000, 3 * MIB] {
            let packet = Packet::post("/ten", body(size)).bytes();
            daemon.connect().send_meanwhile(packet).expect(200).expect_body(body(10));
        }
    }
}

#[test]
fn a_body_that_never_comes_does_not_keep_the_request_waiting() {
    let daemon = Serve::app("mirror").start();
    let mut peer = daemon.connect();
    peer.send(Packet::post("/none", body(1000)).head());
    peer.reply().expect(200).expect_body("read nothing");
}

#[test]
fn a_body_that_stalls_ends_in_408() {
    let daemon = Serve::app("mirror").option("--body-timeout", "300ms").start();
    let mut peer = daemon.connect();
    peer.send(Packet::post("/all", body(1000)).head()).send("a part");
    peer.reply().expect(408);
    daemon.log.await_line(&["WARN"]);
    daemon.get("/none");
}

#[test]
fn an_application_learns_that_the_peer_left_in_the_middle_of_the_body() {
    let gate = Gate::new();
    let daemon = Serve::app("fails").option("--body-buffer", "1k").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::post("/cut-body", body(MIB)).head()).send(body(100_000));
    let before = gate.await_note("before the body");
    drop(peer);
    before.open();
    let got = gate.await_arrival();
    assert!(got.note.starts_with("raised "), "{}", got.note);
    got.open();
    daemon.get("/well").expect_body("well");
}

#[test]
fn a_peer_that_leaves_in_the_middle_of_a_small_body_costs_only_itself() {
    let daemon = Serve::app("mirror").start();
    let mut peer = daemon.connect();
    peer.send(Packet::post("/all", "whole body").head()).send("whole");
    drop(peer);
    daemon.ask(&Packet::post("/all", "next")).expect(200).expect_body("next");
}
