//! Bad input gets a real HTTP error response and one line in the log, and costs only its own connection.

use std::fs;

use crate::support::{
    daemon::{Daemon, Serve},
    packet::{Packet, field, packet_of},
    process,
    reply::Reply,
};

/// Sends `bytes`, says no more, and expects the error response `code`.
fn refused(daemon: &Daemon, bytes: &[u8], code: u16) -> Reply {
    let mut peer = daemon.connect();
    peer.send(bytes);
    let reply = peer.reply().expect(code);
    assert!(reply.header("Content-Type").is_some_and(|kind| kind.starts_with("text/")), "{reply:?}");
    assert!(!reply.body().is_empty(), "{reply:?}");
    reply
}

/// Stops the daemon and returns its warnings, which must be one line each.
fn warnings(daemon: Daemon) -> Vec<String> {
    let log = daemon.stop().log;
    let after_start = log.lines().skip_while(|line| !line.contains("ready:")).skip(1);
    after_start.filter(|line| !line.contains("INFO") && !line.contains("DEBUG")).map(String::from).collect()
}

#[test]
fn a_malformed_packet_gets_a_400_and_one_line_with_peer_offset_and_reason() {
    let pair = [field(b"REQUEST_METHOD"), field(b"GET")].concat();
    let malformed: [(&str, &[u8]); 6] = [
        ("a key overruns", b"\x09\x00short"),
        ("a value overruns", b"\x01\x00k\x09\x00short"),
        ("a key is empty", b"\x00\x00\x01\x00v"),
        ("a value is missing", b"\x01\x00k"),
        ("half a length is left over", b"\x01"),
        ("half a value length is left over", b"\x01\x00k\x01"),
    ];
    for (what, broken) in malformed {
        let daemon = Serve::app("hello").start();
        refused(&daemon, &packet_of(0, 0, &[&pair, broken].concat()), 400);
        daemon.get("/");
        let lines = warnings(daemon);
        assert_eq!(lines.len(), 1, "{what}: {lines:?}");
        assert!(lines[0].contains("peer="), "{what}: {lines:?}");
        let offset = number_after(&lines[0], "offset ");
        let within = 4 + pair.len()..=4 + pair.len() + broken.len();
        assert!(within.contains(&offset), "{what}: not {within:?} in {lines:?}");
    }
}

/// The number behind `word` in `line`.
fn number_after(line: &str, word: &str) -> usize {
    let found = line.split_once(word).map(|(_, rest)| rest);
    let digits = found.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    let number = digits.and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("no number behind {word:?} in {line}"))
}

#[test]
fn a_malformed_packet_is_refused_with_its_body_unread() {
    let daemon = Serve::app("hello").start();
    let packet = [packet_of(0, 0, b"\x00\x00\x00\x00"), vec![b'x'; 500_000]].concat();
    daemon.connect().send_meanwhile(packet).expect(400);
    let tcp = Serve::app("hello").on_tcp().start();
    let packet = [packet_of(0, 0, b"\x00\x00\x00\x00"), vec![b'x'; 500_000]].concat();
    tcp.connect().send_meanwhile(packet).expect(400);
}

#[test]
fn a_modifier_of_another_handler_gets_a_400_that_names_it() {
    let daemon = Serve::app("hello").start();
    let refused_modifiers: Vec<u8> = (1..=255).filter(|modifier1| ![30, 100].contains(modifier1)).collect();
    for modifier1 in &refused_modifiers {
        refused(&daemon, &Packet::get("/").modifier1(*modifier1).bytes(), 400);
    }
    daemon.get("/");
    let lines = warnings(daemon);
    assert_eq!(lines.len(), refused_modifiers.len());
    let named = |modifier1: &u8| lines.iter().any(|line| line.contains(&modifier1.to_string()));
    assert!(refused_modifiers.iter().all(named), "{lines:?}");
}

#[test]
fn an_http_request_gets_a_readable_400_that_tells_how_to_configure_nginx() {
    for daemon in [Serve::app("hello").start(), Serve::app("hello").on_tcp().start()] {
        for request in [
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na=b",
            "HEAD / HTTP/1.0\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET /\r\n",
        ] {
            let reply = refused(&daemon, request.as_bytes(), 400);
            assert!(reply.text().contains("uwsgi_pass"), "{request:?}: {reply:?}");
            assert!(reply.text().contains("uwsgi"), "{request:?}: {reply:?}");
        }
        daemon.get("/");
        assert_eq!(warnings(daemon).len(), 6);
    }
}

