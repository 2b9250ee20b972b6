//! `wsgi.input` is a file of the request's body: every way to read it, and every way it can fail.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    daemon::{Daemon, Serve},
    gate::Gate,
    nginx::Nginx,
    packet::Packet,
};

/// A body of lines short and long, with and without an end.
const LINES: &str = "first\n\nthird, longer\n\n\nsixth\nlast";

/// Far less than any timeout of the daemon's.
const PROMPT: Duration = Duration::from_secs(4);

/// Reads a body by `steps` and expects what a file of the same bytes gives.
fn expect_like_a_file(daemon: &Daemon, body: &str, steps: &str) {
    let packet = Packet::post(&format!("/compared?{steps}"), body).var("HTTP_X_BODY", body);
    for step in daemon.ask(&packet).expect(200).json().as_array().unwrap() {
        assert_eq!(step[1], step[2], "{} of {steps}", step[0]);
    }
}

#[test]
fn pep3333_input_is_read_like_a_file_with_every_size() {
    let daemon = Serve::app("inputs").start();
    for method in ["read", "readline", "readlines"] {
        for size in ["", ":None", ":-1", ":-7", ":0", ":1", ":3", ":7", ":32", ":33", ":34", ":1000000"] {
            let step = format!("{method}{size}");
            expect_like_a_file(&daemon, LINES, &format!("{step},{step},{step},read"));
            expect_like_a_file(&daemon, LINES, &format!("read:2,{step},readline,{step},iterate,{step}"));
            expect_like_a_file(&daemon, "", &format!("{step},{step}"));
        }
    }
}

#[test]
fn pep3333_input_is_read_like_a_file_in_any_order() {
    let daemon = Serve::app("inputs").start();
    let kinds = ["read:4", "readline", "readline:5", "read:0", "readlines:9", "readline:0", "read:1", "readlines:1"];
    let mut seed: usize = 42;
    for _ in 0..150 {
        let steps = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            kinds[(seed >> 33) % kinds.len()]
        });
        expect_like_a_file(&daemon, LINES, &format!("{},iterate,read", steps.take(6).collect::<Vec<_>>().join(",")));
    }
}

#[test]
fn pep3333_input_ends_at_content_length_and_stays_ended() {
    let daemon = Serve::app("inputs").start();
    let steps = "read:5,read,read,read:1,readline,readlines,iterate";
    let mut peer = daemon.connect();
    peer.send(Packet::post(&format!("/performed?{steps}"), "body and").bytes()).send("what nobody announced\n");
    assert_eq!(peer.reply().expect(200).json(), json!(["body ", "and", "", "", "", [], []]));
}

#[test]
fn pep3333_a_read_is_short_only_at_the_end_of_the_body() {
    let daemon = Serve::app("inputs").start();
    let body = vec![b'x'; 600_000];
    let mut peer = daemon.connect();
    peer.send(Packet::post("/lengths?70000", body.clone()).head()).send_in_pieces(
        &body,
        9000,
        Duration::from_millis(1),
    );
    let lengths = peer.reply().expect(200).json();
    assert_eq!(lengths, json!([70_000, 70_000, 70_000, 70_000, 70_000, 70_000, 70_000, 70_000, 40_000]));
}

#[test]
fn a_large_read_is_one_piece() {
    let daemon = Serve::app("inputs").start();
    let size = 9 * 1024 * 1024;
    assert_eq!(daemon.ask(&Packet::post("/lengths?-1", vec![b'x'; size])).expect(200).json(), json!([size]));
    assert_eq!(daemon.ask(&Packet::post("/lengths?8000000", vec![b'x'; size])).expect(200).json()[0], 8_000_000);
}

#[test]
fn a_thread_that_waits_for_a_body_holds_up_no_other() {
    let gate = Gate::new();
    let daemon = Serve::app("inputs").threads(2).option("--body-buffer", "1k").gate(&gate).start();
    let mut slow = daemon.connect();
    slow.send(Packet::post("/watched?read", vec![b'x'; 100_000]).head()).send([b'x'; 50_000]);
    gate.await_note("before the body").open();
    for _ in 0..20 {
        daemon.get("/unread");
    }
    slow.send([b'x'; 50_000]);
    gate.await_arrival().open();
    slow.reply().expect(200);
}

