//! Behind a real nginx with the project's own configurations, a client sees what the application meant.

use nix::sys::signal::Signal;

use crate::support::{
    daemon::{Daemon, Serve},
    gate::Gate,
    http,
    nginx::{self, Nginx},
    process,
};

const MIB: usize = 1024 * 1024;

/// `target` behind each of the configurations, on the kind of socket it is for.
fn behind_each(serve: impl Fn() -> Serve) -> [(Daemon, Nginx); 4] {
    ["minimal.conf", "unix-socket.conf", "tcp.conf", "unbuffered.conf"].map(|name| {
        let daemon = if name == "tcp.conf" { serve().on_tcp() } else { serve() }.start();
        let nginx = Nginx::start(name, &daemon);
        (daemon, nginx)
    })
}

#[test]
fn nginx_accepts_every_configuration() {
    for name in ["minimal.conf", "unix-socket.conf", "tcp.conf", "unbuffered.conf"] {
        let output = nginx::check(name);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("[warn]"), "{name}: {said}");
    }
}

#[test]
fn every_configuration_serves_an_application() {
    for (daemon, nginx) in behind_each(|| Serve::app("hello")) {
        let browser = nginx.browser();
        for _ in 0..20 {
            let page = browser.get("/").expect(200);
            assert_eq!(page.text(), "Hello, world!\n");
            assert_eq!(page.header("Content-Length").as_deref(), Some("14"));
        }
        assert_eq!(browser.head("/").expect(200).body(), b"");
        nginx.expect_no_errors();
        daemon.stop();
    }
}

#[test]
fn bodies_and_responses_of_all_sizes_pass_through() {
    for (_daemon, nginx) in behind_each(|| Serve::app("mirror").threads(2)) {
        // minimal.conf keeps nginx's own limit of one MiB.
        for size in [0, 1, 5000, 70_000, MIB - 1] {
            let body: Vec<u8> = (0..size).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
            let page = nginx.browser().post("/pieces", "application/octet-stream", &body).expect(200);
            assert!(page.body() == body, "{size} bytes came back as {}", page.body().len());
        }
        nginx.expect_no_errors();
    }
}

#[test]
fn uploads_that_the_application_does_not_read_are_answered_every_time() {
    for (_daemon, nginx) in behind_each(|| Serve::app("mirror")) {
        for _ in 0..10 {
            // A visitor each, because nginx may close a connection of which it has not read everything.
            let page = nginx.browser().post("/none", "application/octet-stream", &vec![b'x'; MIB - 1]).expect(200);
            assert_eq!(page.text(), "read nothing");
        }
        nginx.expect_no_errors();
    }
}

