//! start_response and write() do what PEP 3333 says, and refuse what would change meaning on the wire.

use serde_json::{Value, json};

use crate::support::{
    daemon::{Daemon, Serve},
    gate::Gate,
    packet::Packet,
    reply::{End, Reply},
};

/// What comes of calling start_response with these two.
fn start(daemon: &Daemon, status: &Value, headers: &Value) -> Reply {
    let body = json!({"status": status, "headers": headers}).to_string();
    daemon.ask(&Packet::post("/described", body))
}

/// Every one is refused inside the application, which can then answer otherwise.
fn expect_refused(status: &Value, headers: &Value) {
    let daemon = Serve::app("starts").start();
    refused(&daemon, status, headers);
}

fn refused(daemon: &Daemon, status: &Value, headers: &Value) -> String {
    let reply = start(daemon, status, headers).expect(200);
    let text = reply.text();
    assert!(text.starts_with("refused: "), "{status} {headers}: {reply:?}");
    text
}

#[test]
fn pep3333_a_status_without_three_digits_is_refused() {
    let daemon = Serve::app("starts").start();
    for status in ["99 Low", "2000 High", "abc", "", " 200 OK", "200OK", "20x OK", "-200 OK", "OK 200", "\u{b2}00 OK"] {
        refused(&daemon, &json!(status), &json!([]));
    }
}

#[test]
fn pep3333_a_status_with_control_characters_is_refused() {
    let daemon = Serve::app("starts").start();
    for status in ["200 OK\n", "200 OK\r\nX: y", "200 \0", "200 O\x1bK", "200\r", "200 OK\x7f"] {
        refused(&daemon, &json!(status), &json!([]));
    }
}

#[test]
fn an_informational_status_is_refused() {
    let daemon = Serve::app("starts").start();
    for status in ["100 Continue", "101 Switching Protocols", "102 Processing", "103 Early Hints", "000 Nothing"] {
        refused(&daemon, &json!(status), &json!([]));
    }
}

#[test]
fn pep3333_a_status_that_is_no_str_is_refused() {
    let daemon = Serve::app("starts").start();
    for status in [json!(200), json!({"bytes": "200 OK"}), json!(null), json!({"tuple": ["200", "OK"]})] {
        refused(&daemon, &status, &json!([]));
    }
}

#[test]
fn a_refusal_is_a_value_error_or_type_error_that_names_its_reason() {
    let daemon = Serve::app("starts").start();
    for (status, headers, kind, reason) in [
        (json!("99 Low"), json!([]), "ValueError", "99 Low"),
        (json!("103 Early Hints"), json!([]), "ValueError", "103"),
        (json!("200 \u{2603}"), json!([]), "ValueError", "latin-1"),
        (json!(200), json!([]), "TypeError", "int"),
        (json!("200 OK"), json!([["X Y", "v"]]), "ValueError", "X Y"),
        (json!("200 OK"), json!([["X-Split", "a\nb"]]), "ValueError", "X-Split"),
        (json!("200 OK"), json!([["Upgrade", "h2c"]]), "ValueError", "Upgrade"),
        (json!("200 OK"), json!([["Status", "404"]]), "ValueError", "Status"),
        (json!("200 OK"), json!([["X", 1]]), "TypeError", "int"),
        (json!("200 OK"), json!(["X: y"]), "TypeError", "tuple"),
        (json!("200 OK"), json!(null), "TypeError", "list"),
    ] {
        let text = refused(&daemon, &status, &headers);
        assert!(text.contains(kind) && text.contains(reason), "{status} {headers}: {text}");
    }
}

#[test]
fn a_status_may_have_any_reason_or_none() {
    let daemon = Serve::app("starts").start();
    for status in ["200", "200 ", "299 Fine", "999 Odd", "404 Not Found (really)", "200 caf\u{e9}"] {
        let reply = start(&daemon, &json!(status), &json!([]));
        let reply = reply.expect(status[..3].parse().unwrap()).expect_body("started");
        if status.is_ascii() {
            assert_eq!(reply.status_line().trim_end(), format!("HTTP/1.1 {}", status.trim_end()));
        }
    }
}

#[test]
fn pep3333_text_beyond_latin_1_is_refused() {
    let daemon = Serve::app("starts").start();
    for (status, headers) in [
        ("200 \u{2603}", json!([])),
        ("200 OK", json!([["X", "\u{2603}"]])),
        ("200 OK", json!([["X\u{2603}", "v"]])),
        ("200 OK", json!([["X", "\u{100}"]])),
    ] {
        refused(&daemon, &json!(status), &headers);
    }
}

