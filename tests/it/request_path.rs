//! A request reaches the application as the peer sent it, however its bytes travel.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    daemon::{Daemon, Serve},
    gate::Gate,
    packet::{Packet, packet_of},
};

/// Long enough that the desk gives an incomplete request away, short enough for many of them.
const PAUSE: Duration = Duration::from_millis(5);

#[test]
fn an_application_is_served_on_a_unix_socket() {
    let daemon = Serve::app("hello").start();
    let reply = daemon.get("/").expect_body("Hello, world!\n");
    assert_eq!(reply.status_line(), "HTTP/1.1 200 OK");
    assert_eq!(reply.header("Content-Type").as_deref(), Some("text/plain"));
}

#[test]
fn an_application_is_served_on_a_tcp_port() {
    let daemon = Serve::app("hello").on_tcp().start();
    daemon.get("/").expect_body("Hello, world!\n");
}

#[test]
fn a_worker_serves_one_request_after_another() {
    let daemon = Serve::app("hello").start();
    for _ in 0..200 {
        daemon.get("/").expect_body("Hello, world!\n");
    }
}

#[test]
fn several_threads_serve_many_peers_at_once() {
    let daemon = Serve::app("mirror").workers(2).threads(4).start();
    let ask = |name: usize| {
        for round in 0..25 {
            let body = format!("{name} {round}");
            daemon.ask(&Packet::post("/all", body.as_str())).expect(200).expect_body(body);
        }
    };
    std::thread::scope(|scope| {
        for name in 0..8 {
            scope.spawn(move || ask(name));
        }
    });
}

#[test]
fn every_var_arrives_byte_for_byte() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = "x".repeat(30_000);
    let daemon = Serve::app("mirror").start();
    let packet = Packet::get("/environ?q=%C3%A9&empty=")
        .var("HTTP_X_BYTES", &every_byte)
        .var("HTTP_X_EMPTY", "")
        .var("HTTP_X_LONG", &long)
        .var("HTTP_COOKIE", "a=1; b=\u{e9}")
        .var("CUSTOM", "of nginx")
        .var("k\u{e9}y", "a key that is not ASCII");
    let texts = environ(&daemon, &packet);
    assert_eq!(latin1(&texts["HTTP_X_BYTES"]), every_byte);
    assert_eq!(latin1(&texts["HTTP_COOKIE"]), "a=1; b=\u{e9}".as_bytes());
    assert_eq!(texts["HTTP_X_EMPTY"], "");
    assert_eq!(texts["HTTP_X_LONG"], long);
    assert_eq!(texts["CUSTOM"], "of nginx");
    assert_eq!(texts["k\u{c3}\u{a9}y"], "a key that is not ASCII");
    assert_eq!(texts["QUERY_STRING"], "q=%C3%A9&empty=");
    assert_eq!(texts["REQUEST_METHOD"], "GET");
    assert_eq!(texts["SERVER_NAME"], "localhost");
}

#[test]
fn pep3333_environ_has_the_keys_of_the_server() {
    let daemon = Serve::app("mirror").threads(2).start();
    let shown = daemon.get("/environ").json();
    assert_eq!(shown["texts"]["wsgi.url_scheme"], "http");
    let others = &shown["others"];
    assert_eq!(others["wsgi.version"], "(1, 0)");
    assert_eq!(others["wsgi.multithread"], "True");
    assert_eq!(others["wsgi.run_once"], "False");
    for key in ["wsgi.input", "wsgi.errors", "wsgi.multiprocess"] {
        assert!(others[key].is_string(), "{key} is missing in {others}");
    }
    assert_eq!(shown["texts"]["SCRIPT_NAME"], "");
}

#[test]
fn https_is_the_scheme_when_the_web_server_says_so() {
    let daemon = Serve::app("mirror").start();
    let scheme = |key, value| environ(&daemon, &Packet::get("/environ").var(key, value))["wsgi.url_scheme"].clone();
    assert_eq!(scheme("HTTPS", "on"), "https");
    assert_eq!(scheme("HTTPS", "off"), "http");
    assert_eq!(scheme("REQUEST_SCHEME", "https"), "https");
    assert_eq!(scheme("HTTP_X_FORWARDED_PROTO", "https"), "http");
}