#[test]
fn an_upload_in_chunks_reaches_the_application_whole() {
    let daemon = Serve::app("mirror").start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let mut client = nginx.connect();
    client.send("POST /all HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("5\r\nfirst\r\n").send("7\r\n second\r\n").send("0\r\n\r\n");
    let reply = client.reply().expect(200);
    assert_eq!(http::whole_body(&reply).as_deref(), Some(b"first second".as_slice()));
}

#[test]
fn request_headers_reach_the_application_byte_for_byte() {
    let daemon = Serve::app("mirror").start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let page = nginx.browser().get_with("/environ?a=%20b&c", "X-Some-Thing", "some \"value\"; x=1").expect(200).json();
    let texts = &page["texts"];
    assert_eq!(texts["HTTP_X_SOME_THING"], "some \"value\"; x=1");
    assert_eq!(texts["QUERY_STRING"], "a=%20b&c");
    assert_eq!(texts["REQUEST_METHOD"], "GET");
    assert_eq!(texts["REMOTE_ADDR"], "127.0.0.1");
    assert_eq!(texts["PATH_INFO"], "/environ");
    assert_eq!(texts["wsgi.url_scheme"], "http");
}

#[test]
fn repeated_request_headers_lose_nothing() {
    let daemon = Serve::app("mirror").start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let mut client = nginx.connect();
    client.send("GET /environ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    client.send("X-Part: one\r\nX-Part: two\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n");
    let shown = http::whole_body(&client.reply().expect(200)).unwrap();
    let texts = serde_json::from_slice::<serde_json::Value>(&shown).unwrap()["texts"].clone();
    assert_eq!(texts["HTTP_X_PART"], "one, two");
    assert_eq!(texts["HTTP_COOKIE"], "a=1; b=2");
}

#[test]
fn a_stream_reaches_the_client_chunk_by_chunk() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").gate(&gate).start();
    let nginx = Nginx::start("unbuffered.conf", &daemon);
    let mut client = nginx.connect();
    client.send(http::request("GET", "/gated-stream"));
    let arrival = gate.await_note("in the middle");
    client.await_bytes("before ");
    arrival.open();
    assert_eq!(http::whole_body(&client.reply()).as_deref(), Some(b"before after".as_slice()));
}

#[test]
fn a_head_and_a_bodiless_response_are_whole() {
    for (_daemon, nginx) in behind_each(|| Serve::app("respond")) {
        let browser = nginx.browser();
        browser.get("/204").expect(204);
        browser.get("/304").expect(304);
        let head = browser.head("/large").expect(200);
        assert_eq!(head.header("Content-Length").as_deref(), Some("5242880"));
        nginx.expect_no_errors();
    }
}

#[test]
fn a_client_that_does_not_read_costs_nobody_else_anything() {
    for (_daemon, nginx) in behind_each(|| Serve::app("respond")) {
        let mut slow = nginx.connect();
        slow.send(http::request("GET", "/large")).await_bytes("\r\n\r\n");
        nginx.browser().get("/one").expect(200);
        let reply = slow.reply();
        assert_eq!(http::whole_body(&reply).map(|body| body.len()), Some(5 * MIB));
    }
}

#[test]
fn an_exception_in_mid_stream_aborts_the_transfer_to_the_client() {
    let gate = Gate::new();
    for (_daemon, nginx) in behind_each(|| Serve::app("fails").gate(&gate)) {
        let mut client = nginx.connect();
        client.send(http::request("GET", "/mid"));
        gate.await_note("before the failure").open();
        let reply = client.reply();
        assert_eq!(http::whole_body(&reply), None, "{reply:?}");
        assert!(nginx.errors().contains("reset by peer"), "{}", nginx.errors());
    }
}

#[test]
fn a_worker_killed_mid_stream_aborts_the_transfer_to_the_client() {
    let gate = Gate::new();
    for (daemon, nginx) in behind_each(|| Serve::app("fails").gate(&gate)) {
        let mut client = nginx.connect();
        client.send(http::request("GET", "/crash-mid-stream"));
        let worker = gate.await_arrival();
        process::signal(worker.note.parse().unwrap(), Signal::SIGKILL);
        let reply = client.reply();
        assert_eq!(http::whole_body(&reply), None, "{reply:?}");
        assert!(nginx.errors().contains("reset by peer"), "{}", nginx.errors());
        daemon.get("/well").expect_body("well");
    }
}

#[test]
fn an_upload_cut_by_the_client_costs_only_itself() {
    let gate = Gate::new();
    let daemon = Serve::app("fails").option("--body-buffer", "1k").gate(&gate).start();
    let nginx = Nginx::start("unbuffered.conf", &daemon);
    let mut client = nginx.connect();
    client.send("POST /cut-body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n").send([b'x'; 100_000]);
    let arrival = gate.await_note("before the body");
    drop(client);
    arrival.open();
    let got = gate.await_arrival();
    assert!(got.note.starts_with("raised "), "{}", got.note);
    got.open();
    nginx.browser().get("/well").expect(200);
}

#[test]
fn many_clients_at_once_lose_nothing() {
    for (daemon, nginx) in behind_each(|| Serve::app("mirror").workers(2).threads(2)) {
        let visit = |name: usize| {
            let browser = nginx.browser();
            for round in 0..20 {
                let body = format!("{name} {round}").repeat(100 * name);
                let page = browser.post("/all", "text/plain", body.as_bytes()).expect(200);
                assert_eq!(page.text(), body);
            }
        };
        std::thread::scope(|scope| {
            for name in 0..8 {
                scope.spawn(move || visit(name));
            }
        });
        nginx.expect_no_errors();
        daemon.stop();
    }
}