#[test]
fn rfc9110_a_header_name_that_is_no_token_is_refused() {
    let daemon = Serve::app("starts").start();
    for name in
        ["", "X Y", "X:", ":X", "X\n", "X\r\nY", "X\0", "\u{e9}", "X\t", "(X)", "X\"", "X,Y", " X", "X/Y", "[X]"]
    {
        refused(&daemon, &json!("200 OK"), &json!([[name, "v"]]));
    }
}

#[test]
fn rfc9110_every_token_is_a_header_name() {
    let daemon = Serve::app("starts").start();
    for name in ["X-Y", "x_y", "X.Y", "x1", "1", "!#$%&'*+-.^_`|~"] {
        let reply = start(&daemon, &json!("200 OK"), &json!([[name, "value"]])).expect(200);
        assert_eq!(reply.header(name).as_deref(), Some("value"), "{name}");
    }
}

#[test]
fn pep3333_a_header_value_with_control_characters_is_refused() {
    let daemon = Serve::app("starts").start();
    for value in ["a\r\nSet-Cookie: b=c", "a\nb", "a\rb", "a\0b", "\n", "a\r\n b", "a\x01b", "a\x7f", "\x1b"] {
        refused(&daemon, &json!("200 OK"), &json!([["X-Split", value]]));
    }
}

#[test]
fn a_header_value_may_be_empty_long_and_latin_1() {
    let daemon = Serve::app("starts").start();
    let long = "x".repeat(60_000);
    let headers = json!([
        ["X-Empty", ""],
        ["X-Long", long],
        ["X-Latin", "caf\u{e9}"],
        ["X-Tab", "a\tb"],
        ["X-Utf8", "\u{c3}\u{a9}"]
    ]);
    let reply = start(&daemon, &json!("200 OK"), &headers).expect(200);
    assert_eq!(reply.header("X-Empty").as_deref(), Some(""));
    assert_eq!(reply.header("X-Long"), Some(long));
    assert_eq!(reply.header("X-Tab").as_deref(), Some("a\tb"));
    assert!(reply.holds(b"caf\xe9\r\n") && reply.holds(b"\xc3\xa9\r\n"), "{reply:?}");
}

#[test]
fn pep3333_headers_that_are_no_list_of_pairs_of_str_are_refused() {
    let daemon = Serve::app("starts").start();
    for headers in [
        json!(null),
        json!({"tuple": [["X", "y"]]}),
        json!("X: y"),
        json!(["X: y"]),
        json!([["X"]]),
        json!([["X", "y", "z"]]),
        json!([["X", 1]]),
        json!([["X", null]]),
        json!([[1, "y"]]),
        json!([["X", {"bytes": "y"}]]),
        json!([[{"bytes": "X"}, "y"]]),
    ] {
        refused(&daemon, &json!("200 OK"), &headers);
    }
}

#[test]
fn pep3333_hop_by_hop_headers_are_refused() {
    let daemon = Serve::app("starts").start();
    for name in ["Transfer-Encoding", "TE", "Trailer", "Upgrade", "upgrade", "transfer-encoding"] {
        refused(&daemon, &json!("200 OK"), &json!([[name, "chunked"]]));
    }
}

#[test]
fn hop_by_hop_headers_never_reach_the_peer() {
    let daemon = Serve::app("starts").start();
    for name in ["Transfer-Encoding", "TE", "Trailer", "Upgrade", "Connection", "Keep-Alive", "Proxy-Connection"] {
        let reply = start(&daemon, &json!("200 OK"), &json!([[name, "of the application"]]));
        assert!(!reply.holds(format!("{name}: of the application").as_bytes()), "{reply:?}");
    }
}

#[test]
fn connection_headers_of_frameworks_are_left_out_with_one_warning() {
    let daemon = Serve::app("starts").start();
    for name in ["Connection", "Keep-Alive", "connection"] {
        let reply = start(&daemon, &json!("200 OK"), &json!([[name, "close"], ["X-Kept", "1"]])).expect(200);
        assert_eq!((reply.text(), reply.header(name)), (String::from("started"), None));
        assert_eq!(reply.header("X-Kept").as_deref(), Some("1"));
    }
    daemon.log.await_line(&["WARN", "Connection"]);
    assert_eq!(daemon.log.with(&["WARN"]).len(), 1);
}

#[test]
fn pep3333_a_status_header_is_refused() {
    expect_refused(&json!("200 OK"), &json!([["Status", "404 Not Found"]]));
}

