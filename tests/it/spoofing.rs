//! Nobody passes for somebody else, and no bytes pass for others: the classes of `docs/security.md`.

use serde_json::Value;

use crate::support::{
    daemon::{Daemon, Serve},
    http,
    nginx::Nginx,
    packet::Packet,
    reply::Reply,
};

/// What an application behind a nginx that lets underscores through sees of `head`.
fn seen_behind_nginx(daemon: &Daemon, head: &str) -> Value {
    let nginx = Nginx::start(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nginx/host.conf"), daemon);
    let mut client = nginx.connect();
    client.send(format!("{head}\r\nConnection: close\r\n\r\n"));
    texts(&client.reply().expect(200))
}

fn texts(reply: &Reply) -> Value {
    reply.json()["texts"].clone()
}

#[test]
fn what_follows_a_request_is_never_another_request() {
    for serve in [Serve::app("echo"), Serve::app("echo").on_tcp()] {
        let daemon = serve.start();
        let smuggled = Packet::get("/smuggled").bytes();
        for first in [Packet::get("/").bytes(), Packet::post("/", "body").bytes()] {
            let mut peer = daemon.connect();
            peer.send([first, smuggled.clone()].concat());
            let reply = peer.reply().expect(200);
            assert_eq!(texts(&reply)["PATH_INFO"], "/");
            assert!(!reply.holds(b"smuggled"), "{reply:?}");
        }
    }
}

#[test]
fn vars_that_a_wrapped_length_cut_off_become_no_request() {
    // What nginx before 1.15.4 made of too many headers: the length modulo 65536, and the rest as if it were a body.
    let daemon = Serve::app("echo").start();
    let whole =
        (0..900).fold(Packet::get("/"), |packet, number| packet.var(format!("HTTP_X_{number}"), "x".repeat(70)));
    let block = whole.block();
    let [low, high, ..] = u32::try_from(block.len()).unwrap().to_le_bytes();
    assert!(block.len() > 65_536, "{}", block.len());
    let mut peer = daemon.connect();
    let _ = peer.try_send(&[&[0, low, high, 0], block.as_slice()].concat());
    let reply = peer.reply();
    assert_eq!(reply.code(), 400, "{reply:?}");
    daemon.get("/");
}

#[test]
fn a_header_never_becomes_a_var_that_only_the_web_server_sets() {
    let daemon = Serve::app("echo").start();
    let forged = "GET /real HTTP/1.1\r\nHost: localhost\r\nRemote-User: root\r\nRemote_Addr: 6.6.6.6\r\nHTTPS: on\r\n\
                  Script-Name: /forged\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nwsgi.url_scheme: https";
    let texts = seen_behind_nginx(&daemon, forged);
    let real = ["REMOTE_ADDR", "REMOTE_USER", "SCRIPT_NAME", "PATH_INFO", "wsgi.url_scheme"].map(|key| &texts[key]);
    assert_eq!(real, ["127.0.0.1", "", "", "/real", "http"]);
    assert_eq!((&texts["HTTP_REMOTE_USER"], &texts["HTTP_X_FORWARDED_FOR"]), (&"root".into(), &"6.6.6.6".into()));
    assert!(texts["HTTPS"].is_null(), "{texts}");
}

#[test]
fn a_header_with_an_underscore_joins_its_double_and_never_replaces_it() {
    let daemon = Serve::app("echo").start();
    let head = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Role: reader\r\nX_Role: owner";
    assert_eq!(seen_behind_nginx(&daemon, head)["HTTP_X_ROLE"], "reader, owner");
}

#[test]
fn lengths_and_codings_that_a_client_writes_reach_no_application() {
    let daemon = Serve::app("echo").start();
    let head = "GET / HTTP/1.1\r\nHost: localhost\r\nContent_Length: 77\r\nTransfer_Encoding: chunked\r\nProxy: http://6.6.6.6/";
    let texts = seen_behind_nginx(&daemon, head);
    for key in ["HTTP_CONTENT_LENGTH", "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_PROXY"] {
        assert!(texts[key].is_null(), "{key} in {texts}");
    }
}

#[test]
fn the_host_is_the_one_that_nginx_routed_by() {
    let daemon = Serve::app("echo").start();
    let head = "GET http://real.example/ HTTP/1.1\r\nHost: forged.example";
    assert_eq!(seen_behind_nginx(&daemon, head)["HTTP_HOST"], "real.example");
}

#[test]
fn a_path_with_line_ends_cannot_split_a_response() {
    let daemon = Serve::app("reflects").start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    for end in ["%0d%0a", "%0a", "%0d"] {
        let reply = http::get(nginx.connect(), &format!("/x{end}Set-Cookie:%20forged=1{end}{end}body"));
        assert!(!reply.holds(b"forged"), "{reply:?}");
        assert!([500, 502].contains(&reply.code()), "{reply:?}");
    }
    assert_eq!(http::get(nginx.connect(), "/plain").expect(302).header("Location").as_deref(), Some("/plain"));
}

#[test]
fn only_the_path_decides_where_a_request_goes() {
    let daemon = Serve::app("echo").option("--mount", "/admin=targets:application").start();
    let packet = Packet::request("GET", "/admin").var("PATH_INFO", "/public").var("HTTP_X_ORIGINAL_URL", "/admin");
    let seen = texts(&daemon.ask(&packet).expect(200));
    assert_eq!((&seen["PATH_INFO"], &seen["REQUEST_URI"]), (&"/public".into(), &"/admin".into()));
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    for (uri, path) in [("/a/..%2fpublic", "/public"), ("//public", "/public"), ("/%61dmin/../public", "/public")] {
        let seen = texts(&http::get(nginx.connect(), uri).expect(200));
        assert_eq!((&seen["PATH_INFO"], &seen["REQUEST_URI"]), (&path.into(), &uri.into()));
    }
}

#[test]
fn a_client_cannot_ask_nginx_for_an_internal_file_through_rusgi() {
    let daemon = Serve::app("echo").start();
    let head = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Accel-Redirect: /internal\r\nX-Sendfile: /etc/passwd";
    let seen = seen_behind_nginx(&daemon, head);
    assert_eq!((&seen["PATH_INFO"], &seen["HTTP_X_ACCEL_REDIRECT"]), (&"/".into(), &"/internal".into()));
}

#[test]
fn nobody_can_upgrade_a_connection_past_nginx() {
    let daemon = Serve::app("starts").start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let mut client = nginx.connect();
    let asked = r#"{"status": "101 Switching Protocols", "headers": [["Upgrade", "h2c"], ["Connection", "Upgrade"]]}"#;
    client.send(format!(
        "POST /described HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\nContent-Length: {}\r\n\r\n{asked}",
        asked.len()
    ));
    let reply = client.reply().expect(200);
    assert!(reply.text().starts_with("refused: "), "{reply:?}");
}