#[test]
fn a_content_length_that_is_no_number_never_reaches_the_application() {
    let daemon = Serve::app("inputs").start();
    for length in ["abc", "-1", "+5", "0x10", "5 ", " 5", "1,2", "1_0", "\u{b2}", "99999999999999999999999"] {
        let mut peer = daemon.connect();
        peer.send(Packet::request("POST", "/unread").var("CONTENT_LENGTH", length).head()).shut_write();
        assert_eq!(peer.reply().code(), 400, "{length:?}");
    }
    assert_eq!(daemon.get("/served").json(), json!(["/served"]));
}

#[test]
fn a_body_beyond_max_body_gets_a_413_before_the_application_runs() {
    for daemon in [
        Serve::app("inputs").option("--max-body", "1000").start(),
        Serve::app("inputs").option("--max-body", "1000").on_tcp().start(),
    ] {
        for size in [1001, 5000, 3_000_000] {
            let packet = Packet::post("/unread", vec![b'x'; size]).bytes();
            daemon.connect().send_meanwhile(packet).expect(413);
        }
        daemon.log.await_line(&["WARN", "--max-body"]);
        daemon.ask(&Packet::post("/unread", vec![b'x'; 1000])).expect(200);
        daemon.ask(&Packet::request("POST", "/unread").var("CONTENT_LENGTH", u64::MAX.to_string()));
        assert_eq!(daemon.get("/served").json(), json!(["/unread", "/served"]));
    }
}

#[test]
fn a_413_reaches_the_client_through_nginx() {
    let daemon = Serve::app("inputs").option("--max-body", "1000").start();
    let nginx = Nginx::start("unbuffered.conf", &daemon);
    for _ in 0..5 {
        nginx.browser().post("/unread", "text/plain", &[b'x'; 300_000]).expect(413);
    }
    nginx.browser().post("/unread", "text/plain", &[b'x'; 1000]).expect(200);
}

/// What `steps` give when the peer leaves with the body half sent.
fn perform_on_a_cut_body(steps: &str) -> Value {
    let gate = Gate::new();
    let daemon = Serve::app("inputs").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::post(&format!("/watched?{steps}"), vec![b'x'; 1_000_000]).head());
    // More than a socket holds, so it is taken only as it is read.
    let sending = thread::spawn(move || {
        peer.send([b'x'; 300_000]);
    });
    gate.await_note("before the body").open();
    sending.join().unwrap();
    let results = gate.await_arrival();
    let seen = serde_json::from_str(&results.note).unwrap();
    results.open();
    seen
}

#[test]
fn a_body_cut_short_raises_oserror_in_every_method() {
    for step in ["read", "read:900000", "readline", "readlines", "iterate"] {
        let seen = perform_on_a_cut_body(&format!("{step},{step}"));
        for result in seen.as_array().unwrap() {
            let text = result.as_str().unwrap_or_else(|| panic!("{step} passed half a body off as whole"));
            assert!(text.starts_with("raised OSError"), "{step} returned {} bytes", text.len());
        }
    }
}

#[test]
fn a_body_cut_short_can_be_read_up_to_the_cut() {
    let seen = perform_on_a_cut_body("read:100000,read:100000,read:900000");
    let [first, second, third] = [0, 1, 2].map(|at| seen[at].as_str().unwrap().to_owned());
    assert_eq!((first.len(), second.len()), (100_000, 100_000));
    assert!(third.starts_with("raised OSError: ConnectionResetError"), "{third}");
}

#[test]
fn a_body_that_stalls_raises_timeout_error_in_the_application() {
    let gate = Gate::new();
    let serve = Serve::app("inputs").option("--body-timeout", "300ms").option("--body-buffer", "1k");
    let daemon = serve.gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::post("/watched?read,read", vec![b'x'; 100_000]).head()).send([b'x'; 50_000]);
    gate.await_note("before the body").open();
    let results = gate.await_arrival();
    assert_eq!(results.note.matches("raised OSError: TimeoutError").count(), 2, "{}", results.note);
    results.open();
    peer.reply().expect(200);
}

#[test]
fn a_body_that_never_comes_does_not_hang_the_response() {
    let daemon = Serve::app("inputs").start();
    let start = Instant::now();
    let mut peer = daemon.connect();
    peer.send(Packet::post("/unread", vec![b'x'; 1000]).head());
    peer.reply().expect(200).expect_body("unread");
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
}

