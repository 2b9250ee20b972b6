//! Behind Apache and lighttpd with the project's own configurations, a client sees what the application meant.

use nix::sys::signal::Signal;

use crate::support::{
    daemon::{Daemon, Serve},
    gate::Gate,
    http, in_repository, process,
    scratch::Scratch,
    site::{Server, Site, within_reach},
};

const MIB: usize = 1024 * 1024;

/// `target` behind each of them, on a Unix socket.
fn behind_each(serve: impl Fn() -> Serve) -> [(Server, Daemon, Site); 2] {
    Server::ALL.map(|server| {
        let daemon = within_reach(serve()).start();
        let site = server.start("unix-socket.conf", &daemon);
        (server, daemon, site)
    })
}

#[test]
fn apache_and_lighttpd_reach_either_kind_of_socket() {
    for server in Server::ALL {
        for serve in [Serve::app("hello"), Serve::app("hello").on_tcp()] {
            let daemon = within_reach(serve).start();
            let site = server.start("unix-socket.conf", &daemon);
            let browser = site.browser();
            let page = browser.get("/").expect(200);
            assert_eq!((page.text(), page.header("Content-Length").as_deref()), ("Hello, world!\n".into(), Some("14")));
            assert_eq!(browser.head("/").expect(200).body(), b"");
        }
    }
}

#[test]
fn apache_and_lighttpd_pass_bodies_and_responses_of_all_sizes() {
    for (server, _daemon, site) in behind_each(|| Serve::app("mirror").threads(2)) {
        for size in [0, 1, 70_000, 5 * MIB] {
            let body: Vec<u8> = (0..size).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
            let page = site.browser().post("/pieces", "application/octet-stream", &body).expect(200);
            assert!(page.body() == body, "{server:?}: {size} bytes came back as {}", page.body().len());
        }
        for _ in 0..5 {
            let page = site.browser().post("/none", "application/octet-stream", &vec![b'x'; MIB]).expect(200);
            assert_eq!(page.text(), "read nothing", "{server:?}");
        }
    }
}

