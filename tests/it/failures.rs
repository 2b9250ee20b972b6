//! Whatever an application raises, and whoever leaves, costs one request and is told to the right reader.

use crate::support::{daemon::Serve, gate::Gate, http, nginx::Nginx, packet::Packet, process, reply::End};

const ENDINGS: [&str; 6] =
    ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "RecursionError", "MemoryError", "StopIteration"];

#[test]
fn an_exception_is_logged_once_with_method_path_and_request_id() {
    let daemon = Serve::app("faults").option("--log-format", "json").start();
    let packet = Packet::request("DELETE", "/before?ValueError").var("HTTP_X_REQUEST_ID", "id-7");
    daemon.ask(&packet).expect(500);
    let line = daemon.log.await_line(&["ValueError: asked for"]);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["method"], &line["path"]), (&"DELETE".into(), &"/before".into()), "{line}");
    assert_eq!(line["request_id"], "id-7", "{line}");
    daemon.get("/well");
    assert_eq!(daemon.log.with(&["ValueError: asked for"]).len(), 1);
}

#[test]
fn the_first_line_of_an_exception_says_whose_request_it_was() {
    let daemon = Serve::app("faults").start();
    let packet = Packet::request("DELETE", "/before?ValueError").var("HTTP_X_REQUEST_ID", "id-7");
    daemon.ask(&packet).expect(500);
    let first = daemon.log.await_line(&["application raised an exception"]);
    assert!(first.contains("ERROR worker 1: application raised an exception method=DELETE path=/before"), "{first}");
    assert!(first.ends_with(" request_id=id-7"), "{first}");
    assert_eq!(daemon.log.await_line(&["ValueError: asked for"]), "    ValueError: asked for");
}

#[test]
fn the_page_of_a_500_is_plain_and_tells_nothing() {
    let daemon = Serve::app("faults").start();
    let reply = daemon.ask(&Packet::get("/before?ValueError")).expect(500);
    assert!(reply.header("Content-Type").is_some_and(|kind| kind.starts_with("text/plain")), "{reply:?}");
    assert!(!reply.holds(b"ValueError") && !reply.holds(b"asked for") && !reply.holds(b".py"), "{reply:?}");
    let head = daemon.ask(&Packet::request("HEAD", "/before?ValueError")).expect_body("");
    assert_eq!((head.code(), head.end()), (500, End::Clean));
}

#[test]
fn no_exception_before_the_head_costs_more_than_its_request() {
    let daemon = Serve::app("faults").start();
    daemon.get("/well");
    let workers = daemon.workers();
    for name in ENDINGS {
        daemon.ask(&Packet::get(&format!("/before?{name}"))).expect(500);
        daemon.log.await_line(&[name]);
        daemon.get("/well").expect_body("well");
    }
    assert_eq!(daemon.workers(), workers);
}

#[test]
fn no_exception_after_the_head_costs_more_than_its_request() {
    for daemon in [Serve::app("faults").start(), Serve::app("faults").on_tcp().start()] {
        daemon.get("/well");
        let workers = daemon.workers();
        for name in ENDINGS {
            let reply = daemon.ask(&Packet::get(&format!("/streamed?{name}")));
            assert_eq!(reply.end(), End::Reset, "{name}: {reply:?}");
            daemon.get("/well").expect_body("well");
        }
        assert_eq!(daemon.workers(), workers);
    }
}

#[test]
fn no_exception_in_close_costs_more_than_a_line() {
    let daemon = Serve::app("faults").start();
    daemon.get("/well");
    let workers = daemon.workers();
    for name in ENDINGS {
        daemon.get(&format!("/in-close?{name}")).expect_body("well");
        daemon.log.await_line(&[name]);
    }
    daemon.get("/well");
    assert_eq!(daemon.workers(), workers);
}

#[test]
fn an_application_that_raises_answers_the_next_request() {
    let daemon = Serve::app("faults").start();
    for name in ENDINGS {
        assert_eq!(daemon.ask(&Packet::get(&format!("/before?{name}"))).code(), 500, "{name}");
        daemon.get("/well").expect_body("well");
    }
}

#[test]
fn an_exception_after_the_head_never_ends_in_a_whole_response() {
    for daemon in [Serve::app("faults").start(), Serve::app("faults").on_tcp().start()] {
        let reply = daemon.ask(&Packet::get("/streamed?ValueError"));
        assert_eq!(reply.end(), End::Reset, "{reply:?}");
    }
}