#[test]
fn no_request_sees_a_var_of_the_one_before() {
    let daemon = Serve::app("mirror").start();
    environ(&daemon, &Packet::get("/environ").var("HTTP_X_SECRET", "first").var("REMOTE_USER", "root"));
    let texts = environ(&daemon, &Packet::get("/environ"));
    assert_eq!(texts.get("HTTP_X_SECRET"), None);
    assert_eq!(texts.get("REMOTE_USER"), None);
}

#[test]
fn the_last_of_two_equal_vars_wins() {
    let daemon = Serve::app("mirror").start();
    let texts = environ(&daemon, &Packet::get("/environ").var("REMOTE_USER", "one").var("REMOTE_USER", "two"));
    assert_eq!(texts["REMOTE_USER"], "two");
}

#[test]
fn a_packet_is_served_byte_by_byte() {
    let daemon = Serve::app("mirror").start();
    let mut peer = daemon.connect();
    peer.send_in_pieces(&Packet::post("/all", "slow but whole").bytes(), 1, Duration::from_micros(100));
    peer.reply().expect(200).expect_body("slow but whole");
}

#[test]
fn a_packet_is_served_however_it_is_split() {
    let daemon = Serve::app("mirror").start();
    let bytes = Packet::post("/all", "body").var("PATH_INFO", "/all").bytes();
    for at in 1..bytes.len() {
        let (first, second) = bytes.split_at(at);
        let mut peer = daemon.connect();
        peer.send_in_pieces(first, at, PAUSE).send(second);
        peer.reply().expect(200).expect_body("body");
    }
}

#[test]
fn a_packet_is_served_in_pieces_over_tcp() {
    let daemon = Serve::app("mirror").on_tcp().start();
    let mut peer = daemon.connect();
    peer.send_in_pieces(&Packet::post("/all", "over TCP").bytes(), 40, PAUSE);
    peer.reply().expect(200).expect_body("over TCP");
}

#[test]
fn the_largest_packet_there_can_be_is_served() {
    let small = Packet::get("/environ");
    let room = usize::from(u16::MAX) - small.block().len() - 2 - "HTTP_X".len() - 2;
    let full = small.var("HTTP_X", "y".repeat(room));
    assert_eq!(full.block().len(), 65_535);
    let daemon = Serve::app("mirror").start();
    assert_eq!(environ(&daemon, &full)["HTTP_X"], "y".repeat(room));
}

#[test]
fn a_packet_that_names_no_method_and_no_path_is_served() {
    let daemon = Serve::app("hello").start();
    daemon.ask(&Packet::bare().var("HTTP_HOST", "localhost")).expect(200).expect_body("Hello, world!\n");
}

#[test]
fn a_peer_that_has_said_it_all_may_shut_its_side() {
    for serve in [Serve::app("respond"), Serve::app("respond").on_tcp()] {
        let gate = Gate::new();
        let daemon = serve.gate(&gate).start();
        let mut peer = daemon.connect();
        peer.send(Packet::get("/gated").bytes()).shut_write();
        gate.await_note("called").open();
        peer.reply().expect(200).expect_body("let through");
    }
}

#[test]
fn modifier1_30_takes_script_name_off_the_path() {
    let daemon = Serve::app("mirror").start();
    let ask = |script_name, path| {
        let packet = Packet::request("GET", "/").modifier1(30).var("SCRIPT_NAME", script_name).var("PATH_INFO", path);
        environ(&daemon, &packet)
    };
    let texts = ask("/app", "/app/environ");
    assert_eq!((&texts["SCRIPT_NAME"], &texts["PATH_INFO"]), (&"/app".into(), &"/environ".into()));
    let texts = ask("/elsewhere", "/environ");
    assert_eq!(texts["PATH_INFO"], "/environ");
}

#[test]
fn a_ping_is_answered() {
    let daemon = Serve::app("hello").start();
    let mut peer = daemon.connect();
    peer.send(packet_of(100, 0, b"")).await_bytes("\x64\0\0\x01");
}

/// The text values of the environ that `packet` becomes.
fn environ(daemon: &Daemon, packet: &Packet) -> Value {
    daemon.ask(packet).expect(200).json()["texts"].clone()
}

/// The bytes that PEP 3333 packs into a str, one a character.
fn latin1(text: &Value) -> Vec<u8> {
    text.as_str().unwrap().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}
