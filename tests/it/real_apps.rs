//! WsgiDAV, httpbin and a chunked form for Django, which do what few clients and applications do, behind a real nginx.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::support::{
    daemon::{Daemon, Serve, python},
    http, in_repository,
    nginx::Nginx,
    reply::Reply,
    scratch::Scratch,
};

/// One request that only a raw client can make.
fn ask(nginx: &Nginx, method: &str, uri: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut client = nginx.connect();
    let mut head = format!("{method} {uri} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    client.send(format!("{head}\r\n")).send(body);
    let reply = client.reply();
    if method != "HEAD" && ![204, 304].contains(&reply.code()) {
        assert!(http::whole_body(&reply).is_some(), "{method} {uri}: {reply:?}");
    }
    reply
}

fn body_of(reply: &Reply) -> Vec<u8> {
    http::whole_body(reply).unwrap()
}

/// A share of a folder inside the daemon's own, behind `unix-socket.conf`.
fn share() -> (Daemon, Nginx) {
    let serve = Serve::app("dav").with_frameworks().threads(2);
    let root = serve.scratch().join("share");
    fs::create_dir(&root).unwrap();
    let daemon = serve.env("DAV_ROOT", root).start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    (daemon, nginx)
}

fn expect_peace(daemon: Daemon, nginx: &Nginx) {
    nginx.expect_no_errors();
    let stopped = daemon.stop().expect(0);
    assert!(!stopped.log.contains("Traceback") && !stopped.log.contains("ERROR"), "{}", stopped.log);
}

#[test]
fn wsgidav_puts_gets_and_deletes_files() {
    let (daemon, nginx) = share();
    for size in [1, 10_000, 900_000] {
        let bytes: Vec<u8> = (0..size).map(|at: usize| (at * 7).to_le_bytes()[0]).collect();
        assert_eq!(ask(&nginx, "PUT", "/file.bin", &[], &bytes).code() / 10, 20);
        let back = ask(&nginx, "GET", "/file.bin", &[], b"");
        assert!(body_of(&back) == bytes, "{size} bytes came back otherwise");
        let head = ask(&nginx, "HEAD", "/file.bin", &[], b"");
        assert_eq!((head.code(), head.header("Content-Length")), (200, Some(size.to_string())));
    }
    assert_eq!(ask(&nginx, "DELETE", "/file.bin", &[], b"").code(), 204);
    assert_eq!(ask(&nginx, "GET", "/file.bin", &[], b"").code(), 404);
    expect_peace(daemon, &nginx);
}

#[test]
fn wsgidav_takes_a_put_in_chunks() {
    let (daemon, nginx) = share();
    let mut client = nginx.connect();
    client.send(
        "PUT /chunked.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    client.send("5\r\nfirst\r\n").send("7\r\n second\r\n").send("0\r\n\r\n");
    assert_eq!(client.reply().code(), 201);
    assert_eq!(body_of(&ask(&nginx, "GET", "/chunked.txt", &[], b"")), b"first second");
    expect_peace(daemon, &nginx);
}

#[test]
fn wsgidav_lists_a_folder() {
    let (daemon, nginx) = share();
    assert_eq!(ask(&nginx, "MKCOL", "/folder", &[], b"").code(), 201);
    ask(&nginx, "PUT", "/folder/caf%C3%A9.txt", &[], b"coffee");
    let query = br#"<?xml version="1.0"?><propfind xmlns="DAV:"><prop><getcontentlength/></prop></propfind>"#;
    let reply = ask(&nginx, "PROPFIND", "/folder/", &[("Depth", "1"), ("Content-Type", "text/xml")], query);
    assert_eq!(reply.code(), 207);
    let text = String::from_utf8(body_of(&reply)).unwrap();
    assert!(text.contains("/folder/caf%C3%A9.txt") && text.contains("getcontentlength>6<"), "{text}");
    assert_eq!(ask(&nginx, "OPTIONS", "/folder/", &[], b"").code(), 200);
    expect_peace(daemon, &nginx);
}

#[test]
fn wsgidav_copies_and_moves() {
    let (daemon, nginx) = share();
    ask(&nginx, "PUT", "/one.txt", &[], b"one");
    assert_eq!(ask(&nginx, "COPY", "/one.txt", &[("Destination", "/two.txt")], b"").code(), 201);
    assert_eq!(ask(&nginx, "MOVE", "/one.txt", &[("Destination", "/three.txt")], b"").code(), 201);
    assert_eq!(ask(&nginx, "GET", "/one.txt", &[], b"").code(), 404);
    for uri in ["/two.txt", "/three.txt"] {
        assert_eq!(body_of(&ask(&nginx, "GET", uri, &[], b"")), b"one");
    }
    expect_peace(daemon, &nginx);
}

#[test]
fn wsgidav_serves_ranges_and_conditions() {
    let (daemon, nginx) = share();
    ask(&nginx, "PUT", "/range.txt", &[], b"0123456789");
    let part = ask(&nginx, "GET", "/range.txt", &[("Range", "bytes=2-4")], b"");
    assert_eq!((part.code(), body_of(&part)), (206, b"234".to_vec()));
    assert_eq!(part.header("Content-Range").as_deref(), Some("bytes 2-4/10"));
    let tail = ask(&nginx, "GET", "/range.txt", &[("Range", "bytes=-3")], b"");
    assert_eq!((tail.code(), body_of(&tail)), (206, b"789".to_vec()));
    assert_eq!(ask(&nginx, "GET", "/range.txt", &[("Range", "bytes=50-60")], b"").code(), 416);
    let etag = ask(&nginx, "GET", "/range.txt", &[], b"").header("ETag").unwrap();
    assert_eq!(ask(&nginx, "GET", "/range.txt", &[("If-None-Match", &etag)], b"").code(), 304);
    expect_peace(daemon, &nginx);
}

#[test]
fn wsgidav_locks_and_unlocks() {
    let (daemon, nginx) = share();
    ask(&nginx, "PUT", "/locked.txt", &[], b"one");
    let query = br#"<?xml version="1.0"?><lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype><owner>ann</owner></lockinfo>"#;
    let lock = ask(&nginx, "LOCK", "/locked.txt", &[("Content-Type", "text/xml"), ("Timeout", "Second-60")], query);
    assert_eq!(lock.code(), 200);
    let token = lock.header("Lock-Token").unwrap();
    assert_eq!(ask(&nginx, "PUT", "/locked.txt", &[], b"two").code(), 423);
    assert_eq!(ask(&nginx, "UNLOCK", "/locked.txt", &[("Lock-Token", &token)], b"").code(), 204);
    assert_eq!(ask(&nginx, "PUT", "/locked.txt", &[], b"two").code() / 10, 20);
    expect_peace(daemon, &nginx);
}

#[test]
fn django_takes_a_form_in_chunks() {
    let data = Scratch::new();
    let folder = in_repository("examples/django");
    let mut prepare = Command::new(python());
    prepare.arg(folder.join("manage.py")).arg("prepare").env("EXAMPLE_DATA", data.path());
    assert!(prepare.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap().status.success());
    let serve = Serve::bare("website.wsgi").option("--chdir", folder).with_frameworks().workers(1);
    let daemon = serve.env("EXAMPLE_DATA", data.path()).start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let page = ask(&nginx, "GET", "/notes/", &[], b"");
    let text = String::from_utf8(body_of(&page)).unwrap();
    let token = text.split_once("csrfmiddlewaretoken\" value=\"").unwrap().1.split_once('"').unwrap().0;
    let cookies = page.headers("Set-Cookie");
    let cookies: Vec<_> = cookies.iter().filter_map(|cookie| cookie.split(';').next()).collect();
    let mut client = nginx.connect();
    client.send("POST /notes/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n");
    client.send("Content-Type: application/x-www-form-urlencoded\r\nCookie: ");
    client.send(cookies.join("; ")).send("\r\n\r\n");
    for piece in [format!("csrfmiddlewaretoken={token}"), String::from("&title=In+chunks&text=x"), String::new()] {
        client.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    assert_eq!(client.reply().code(), 302);
    assert_eq!(nginx.browser().get("/notes.json").expect(200).json()["notes"][0]["title"], "In chunks");
    expect_peace(daemon, &nginx);
}

/// httpbin behind `unix-socket.conf`.
fn httpbin() -> (Daemon, Nginx) {
    let daemon = Serve::bare("httpbin:app").with_frameworks().workers(1).threads(2).start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    (daemon, nginx)
}

#[test]
fn httpbin_mirrors_every_method_and_kind_of_body() {
    let (daemon, nginx) = httpbin();
    let browser = nginx.browser();
    let seen = browser.post_form("/post?a=1&a=2", &[("name", "caf\u{e9}")]).expect(200).json();
    assert_eq!((&seen["args"], &seen["form"]), (&json!({"a": ["1", "2"]}), &json!({"name": "caf\u{e9}"})));
    let seen = browser.put("/put", "application/json", br#"{"x": [1]}"#).expect(200).json();
    assert_eq!(seen["json"], json!({"x": [1]}));
    for method in ["GET", "DELETE", "PATCH", "OPTIONS", "HEAD", "FOO"] {
        let reply = ask(&nginx, method, "/anything/x%20y?q=%26", &[("X-Custom", "kept")], b"");
        if ["GET", "DELETE", "PATCH"].contains(&method) {
            let seen: Value = serde_json::from_slice(&body_of(&reply)).unwrap();
            assert_eq!((&seen["method"], &seen["args"]), (&method.into(), &json!({"q": "&"})));
            assert_eq!(seen["headers"]["X-Custom"], "kept");
        }
    }
    expect_peace(daemon, &nginx);
}

#[test]
fn httpbin_answers_with_every_status() {
    let (daemon, nginx) = httpbin();
    for code in [200, 201, 204, 301, 304, 400, 401, 404, 405, 418, 429, 500, 502, 503, 504] {
        let reply = ask(&nginx, "GET", &format!("/status/{code}"), &[], b"");
        assert_eq!(reply.code(), code);
    }
    expect_peace(daemon, &nginx);
}

#[test]
fn httpbin_streams_ranges_and_compresses() {
    let (daemon, nginx) = httpbin();
    let lines = body_of(&ask(&nginx, "GET", "/stream/20", &[], b""));
    assert_eq!(lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), 20);
    assert_eq!(body_of(&ask(&nginx, "GET", "/stream-bytes/100000?seed=1&chunk_size=777", &[], b"")).len(), 100_000);
    assert_eq!(body_of(&ask(&nginx, "GET", "/bytes/100000?seed=1", &[], b"")).len(), 100_000);
    let part = ask(&nginx, "GET", "/range/1000", &[("Range", "bytes=10-19")], b"");
    assert_eq!((part.code(), body_of(&part)), (206, b"klmnopqrst".to_vec()));
    let drip = ask(&nginx, "GET", "/drip?duration=0&numbytes=10&code=200", &[], b"");
    assert_eq!(body_of(&drip), b"**********");
    for (uri, coding) in [("/gzip", "gzip"), ("/deflate", "deflate")] {
        let reply = ask(&nginx, "GET", uri, &[], b"");
        assert_eq!((reply.code(), reply.header("Content-Encoding").as_deref()), (200, Some(coding)));
    }
    assert!(body_of(&ask(&nginx, "GET", "/image/png", &[], b"")).starts_with(b"\x89PNG"));
    expect_peace(daemon, &nginx);
}

#[test]
fn httpbin_redirects_sets_cookies_and_asks_for_passwords() {
    let (daemon, nginx) = httpbin();
    let browser = nginx.browser();
    browser.get("/redirect/2").expect(302);
    browser.get("/cookies/set?a=1&b=2").expect_redirect(302, "/cookies");
    assert_eq!(browser.get("/cookies").expect(200).json(), json!({"cookies": {"a": "1", "b": "2"}}));
    browser.get("/basic-auth/ann/secret").expect(401);
    // ann:secret
    browser.get_with("/basic-auth/ann/secret", "Authorization", "Basic YW5uOnNlY3JldA==").expect(200);
    let seen = browser.get_with("/response-headers?X-A=1&X-A=2", "Accept", "application/json").expect(200);
    assert_eq!(seen.headers("X-A"), 2);
    assert_eq!(browser.get("/ip").expect(200).json(), json!({"origin": "127.0.0.1"}));
    expect_peace(daemon, &nginx);
}
