//! `wsgi.file_wrapper` sends a file from where it stands, by whatever way is right for it, and closes it.

use serde_json::json;

use crate::support::{
    daemon::{Daemon, Serve},
    nginx::Nginx,
    packet::Packet,
    reply::End,
};

/// The file that `tests/apps/files.py` makes.
fn block() -> Vec<u8> {
    (0..=255).collect::<Vec<u8>>().repeat(4096)
}

fn upper() -> Vec<u8> {
    block().iter().map(|byte| if *byte == b'a' { b'A' } else { *byte }).collect()
}

fn happened(daemon: &Daemon) -> serde_json::Value {
    daemon.get("/happened").json()
}

#[test]
fn pep3333_a_file_is_sent_whole() {
    for daemon in [Serve::app("files").start(), Serve::app("files").on_tcp().start()] {
        for uri in ["/whole", "/announced", "/unbuffered"] {
            daemon.get(uri).expect_body(block());
        }
    }
}

#[test]
fn a_file_is_sent_by_the_kernel_and_not_read() {
    for daemon in [Serve::app("files").start(), Serve::app("files").on_tcp().start()] {
        daemon.get("/duplicated").expect_body(block());
        assert_eq!(daemon.get("/offsets").json(), json!([0]));
    }
}

#[test]
fn a_file_gets_a_content_length() {
    let daemon = Serve::app("files").start();
    for (uri, length) in
        [("/whole", "1048576"), ("/from-position", "1047576"), ("/empty", "0"), ("/beyond-the-end", "0")]
    {
        assert_eq!(daemon.get(uri).header("Content-Length").as_deref(), Some(length), "{uri}");
    }
}

#[test]
fn pep3333_a_file_is_sent_from_its_current_position() {
    let daemon = Serve::app("files").start();
    daemon.get("/from-position").expect_body(&block()[1000..]);
}

#[test]
fn pep3333_a_file_is_bounded_by_content_length() {
    let daemon = Serve::app("files").start();
    daemon.ask(&Packet::get("/part")).expect(206).expect_body(&block()[1000..1300]);
}

#[test]
fn a_file_shorter_than_its_content_length_breaks_the_response_visibly() {
    for daemon in [Serve::app("files").start(), Serve::app("files").on_tcp().start()] {
        let reply = daemon.ask(&Packet::get("/too-short")).expect_reset();
        assert_eq!(reply.header("Content-Length").as_deref(), Some("1048577"));
        daemon.get("/empty");
    }
}

#[test]
fn pep3333_anything_with_read_is_a_file() {
    let daemon = Serve::app("files").start();
    for uri in ["/in-memory", "/read-only", "/closable", "/patched-close"] {
        daemon.get(uri).expect_body(block());
    }
    daemon.get("/pipe").expect_body("through a pipe");
}

#[test]
fn a_file_whose_read_gives_other_bytes_than_its_descriptor_is_read() {
    let daemon = Serve::app("files").start();
    daemon.get("/compressed").expect_body(block());
    daemon.get("/subclass").expect_body(upper());
}

#[test]
fn pep3333_a_file_may_be_empty_or_stand_beyond_its_end() {
    let daemon = Serve::app("files").start();
    daemon.get("/empty").expect_body("");
    daemon.get("/beyond-the-end").expect_body("");
}

#[test]
fn pep3333_a_wrapper_inside_middleware_is_an_ordinary_iterable() {
    let daemon = Serve::app("files").start();
    daemon.get("/wrapped").expect_body(upper());
    assert_eq!(happened(&daemon), json!(["closed"]));
}

#[test]
fn pep3333_close_of_the_wrapper_closes_the_file() {
    for uri in ["/closable", "/patched-close"] {
        let daemon = Serve::app("files").start();
        daemon.get(uri);
        assert_eq!(happened(&daemon), json!(["closed"]), "{uri}");
    }
    let daemon = Serve::app("files").start();
    daemon.get("/watched");
    assert_eq!(daemon.get("/was-closed").json(), json!([true]));
}

#[test]
fn a_file_is_closed_when_its_reader_leaves() {
    let daemon = Serve::app("files").start();
    for _ in 0..3 {
        let mut peer = daemon.connect();
        peer.send(Packet::get("/watched").bytes()).await_bytes("HTTP/1.1 200");
    }
    assert_eq!(daemon.get("/was-closed").json(), json!([true, true, true]));
}

#[test]
fn rfc9110_a_head_request_for_a_file_gets_its_length_alone() {
    let daemon = Serve::app("files").start();
    let reply = daemon.ask(&Packet::request("HEAD", "/announced")).expect_body("");
    assert_eq!((reply.end(), reply.header("Content-Length").as_deref()), (End::Clean, Some("1048576")));
}

#[test]
fn what_is_no_binary_file_costs_one_request() {
    let daemon = Serve::app("files").start();
    for uri in ["/not-a-file", "/text-file"] {
        daemon.ask(&Packet::get(uri)).expect(500);
    }
    daemon.get("/empty").expect_body("");
}

#[test]
fn a_slow_reader_of_a_file_holds_up_nobody() {
    for daemon in [Serve::app("files").start(), Serve::app("files").on_tcp().start()] {
        let slow: Vec<_> = std::iter::repeat_with(|| {
            let mut peer = daemon.connect();
            peer.send(Packet::get("/whole").bytes()).await_bytes("\r\n\r\n");
            peer
        })
        .take(5)
        .collect();
        daemon.get("/empty");
        for peer in slow {
            peer.reply().expect(200).expect_body(block());
        }
    }
}

#[test]
fn files_reach_the_client_of_nginx_whole() {
    let daemon = Serve::app("files").start();
    for name in ["unix-socket.conf", "unbuffered.conf"] {
        let nginx = Nginx::start(name, &daemon);
        for uri in ["/whole", "/in-memory", "/compressed"] {
            assert!(nginx.browser().get(uri).expect(200).body() == block(), "{uri}");
        }
        assert_eq!(nginx.browser().get("/part").expect(206).body(), &block()[1000..1300]);
        assert_eq!(nginx.browser().head("/whole").expect(200).body(), b"");
        nginx.expect_no_errors();
    }
}