#[test]
fn an_upload_in_chunks_reaches_the_application_or_is_refused_by_the_web_server() {
    for (server, _daemon, site) in behind_each(|| Serve::app("mirror")) {
        let mut client = site.connect();
        client.send("POST /all HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("5\r\nfirst\r\n").send("7\r\n second\r\n").send("0\r\n\r\n");
        let reply = client.reply();
        match server {
            // mod_proxy_uwsgi takes none: the protocol has to say the length beforehand.
            Server::Apache => drop(reply.expect(411)),
            Server::Lighttpd => {
                assert_eq!(http::whole_body(&reply.expect(200)).as_deref(), Some(b"first second".as_slice()));
            }
        }
    }
}

#[test]
fn an_application_at_the_root_has_no_script_name() {
    for (server, _daemon, site) in behind_each(|| Serve::app("echo")) {
        let texts =
            site.browser().get_with("/environ/a%20b/?q=%20", "X-Some-Thing", "1").expect(200).json()["texts"].clone();
        let seen =
            ["SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_METHOD", "wsgi.url_scheme", "HTTP_X_SOME_THING"];
        let wanted = ["", "/environ/a b/", "q=%20", "GET", "http", "1"];
        assert_eq!(seen.map(|key| texts[key].as_str().unwrap_or("missing").to_owned()), wanted, "{server:?}");
        assert_eq!(texts["REMOTE_ADDR"], "127.0.0.1", "{server:?}");
    }
}

#[test]
fn an_application_below_a_prefix_makes_links_below_it() {
    for server in Server::ALL {
        let serve = Serve::bare("app:app").option("--chdir", in_repository("examples/flask")).with_frameworks();
        let daemon = within_reach(serve).workers(1).start();
        let site = server.start("prefix.conf", &daemon);
        let browser = site.browser();
        browser.get("/shop/hello/you").expect(200).expect_text("you");
        browser.get("/shop/redirect").expect_redirect(302, "/shop/hello/redirected");
        browser.get("/shop/").expect(200).expect_text("<form");
        browser.get("/elsewhere").expect(404);
    }
}

#[test]
fn statuses_cookies_and_heads_are_the_applications_own() {
    for (server, _daemon, site) in behind_each(|| Serve::app("respond")) {
        let browser = site.browser();
        let page = browser.get("/headers").expect(418);
        assert_eq!((page.text().as_str(), page.headers("Set-Cookie")), ("short and stout", 3), "{server:?}");
        browser.get("/204").expect(204);
        assert_eq!(browser.get("/304").expect(304).header("ETag").as_deref(), Some("\"a\""), "{server:?}");
        let head = browser.head("/large").expect(200);
        assert_eq!(head.header("Content-Length").as_deref(), Some("5242880"), "{server:?}");
        assert_eq!(browser.get("/large").expect(200).body().len(), 5 * MIB, "{server:?}");
        browser.get("/twice").expect(500);
    }
}

#[test]
fn a_stream_passes_apache_and_lighttpd_chunk_by_chunk() {
    let gate = Gate::new();
    for (server, _daemon, site) in behind_each(|| Serve::app("respond").gate(&gate)) {
        let mut client = site.connect();
        client.send(http::request("GET", "/gated-stream"));
        let arrival = gate.await_note("in the middle");
        client.await_bytes("before ");
        arrival.open();
        assert_eq!(http::whole_body(&client.reply()).as_deref(), Some(b"before after".as_slice()), "{server:?}");
    }
}

#[test]
fn a_stream_cut_by_an_exception_or_a_crash_looks_cut_through_either() {
    let gate = Gate::new();
    for (server, daemon, site) in behind_each(|| Serve::app("fails").gate(&gate)) {
        let mut client = site.connect();
        client.send(http::request("GET", "/mid"));
        let failing = gate.await_note("before the failure");
        // Both lose a reset that comes together with the bytes before it: see docs/clients.md.
        client.await_bytes("the first half");
        failing.open();
        let reply = client.reply();
        assert_eq!(http::whole_body(&reply), None, "{server:?}: {reply:?}");
        let mut client = site.connect();
        client.send(http::request("GET", "/crash-mid-stream"));
        let worker = gate.await_arrival();
        client.await_bytes("the first half");
        process::signal(worker.note.parse().unwrap(), Signal::SIGKILL);
        let reply = client.reply();
        assert_eq!(http::whole_body(&reply), None, "{server:?}: {reply:?}");
        daemon.get("/well").expect_body("well");
    }
}

#[test]
fn a_response_shorter_than_it_says_looks_cut_however_fast_it_breaks() {
    for (server, _daemon, site) in behind_each(|| Serve::app("fails")) {
        for _ in 0..30 {
            let reply = http::get(site.connect(), "/short");
            assert_eq!(http::whole_body(&reply), None, "{server:?}: {reply:?}");
        }
    }
}

#[test]
fn a_header_with_an_underscore_never_replaces_another() {
    for (server, _daemon, site) in behind_each(|| Serve::app("echo")) {
        let ask = |headers: &str| {
            let mut client = site.connect();
            client.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n\r\n"));
            client.reply()
        };
        let both = ask("X-Real: true\r\nX_Real: false");
        match server {
            Server::Apache => assert_eq!(both.json()["texts"]["HTTP_X_REAL"], "true"),
            // Debian's passes both on; neither replaces the other.
            Server::Lighttpd => assert_eq!(both.json()["texts"]["HTTP_X_REAL"], "true, false"),
        }
    }
}

#[test]
fn nobody_is_benched_for_long_while_rusgi_is_away() {
    for server in Server::ALL {
        let scratch = Scratch::new();
        let address = format!("unix:{}", scratch.join("app.sock").display());
        let serve = || within_reach(Serve::app("hello").on(&address)).start();
        let daemon = serve();
        let site = server.start("unix-socket.conf", &daemon);
        daemon.stop();
        site.browser().get("/").expect(503);
        let _daemon = serve();
        // lighttpd looks again after a second; Apache, unless told otherwise, after a minute.
        let is_back = || http::get(site.connect(), "/").code() == 200;
        assert!(process::eventually(is_back), "{server:?}");
    }
}
