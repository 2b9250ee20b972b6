//! What the application answers is what the peer receives.

use crate::support::{daemon::Serve, gate::Gate, packet::Packet, reply::End};

#[test]
fn content_length_is_added_for_a_single_chunk() {
    let daemon = Serve::app("respond").start();
    let reply = daemon.get("/one").expect_body("one chunk");
    assert_eq!(reply.header("Content-Length").as_deref(), Some("9"));
}

#[test]
fn content_length_is_added_for_a_list_of_chunks() {
    let daemon = Serve::app("respond").start();
    let reply = daemon.get("/list").expect_body("first second third");
    assert_eq!(reply.header("Content-Length").as_deref(), Some("18"));
}

#[test]
fn a_content_length_of_the_application_stays_as_it_is() {
    let daemon = Serve::app("respond").start();
    let reply = daemon.get("/length").expect_body("hello");
    assert_eq!(reply.header("Content-Length").as_deref(), Some("5"));
}

#[test]
fn a_generator_is_sent_whole() {
    let daemon = Serve::app("respond").start();
    let reply = daemon.get("/generator").expect_body("chunk 0\nchunk 1\nchunk 2\nchunk 3\nchunk 4\n");
    assert_eq!(reply.header("Content-Length"), None);
    assert_eq!(reply.header("Transfer-Encoding"), None);
}

#[test]
fn pep3333_start_response_may_be_called_by_the_first_iteration() {
    let daemon = Serve::app("respond").start();
    daemon.ask(&Packet::get("/late")).expect(201).expect_body("started late");
}

#[test]
fn pep3333_a_chunk_is_sent_before_the_next_one_is_asked_for() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated-stream").bytes());
    let arrival = gate.await_note("in the middle");
    peer.await_bytes("before ");
    arrival.open();
    peer.reply().expect(200).expect_body("before after");
}

#[test]
fn pep3333_write_sends_in_order() {
    let daemon = Serve::app("respond").start();
    daemon.get("/write").expect_body("written twice and returned");
}

#[test]
fn pep3333_close_is_called_once_after_the_last_chunk() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/closing").bytes()).await_bytes("closed afterwards");
    gate.await_note("close() called").open();
    peer.reply().expect(200).expect_body("closed afterwards");
    assert!(gate.is_deserted());
}

#[test]
fn pep3333_close_is_called_once_when_the_peer_has_left() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/closing").bytes());
    drop(peer);
    gate.await_note("close() called").open();
    daemon.get("/one");
    assert!(gate.is_deserted());
}

#[test]
fn a_stream_whose_reader_leaves_is_closed() {
    for serve in [Serve::app("respond"), Serve::app("respond").on_tcp()] {
        let gate = Gate::new();
        let daemon = serve.gate(&gate).start();
        let mut peer = daemon.connect();
        peer.send(Packet::get("/endless").bytes()).await_bytes("xxx");
        drop(peer);
        gate.await_note("the stream was closed").open();
        daemon.get("/one").expect_body("one chunk");
    }
}

#[test]
fn pep3333_file_wrapper_sends_the_file_and_closes_it() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/file").bytes());
    gate.await_note("the file was closed").open();
    peer.reply().expect(200).expect_body("from a file ".repeat(10_000));
}

#[test]
fn pep3333_exc_info_replaces_a_head_that_has_not_been_sent() {
    let daemon = Serve::app("respond").start();
    let reply = daemon.ask(&Packet::get("/replaced")).expect(503);
    assert_eq!(reply.status_line(), "HTTP/1.1 503 Replaced");
    reply.expect_body("what the application made of its error");
}

#[test]
fn pep3333_start_response_without_exc_info_may_be_called_once() {
    let daemon = Serve::app("respond").start();
    daemon.ask(&Packet::get("/twice")).expect(500);
    daemon.log.await_line(&["start_response"]);
}

#[test]
fn a_close_that_fails_costs_a_line_and_not_the_response() {
    let daemon = Serve::app("respond").start();
    daemon.get("/failing-close").expect_body("closed afterwards");
    daemon.log.await_line(&["ValueError: raised by close()"]);
    daemon.get("/one");
}

#[test]
fn a_head_request_gets_the_head_alone() {
    let daemon = Serve::app("respond").start();
    for (uri, length) in [("/one", Some("9")), ("/length", Some("5")), ("/generator", None)] {
        let reply = daemon.ask(&Packet::request("HEAD", uri));
        assert_eq!(reply.code(), 200);
        assert_eq!(reply.end(), End::Clean, "{reply:?}");
        assert_eq!(reply.header("Content-Length").as_deref(), length, "{reply:?}");
        assert_eq!(reply.body(), b"", "{reply:?}");
    }
}

#[test]
fn a_204_has_neither_body_nor_content_length() {
    let daemon = Serve::app("respond").start();
    let reply = daemon.ask(&Packet::get("/204")).expect(204).expect_body("");
    assert_eq!(reply.header("Content-Length"), None);
}

#[test]
fn a_304_has_neither_body_nor_content_length() {
    let daemon = Serve::app("respond").start();
    let reply = daemon.ask(&Packet::get("/304")).expect(304).expect_body("");
    assert_eq!(reply.header("Content-Length"), None);
    assert_eq!(reply.header("ETag").as_deref(), Some("\"a\""));
}

#[test]
fn headers_keep_their_order_number_and_bytes() {
    let daemon = Serve::app("respond").start();
    let reply = daemon.ask(&Packet::get("/headers")).expect(418).expect_body("short and stout");
    assert_eq!(reply.status_line(), "HTTP/1.1 418 I'm a teapot");
    assert_eq!(reply.headers("Set-Cookie"), ["c0=v0; Path=/", "c1=v1; Path=/", "c2=v2; Path=/"]);
    assert!(reply.holds(b"X-Latin: caf\xe9\r\n"), "{reply:?}");
}

#[test]
fn a_large_response_arrives_whole() {
    for daemon in [Serve::app("respond").start(), Serve::app("respond").on_tcp().start()] {
        let reply = daemon.get("/large").expect_body(large_body());
        assert_eq!(reply.header("Content-Length").as_deref(), Some("5242880"));
    }
}

#[test]
fn a_large_response_to_a_slow_reader_holds_up_nobody() {
    for daemon in [Serve::app("respond").start(), Serve::app("respond").on_tcp().start()] {
        let mut slow = daemon.connect();
        slow.send(Packet::get("/large").bytes()).await_bytes("\r\n\r\n");
        daemon.get("/one").expect_body("one chunk");
        daemon.get("/generator");
        slow.reply().expect(200).expect_body(large_body());
    }
}

#[test]
fn a_reader_that_never_reads_is_given_up() {
    let daemon = Serve::app("respond").option("--write-timeout", "300ms").start();
    let mut stuck = daemon.connect();
    stuck.send(Packet::get("/large").bytes()).await_bytes("\r\n\r\n");
    daemon.log.await_line(&["write timeout"]);
    let reply = stuck.reply();
    assert!(reply.body().len() < 5 * 1024 * 1024, "{reply:?}");
    daemon.get("/one").expect_body("one chunk");
}

fn large_body() -> Vec<u8> {
    (b'A'..=b'E').flat_map(|letter| std::iter::repeat_n(letter, 1024 * 1024)).collect()
}