#[test]
fn a_body_that_nginx_announces_and_keeps_does_not_hang_the_response() {
    let daemon = Serve::app("inputs").start();
    let nginx = Nginx::start(in_tests("no-body.conf"), &daemon);
    let start = Instant::now();
    assert_eq!(nginx.browser().post("/unread", "text/plain", &[b'x'; 500_000]).expect(200).text(), "unread");
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
}

/// The path of a configuration that only tests use.
fn in_tests(name: &str) -> &str {
    match name {
        "no-body.conf" => concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nginx/no-body.conf"),
        _ => unreachable!("{name}"),
    }
}

#[test]
fn a_body_that_fits_the_spool_can_be_read_after_the_head() {
    for daemon in [Serve::app("inputs").start(), Serve::app("inputs").on_tcp().start()] {
        for size in [10, 5000, 200_000] {
            let packet = Packet::post("/after-the-head", vec![b'x'; size]).bytes();
            daemon.connect().send_meanwhile(packet).expect(200).expect_body(format!("head, then {size} bytes"));
        }
    }
}

#[test]
fn a_body_that_fits_the_spool_can_be_read_after_the_head_behind_nginx() {
    let daemon = Serve::app("inputs").start();
    for name in ["unix-socket.conf", "unbuffered.conf"] {
        let nginx = Nginx::start(name, &daemon);
        for _ in 0..15 {
            let page = nginx.browser().post("/after-the-head", "text/plain", &[b'x'; 200_000]).expect(200);
            assert_eq!(page.text(), "head, then 200000 bytes");
        }
    }
}

#[test]
fn what_another_thread_reads_while_the_response_begins_has_no_gap() {
    let daemon = Serve::app("inputs").option("--body-buffer", "300").start();
    let body: Vec<u8> = (0..5000_u32).flat_map(u32::to_be_bytes).collect();
    for _ in 0..20 {
        let mut peer = daemon.connect();
        peer.send(Packet::post("/aside", body.clone()).head());
        // As fast as it is read, until the daemon has sealed the body and hung up.
        let _ = body.chunks(50).try_for_each(|piece| {
            thread::sleep(Duration::from_micros(20));
            peer.try_send(piece)
        });
        let reply = peer.reply().expect(200);
        let read = reply.body().strip_prefix(b"begun: ").unwrap();
        assert!(body.starts_with(read), "{} bytes were read, with a gap", read.len());
    }
}

#[test]
fn a_body_beyond_the_spool_fails_fast_after_the_head() {
    let daemon = Serve::app("inputs").option("--body-buffer", "1k").start();
    let start = Instant::now();
    let mut peer = daemon.connect();
    peer.send(Packet::post("/after-the-head", vec![b'x'; 5_000_000]).head()).send([b'x'; 10_000]);
    // No more will come, as from nginx, and the peer stays.
    peer.await_bytes("head, then raised OSError");
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
}

#[test]
fn a_body_beyond_the_spool_fails_fast_after_the_head_behind_nginx() {
    let daemon = Serve::app("inputs").start();
    let nginx = Nginx::start("unbuffered.conf", &daemon);
    let start = Instant::now();
    let page = nginx.browser().post("/after-the-head", "text/plain", &vec![b'x'; 20_000_000]);
    page.expect(200).expect_text("head, then raised OSError");
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
}

#[test]
fn pep3333_an_unread_body_never_destroys_the_response() {
    let daemon = Serve::app("inputs").start();
    for size in [1, 1000, 100_000, 1_000_000] {
        let packet = Packet::post("/unread", vec![b'x'; size]).bytes();
        daemon.connect().send_meanwhile(packet).expect(200).expect_body("unread");
    }
}

#[test]
fn an_input_kept_beyond_its_request_never_reads_the_next() {
    let daemon = Serve::app("kept").option("--body-buffer", "1k").start();
    for size in [10, 100_000] {
        daemon.ask(&Packet::post("/keep", vec![b'1'; size])).expect(200).expect_body("11111");
        let reply = daemon.ask(&Packet::post("/read-kept", vec![b'2'; size])).expect(200);
        assert!(
            reply.text().starts_with("raised OSError") || reply.body().iter().all(|byte| *byte == b'1'),
            "{reply:?}"
        );
    }
}
