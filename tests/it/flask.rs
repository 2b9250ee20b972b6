//! A real Flask application behind a real nginx: forms, uploads, cookies, redirects, streams, files.

use std::fs;

use serde_json::json;

use crate::support::{
    browser::File,
    daemon::{Daemon, Serve},
    http, in_repository,
    nginx::Nginx,
};

/// `examples/flask` behind `unix-socket.conf`.
fn site() -> (Daemon, Nginx) {
    let serve = Serve::bare("app:app").option("--chdir", in_repository("examples/flask")).with_frameworks();
    let daemon = serve.workers(2).threads(2).start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    (daemon, nginx)
}

/// Both have had nothing to complain of.
fn expect_peace(daemon: Daemon, nginx: &Nginx) {
    nginx.expect_no_errors();
    let stopped = daemon.stop();
    assert!(!stopped.log.contains("WARN") && !stopped.log.contains("ERROR"), "{}", stopped.log);
}

#[test]
fn flask_shows_pages_and_its_static_files() {
    let (daemon, nginx) = site();
    let browser = nginx.browser();
    browser.get("/").expect(200).expect_text("<form");
    browser.get("/hello/J%C3%BCrgen%20%3Cb%3E").expect(200).expect_text("Hello, J\u{fc}rgen &lt;b&gt;!");
    let style = browser.get("/static/style.css").expect(200);
    assert_eq!(style.body(), fs::read(in_repository("examples/flask/static/style.css")).unwrap());
    browser.get("/nowhere").expect(404);
    expect_peace(daemon, &nginx);
}

#[test]
fn flask_takes_forms_and_redirects() {
    let (daemon, nginx) = site();
    let browser = nginx.browser();
    browser.get("/form").expect(200).expect_text("name=\"name\"");
    browser.post_form("/form", &[("name", "A & B")]).expect_redirect(303, "/hello/A%20&%20B");
    browser.post_form("/form", &[("name", "")]).expect(400);
    browser.get("/redirect").expect_redirect(302, "/hello/redirected");
    expect_peace(daemon, &nginx);
}

#[test]
fn flask_takes_uploads_of_all_sizes() {
    let (daemon, nginx) = site();
    for size in [0, 10, 100_000, 5_000_000, 20_000_000] {
        let bytes: Vec<u8> = (0..size).map(|at: usize| (at * 7).to_le_bytes()[0]).collect();
        let file = File { field: "file", name: "data.bin", bytes: &bytes };
        let page = nginx.browser().post_file("/upload", &[("note", "with a note")], &file).expect(200);
        let seen = page.json();
        assert_eq!(seen["size"], size);
        assert_eq!(seen["name"], "data.bin");
        assert_eq!(seen["note"], "with a note");
        assert_eq!(seen["sha256"], sha256(&bytes));
    }
    nginx.browser().post_form("/upload", &[]).expect(400);
    expect_peace(daemon, &nginx);
}

#[test]
fn flask_takes_raw_bodies_and_json() {
    let (daemon, nginx) = site();
    let browser = nginx.browser();
    let seen = browser.put("/raw", "application/x-thing", &[0xff; 300_000]).expect(200).json();
    assert_eq!((&seen["size"], &seen["type"]), (&json!(300_000), &json!("application/x-thing")));
    assert_eq!(seen["sha256"], sha256(&[0xff; 300_000]));
    let document = json!({"text": "\u{2603}", "list": [1, 2.5, null], "deep": {"a": true}});
    let seen = browser.post("/json", "application/json", document.to_string().as_bytes()).expect(200).json();
    assert_eq!(seen, document);
    browser.post("/json", "application/json", b"{broken").expect(400);
    expect_peace(daemon, &nginx);
}