#[test]
fn a_tls_handshake_gets_a_400_and_one_line() {
    let daemon = Serve::app("hello").on_tcp().start();
    let hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 507]].concat();
    refused(&daemon, &hello, 400);
    daemon.get("/");
    let lines = warnings(daemon);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("TLS"), "{lines:?}");
}

#[test]
fn a_content_length_that_is_no_number_gets_a_400() {
    let daemon = Serve::app("mirror").start();
    for length in ["abc", "-1", "+5", "1e3", "0x10", "5 ", "1,2", "99999999999999999999999"] {
        refused(&daemon, &Packet::request("POST", "/all").var("CONTENT_LENGTH", length).bytes(), 400);
    }
    daemon.get("/none");
    assert_eq!(warnings(daemon).len(), 8);
}

#[test]
fn a_peer_that_connects_and_leaves_is_silent() {
    for daemon in [Serve::app("hello").start(), Serve::app("hello").on_tcp().start()] {
        for _ in 0..50 {
            drop(daemon.connect());
        }
        daemon.get("/");
        assert_eq!(warnings(daemon), [""; 0]);
    }
}

#[test]
fn a_peer_that_leaves_in_the_middle_of_its_packet_costs_only_itself() {
    let daemon = Serve::app("hello").start();
    let bytes = Packet::get("/").bytes();
    for at in [1, 3, 4, 5, 20, bytes.len() - 1] {
        daemon.connect().send(&bytes[..at]);
    }
    daemon.get("/");
    daemon.stop();
}

#[test]
fn a_peer_that_shuts_its_side_in_the_middle_of_its_packet_gets_a_400() {
    let daemon = Serve::app("hello").start();
    let mut peer = daemon.connect();
    peer.send(&Packet::get("/").bytes()[..20]).shut_write();
    peer.reply().expect(400);
    daemon.get("/");
}

#[test]
fn uwsgi_control_variables_control_nothing() {
    let daemon = Serve::app("hello").start();
    let trace = daemon.scratch().join("executed");
    let script = daemon.scratch().write("evil.py", &format!("open({:?}, 'w')", trace.display().to_string()));
    let script = script.display().to_string();
    let control = [
        ("UWSGI_FILE", script.as_str()),
        ("UWSGI_SCRIPT", "evil"),
        ("UWSGI_MODULE", "evil"),
        ("UWSGI_POSTFILE", &script),
        ("UWSGI_SETENV", "PYTHONPATH=/"),
        ("UWSGI_CHDIR", "/"),
        ("UWSGI_APPID", "evil"),
        ("UWSGI_TOUCH_RELOAD", &script),
    ];
    for (key, value) in control {
        let reply = daemon.ask(&Packet::get("/").var(key, value));
        assert!([200, 400].contains(&reply.code()), "{key}: {reply:?}");
    }
    assert!(!trace.exists());
    daemon.get("/").expect_body("Hello, world!\n");
    assert!(fs::read_dir(daemon.scratch().path()).unwrap().count() >= 2);
}

#[test]
fn a_storm_of_nonsense_costs_nobody_else_anything() {
    let daemon = Serve::app("hello").start();
    daemon.get("/");
    let worker = daemon.workers()[0];
    let before = process::descriptors(worker);
    let mut seed: u32 = 7;
    for _ in 0..300 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = usize::try_from(seed >> 23).unwrap();
        let bytes: Vec<u8> = (0..length).map(|at| (seed >> (at % 24)).to_le_bytes()[0] ^ at.to_le_bytes()[0]).collect();
        let mut peer = daemon.connect();
        peer.send(&bytes);
    }
    daemon.get("/").expect_body("Hello, world!\n");
    assert!(process::eventually(|| process::descriptors(worker) <= before));
    let stopped = daemon.stop();
    assert!(!stopped.log.contains("panic") && !stopped.log.contains("died"), "{}", stopped.log);
}
