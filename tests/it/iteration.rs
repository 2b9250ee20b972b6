//! Whatever an application returns is iterated over, sent and closed as PEP 3333 says.

use serde_json::json;

use crate::support::{
    daemon::{Daemon, Serve},
    gate::Gate,
    nginx::Nginx,
    packet::Packet,
    reply::{End, Reply},
};

/// What the application remembers; asked last, because one thread serves one request after another.
fn happened(daemon: &Daemon) -> serde_json::Value {
    daemon.get("/happened").json()
}

/// Asks for `uri` of a daemon of its own and expects exactly one close().
fn closed_once(uri: &str) -> Reply {
    let daemon = Serve::app("chunks").start();
    let reply = daemon.ask(&Packet::get(uri));
    assert_eq!(happened(&daemon), json!(["closed"]), "{uri}: {reply:?}");
    reply
}

#[test]
fn pep3333_close_is_called_once_after_a_whole_response() {
    for uri in ["/watched", "/finishing", "/single"] {
        closed_once(uri).expect(200);
    }
}

#[test]
fn pep3333_close_is_called_once_when_iteration_cannot_begin() {
    closed_once("/failing-iter");
}

#[test]
fn pep3333_close_is_called_once_when_iteration_fails() {
    closed_once("/failing-next");
}

#[test]
fn pep3333_close_is_called_once_when_start_response_was_never_called() {
    closed_once("/never-started");
}

#[test]
fn pep3333_close_is_called_once_when_start_response_fails() {
    closed_once("/failing-start");
}

#[test]
fn pep3333_close_is_called_once_when_a_chunk_is_no_bytes() {
    closed_once("/wrong-chunk");
}

#[test]
fn an_iterable_that_fails_before_its_first_chunk_is_a_500() {
    let daemon = Serve::app("chunks").start();
    for uri in ["/failing-iter", "/never-started", "/failing-start", "/wrong-chunk"] {
        daemon.ask(&Packet::get(uri)).expect(500);
    }
}

#[test]
fn pep3333_close_is_called_once_for_a_response_without_a_body() {
    for uri in ["/204", "/304"] {
        closed_once(uri);
    }
    let daemon = Serve::app("chunks").start();
    daemon.ask(&Packet::request("HEAD", "/watched"));
    assert_eq!(happened(&daemon), json!(["closed"]));
}

#[test]
fn pep3333_close_is_called_once_when_the_peer_leaves() {
    let gate = Gate::new();
    let daemon = Serve::app("chunks").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes()).await_bytes("before");
    let arrival = gate.await_note("between the chunks");
    drop(peer);
    arrival.open();
    assert_eq!(happened(&daemon), json!(["closed"]));
}

#[test]
fn pep3333_close_is_called_once_when_the_client_of_nginx_leaves() {
    let daemon = Serve::app("chunks").start();
    let nginx = Nginx::start("unbuffered.conf", &daemon);
    let mut client = nginx.connect();
    client.send("GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await_bytes("xxxx");
    drop(client);
    assert_eq!(happened(&daemon), json!(["closed"]));
}

#[test]
fn a_peer_that_leaves_costs_a_debug_line_and_no_traceback() {
    let gate = Gate::new();
    let daemon = Serve::app("chunks").option("--log-level", "debug").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes()).await_bytes("before");
    let arrival = gate.await_note("between the chunks");
    drop(peer);
    arrival.open();
    daemon.log.await_line(&["DEBUG", "client closed the connection"]);
    happened(&daemon);
    assert_eq!(daemon.log.with(&["client closed the connection"]).len(), 1);
    let complaints = [daemon.log.with(&["Traceback"]), daemon.log.with(&["WARN"]), daemon.log.with(&["ERROR"])];
    assert_eq!(complaints.concat(), [""; 0]);
}

#[test]
fn pep3333_close_is_that_of_the_returned_object() {
    closed_once("/two-closes").expect(200).expect_body("one two");
}

#[test]
fn pep3333_a_list_subclass_is_iterated_over_its_own_way() {
    let daemon = Serve::app("chunks").start();
    daemon.get("/list-subclass").expect_body("one two");
}

#[test]
fn pep3333_any_iterable_is_a_response() {
    let daemon = Serve::app("chunks").start();
    for uri in ["/tuple", "/indexed", "/empty-chunks", "/finishing"] {
        daemon.get(uri).expect_body("one two");
    }
    daemon.get("/nothing").expect_body("");
}