#[test]
fn two_content_lengths_that_differ_are_refused() {
    let daemon = Serve::app("starts").start();
    refused(&daemon, &json!("200 OK"), &json!([["Content-Length", "7"], ["Content-Length", "8"]]));
    refused(&daemon, &json!("200 OK"), &json!([["Content-Length", "seven"]]));
    refused(&daemon, &json!("200 OK"), &json!([["Content-Length", "-7"]]));
    let reply =
        start(&daemon, &json!("200 OK"), &json!([["Content-Length", "7"], ["content-length", "7"]])).expect(200);
    assert_eq!(reply.headers("Content-Length"), ["7"]);
}

#[test]
fn pep3333_the_head_waits_for_the_first_chunk_that_is_not_empty() {
    let gate = Gate::new();
    let daemon = Serve::app("starts").gate(&gate).start();
    for (uri, note) in [("/empty-first", "after an empty chunk"), ("/empty-writes", "after an empty write")] {
        let mut peer = daemon.connect();
        peer.send(Packet::get(uri).bytes());
        let arrival = gate.await_note(note);
        assert!(peer.is_waiting(), "{uri}: the head has gone out already");
        arrival.open();
        peer.reply().expect(200).expect_body("something at last");
    }
}

#[test]
fn pep3333_exc_info_replaces_status_and_headers_after_empty_chunks() {
    let daemon = Serve::app("starts").start();
    let reply = daemon.ask(&Packet::get("/replaced")).expect(503).expect_body("replaced");
    assert_eq!((reply.header("X-First"), reply.header("X-Second").as_deref()), (None, Some("2")));
}

#[test]
fn pep3333_exc_info_after_the_head_raises_the_applications_own_exception() {
    let gate = Gate::new();
    let daemon = Serve::app("starts").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/too-late").bytes());
    gate.await_note("the same").open();
    let reply = peer.reply();
    assert!(reply.holds(b"the first half") && !reply.holds(b"the second half"), "{reply:?}");
}

#[test]
fn a_response_that_failed_after_its_head_is_visibly_broken() {
    let gate = Gate::new();
    for daemon in [Serve::app("starts").gate(&gate).start(), Serve::app("starts").gate(&gate).on_tcp().start()] {
        let mut peer = daemon.connect();
        peer.send(Packet::get("/too-late").bytes()).await_bytes("the first half");
        gate.await_note("the same").open();
        assert_eq!(peer.reply().end(), End::Reset);
    }
}

#[test]
fn pep3333_a_second_start_without_exc_info_is_fatal() {
    let daemon = Serve::app("starts").start();
    daemon.ask(&Packet::get("/again")).expect(500);
}

#[test]
fn pep3333_a_second_start_without_exc_info_is_fatal_even_when_the_first_one_raised() {
    let daemon = Serve::app("starts").start();
    daemon.ask(&Packet::get("/again-after-failure")).expect(500);
}

#[test]
fn start_response_takes_exc_info_by_name() {
    let daemon = Serve::app("starts").start();
    daemon.ask(&Packet::get("/exc-info-keyword")).expect(202).expect_body("by keywords");
}

#[test]
fn start_response_takes_every_argument_by_name() {
    let daemon = Serve::app("starts").start();
    daemon.ask(&Packet::get("/keywords")).expect(202).expect_body("by keywords");
    daemon.ask(&Packet::get("/pep-keywords")).expect(202).expect_body("by keywords");
}

#[test]
fn pep3333_start_response_may_be_called_by_iter() {
    let daemon = Serve::app("starts").start();
    daemon.get("/iter-starts").expect_body("started by __iter__");
}

#[test]
fn pep3333_write_hands_its_bytes_over_before_it_returns() {
    let gate = Gate::new();
    let daemon = Serve::app("starts").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/write-and-wait").bytes());
    let arrival = gate.await_note("after write()");
    peer.await_bytes("written ");
    arrival.open();
    peer.reply().expect(200).expect_body("written and returned");
}

#[test]
fn what_is_written_without_a_head_never_passes_for_one() {
    let daemon = Serve::app("starts").start();
    let reply = daemon.ask(&Packet::get("/write-after-refusal")).expect(500);
    assert!(!reply.holds(b"X-Forged"), "{reply:?}");
    daemon.log.await_line(&["AssertionError: write() without a response"]);
}

#[test]
fn pep3333_write_takes_bytes_only() {
    let daemon = Serve::app("starts").start();
    daemon.ask(&Packet::get("/write-text")).expect(500);
}

#[test]
fn pep3333_write_beyond_content_length_raises() {
    let gate = Gate::new();
    let daemon = Serve::app("starts").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/write-too-much").bytes());
    let arrival = gate.await_arrival();
    let note = arrival.note.clone();
    arrival.open();
    peer.reply().expect(200).expect_body("hello");
    assert!(note.starts_with("raised "), "{note}");
}