#[test]
fn flask_takes_an_upload_in_chunks() {
    let (daemon, nginx) = site();
    let mut client = nginx.connect();
    client.send("PUT /raw HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("6\r\nchunks\r\n").send("0\r\n\r\n");
    assert_eq!(client.reply().expect(200).json()["size"], 6);
    expect_peace(daemon, &nginx);
}

#[test]
fn flask_keeps_cookies() {
    let (daemon, nginx) = site();
    let browser = nginx.browser();
    let page = browser.get("/cookies/set?first=1&second=two").expect_redirect(302, "/cookies");
    assert_eq!(page.headers("Set-Cookie"), 2);
    assert_eq!(browser.get("/cookies").expect(200).json(), json!({"first": "1", "second": "two"}));
    assert_eq!(nginx.browser().get("/cookies").expect(200).json(), json!({}));
    expect_peace(daemon, &nginx);
}

#[test]
fn flask_keeps_sessions_apart_across_workers() {
    let (daemon, nginx) = site();
    let [ann, bob] = [nginx.browser(), nginx.browser()];
    for wanted in 1..=10 {
        assert_eq!(ann.get("/visits").expect(200).json()["visits"], wanted);
    }
    assert_eq!(bob.get("/visits").expect(200).json()["visits"], 1);
    ann.get("/me").expect(401);
    ann.post_form("/login", &[("user", "ann")]).expect_redirect(302, "/me");
    assert_eq!(ann.get("/me").expect(200).json(), json!({"user": "ann"}));
    bob.get("/me").expect(401);
    ann.post_form("/logout", &[]).expect_redirect(302, "/me");
    ann.get("/me").expect(401);
    expect_peace(daemon, &nginx);
}

#[test]
fn flask_streams() {
    let (daemon, nginx) = site();
    let reply = http::get(nginx.connect(), "/stream?chunks=3&size=8");
    assert_eq!(reply.header("Transfer-Encoding").as_deref(), Some("chunked"));
    assert_eq!(http::whole_body(&reply).as_deref(), Some(b"0......\n1......\n2......\n".as_slice()));
    let reply = http::get(nginx.connect(), "/stream?chunks=128&size=8192");
    assert_eq!(http::whole_body(&reply).map(|body| body.len()), Some(128 * 8192));
    let reply = http::get(nginx.connect(), "/events");
    assert_eq!(http::whole_body(&reply).as_deref(), Some(b"data: 1\n\ndata: 2\n\ndata: 3\n\n".as_slice()));
    expect_peace(daemon, &nginx);
}

#[test]
fn flask_sends_the_first_chunk_long_before_the_last() {
    let (daemon, nginx) = site();
    let mut client = nginx.connect();
    client.send(http::request("GET", "/stream?chunks=2&size=8&pause=3600"));
    client.await_bytes("0......\n");
    drop(client);
    nginx.browser().get("/status/200").expect(200);
    drop(daemon);
}

#[test]
fn flask_sends_files_whole_in_ranges_and_only_when_changed() {
    let (daemon, nginx) = site();
    let browser = nginx.browser();
    let logo = fs::read(in_repository("examples/flask/static/logo.svg")).unwrap();
    let page = browser.get("/download").expect(200);
    assert_eq!(page.body(), logo);
    assert_eq!(page.header("Content-Length"), Some(logo.len().to_string()));
    assert_eq!(page.header("Content-Disposition").as_deref(), Some("attachment; filename=logo.svg"));
    let part = browser.get_with("/download", "Range", "bytes=5-14").expect(206);
    assert_eq!(part.body(), &logo[5..15]);
    let etag = page.header("ETag").unwrap();
    assert_eq!(browser.get_with("/download", "If-None-Match", &etag).expect(304).body(), b"");
    expect_peace(daemon, &nginx);
}

#[test]
fn flask_sends_large_responses_and_every_status() {
    let (daemon, nginx) = site();
    let browser = nginx.browser();
    let large = browser.get("/large?size=10000000").expect(200);
    assert!(large.body().iter().zip(b"0123456789".iter().cycle()).all(|(got, wanted)| got == wanted));
    assert_eq!(large.body().len(), 10_000_000);
    for code in [200, 201, 204, 304, 400, 404, 410, 418, 451, 500, 503, 599] {
        let page = browser.get(&format!("/status/{code}")).expect(code);
        let wanted = if [204, 304].contains(&code) { String::new() } else { format!("status {code}") };
        assert_eq!(page.text(), wanted);
    }
    assert_eq!(browser.head("/large?size=1000").expect(200).header("Content-Length").as_deref(), Some("1000"));
    expect_peace(daemon, &nginx);
}

#[test]
fn flask_errors_are_a_500_with_the_traceback_in_the_log() {
    let (daemon, nginx) = site();
    nginx.browser().get("/error").expect(500);
    daemon.log.await_line(&["RuntimeError: asked for"]);
    nginx.browser().get("/").expect(200);
}

/// The digest as the system's own tool tells it.
fn sha256(bytes: &[u8]) -> String {
    let scratch = crate::support::scratch::Scratch::new();
    let path = scratch.join("bytes");
    fs::write(&path, bytes).unwrap();
    let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().into()
}