#[test]
fn content_length_is_added_for_a_tuple_for_bytes_and_for_nothing_at_all() {
    let daemon = Serve::app("chunks").start();
    assert_eq!(daemon.get("/tuple").header("Content-Length").as_deref(), Some("7"));
    assert_eq!(daemon.get("/nothing").header("Content-Length").as_deref(), Some("0"));
    assert_eq!(daemon.get("/bytes").header("Content-Length").as_deref(), Some("14"));
}

#[test]
fn pep3333_content_length_is_added_for_an_iterable_of_length_one() {
    let daemon = Serve::app("chunks").start();
    let reply = daemon.get("/single").expect_body("the only one");
    assert_eq!(reply.header("Content-Length").as_deref(), Some("12"));
}

#[test]
fn pep3333_every_kind_of_callable_is_an_application() {
    for (target, wanted) in [
        ("chunks:ClassApplication", "by a class"),
        ("chunks:instance", "by an instance"),
        ("chunks:bound", "by an instance"),
        ("chunks:arguments", "2 positional, 0 named"),
    ] {
        Serve::app(target).start().get("/").expect_body(wanted);
    }
}

#[test]
fn pep3333_more_than_content_length_is_never_sent() {
    let daemon = Serve::app("chunks").start();
    for uri in ["/too-much", "/too-much-at-once"] {
        daemon.get(uri).expect_body("hello");
    }
}

#[test]
fn pep3333_iteration_stops_when_content_length_is_reached() {
    let daemon = Serve::app("chunks").start();
    daemon.ask(&Packet::get("/too-much"));
    assert_eq!(happened(&daemon), json!(["chunk 0"]));
}

#[test]
fn rfc9110_a_204_has_neither_body_nor_content_length_whatever_the_application_says() {
    let daemon = Serve::app("chunks").start();
    let reply = daemon.ask(&Packet::get("/204")).expect_body("");
    assert_eq!((reply.code(), reply.end(), reply.header("Content-Length")), (204, End::Clean, None));
}

#[test]
fn rfc9110_a_304_has_no_body_whatever_the_application_says() {
    let daemon = Serve::app("chunks").start();
    let reply = daemon.ask(&Packet::get("/304")).expect_body("");
    assert_eq!((reply.code(), reply.end()), (304, End::Clean));
}

#[test]
fn rfc9110_a_head_request_is_answered_without_a_body() {
    let daemon = Serve::app("chunks").start();
    for uri in ["/watched", "/tuple", "/single", "/finishing", "/too-much", "/bytes"] {
        let reply = daemon.ask(&Packet::request("HEAD", uri)).expect_body("");
        assert_eq!((reply.code(), reply.end()), (200, End::Clean), "{uri}");
    }
}

#[test]
fn a_connection_behind_nginx_lives_through_responses_without_a_body() {
    let daemon = Serve::app("chunks").start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let browser = nginx.browser();
    for _ in 0..3 {
        browser.get("/204").expect(204);
        browser.get("/304").expect(304);
        assert_eq!(browser.head("/watched").expect(200).body(), b"");
        assert_eq!(browser.get("/tuple").expect(200).text(), "one two");
    }
    nginx.expect_no_errors();
}

#[test]
fn bytes_returned_whole_are_one_chunk() {
    let daemon = Serve::app("chunks").start();
    daemon.get("/bytes").expect_body("returned whole");
    daemon.get("/no-bytes").expect_body("");
}

#[test]
fn pep3333_a_chunk_that_is_no_bytes_is_an_error_and_never_left_out() {
    let daemon = Serve::app("chunks").start();
    for uri in ["/text", "/bytearray", "/memoryview", "/wrong-chunk"] {
        daemon.ask(&Packet::get(uri)).expect(500);
    }
}

#[test]
fn pep3333_a_later_chunk_that_is_no_bytes_never_ends_in_a_whole_response() {
    let daemon = Serve::app("chunks").start();
    for uri in ["/text-in-list", "/number", "/none-in-list", "/late-text"] {
        let reply = daemon.ask(&Packet::get(uri));
        let told_whole = reply.end() == End::Clean && reply.code() == 200;
        assert!(!told_whole, "{uri}: {reply:?}");
    }
}

#[test]
fn a_chunk_that_is_no_bytes_is_named_in_the_log() {
    let daemon = Serve::app("chunks").start();
    for (uri, kind) in [("/text", "str"), ("/bytearray", "bytearray"), ("/number", "int"), ("/late-text", "str")] {
        daemon.ask(&Packet::get(uri));
        daemon.log.await_line(&["TypeError", kind]);
    }
}

#[test]
fn one_overrun_is_one_line_that_names_the_request() {
    let daemon = Serve::app("chunks").start();
    daemon.get("/too-much-at-once");
    daemon.log.await_line(&["ERROR", "Content-Length of 5", "/too-much-at-once"]);
}