#[test]
fn a_client_behind_nginx_sees_that_a_response_is_broken() {
    for (daemon, name) in [
        (Serve::app("faults").start(), "unix-socket.conf"),
        (Serve::app("faults").start(), "unbuffered.conf"),
        (Serve::app("faults").on_tcp().start(), "tcp.conf"),
    ] {
        let nginx = Nginx::start(name, &daemon);
        for _ in 0..5 {
            let reply = http::get(nginx.connect(), "/streamed?ValueError");
            // Either nothing of the response got through, or the transfer ends without its end.
            assert!(reply.is_empty() || reply.code() >= 500 || http::whole_body(&reply).is_none(), "{name}: {reply:?}");
        }
    }
}

#[test]
fn rusgi_disconnected_tells_a_long_computation_that_its_peer_has_left() {
    let gate = Gate::new();
    for serve in [Serve::app("faults"), Serve::app("faults").on_tcp()] {
        let daemon = serve.gate(&gate).start();
        let mut peer = daemon.connect();
        peer.send(Packet::get("/long").bytes());
        gate.await_note("False").open();
        drop(peer);
        gate.await_note("True").open();
        daemon.get("/closed").expect_body("1");
        assert_eq!(daemon.log.with(&["Traceback"]), [""; 0]);
    }
}

#[test]
fn rusgi_disconnected_tells_that_the_client_of_nginx_has_left() {
    let gate = Gate::new();
    let daemon = Serve::app("faults").gate(&gate).start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let mut client = nginx.connect();
    client.send("GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n");
    gate.await_note("False").open();
    drop(client);
    gate.await_note("True").open();
    daemon.get("/closed").expect_body("1");
}

#[test]
fn rusgi_disconnected_is_false_while_the_peer_waits() {
    for daemon in [Serve::app("faults").start(), Serve::app("faults").on_tcp().start()] {
        daemon.get("/still-there").expect_body("False");
        daemon.ask(&Packet::post("/still-there", vec![b'x'; 1000])).expect(200).expect_body("False");
        let mut peer = daemon.connect();
        peer.send(Packet::get("/still-there").bytes());
        peer.reply().expect(200).expect_body("False");
    }
}

#[test]
fn a_head_too_large_for_nginx_is_hinted_at_once_in_a_worker() {
    let daemon = Serve::app("faults").start();
    daemon.get("/large-head?3000");
    assert_eq!(daemon.log.with(&["uwsgi_buffer_size"]), [""; 0]);
    for _ in 0..3 {
        daemon.get("/large-head?5000");
    }
    daemon.log.await_line(&["WARN", "uwsgi_buffer_size"]);
    daemon.get("/well");
    assert_eq!(daemon.log.with(&["uwsgi_buffer_size"]).len(), 1);
}

#[test]
fn the_hint_about_large_heads_is_given_where_nginx_gives_up() {
    let daemon = Serve::app("faults").start();
    let nginx = Nginx::start("minimal.conf", &daemon);
    // The head is the header's value, its name, the other lines and their ends.
    let overhead = daemon.get("/large-head?0").status_line().len()
        + "\r\nX-Large: \r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n".len();
    let code = |size: usize| http::get(nginx.connect(), &format!("/large-head?{}", size - overhead)).code();
    assert_eq!(code(4096), 200);
    assert_eq!(daemon.log.with(&["uwsgi_buffer_size"]), [""; 0]);
    assert_eq!(code(4097), 502);
    daemon.log.await_line(&["WARN", "uwsgi_buffer_size"]);
}

#[test]
fn what_an_application_keeps_of_a_request_never_reaches_into_another() {
    let daemon = Serve::app("kept").start();
    for _ in 0..3 {
        daemon.ask(&Packet::post("/keep", "body")).expect(200).expect_body("body");
        let reply = daemon.get("/write-kept");
        assert!(!reply.holds(b"intruder") && !reply.holds(b"Intruder"), "{reply:?}");
        assert_eq!(reply.text().matches("raised").count(), 2, "{reply:?}");
        daemon.get("/ask-kept").expect_body("kept True, own False");
    }
}

#[test]
fn an_application_that_keeps_a_request_keeps_no_buffer_of_it() {
    let daemon = Serve::app("kept").start();
    let worker = daemon.workers()[0];
    let hoard = |count: u64| (0..count).for_each(|_| drop(daemon.get("/hoard").expect(200)));
    hoard(200);
    let before = process::resident(worker);
    hoard(1000);
    let grown = process::resident(worker) - before;
    assert!(grown < 2 * 1000, "1000 requests keep {grown} KiB");
}
