//! The environ holds what the peer sent, what PEP 3333 demands, and nothing else.

use serde_json::{Map, Value, json};

use crate::support::{
    daemon::{Daemon, Serve},
    http,
    nginx::Nginx,
    packet::Packet,
};

/// The text values of the environ that `packet` becomes, whatever its path.
fn texts(daemon: &Daemon, packet: &Packet) -> Map<String, Value> {
    daemon.ask(packet).json()["texts"].as_object().unwrap().clone()
}

/// The packet of a location that names these vars and no others.
fn only(vars: &[(&str, &str)]) -> Packet {
    vars.iter().fold(Packet::bare(), |packet, (key, value)| packet.var(key, value))
}

#[test]
fn pep3333_environ_is_a_dict_of_exact_str() {
    let daemon = Serve::app("environs").start();
    let seen = daemon.get("/types").json();
    assert_eq!(seen["environ"], "dict");
    assert_eq!(seen["keys"], json!(["str"]));
    let values = seen["values"].as_object().unwrap();
    assert!(values.len() >= 9, "{values:?}");
    assert!(values.values().all(|kind| kind == "str"), "{values:?}");
}

#[test]
fn pep3333_an_application_may_change_and_keep_its_environ() {
    let daemon = Serve::app("environs").start();
    for round in 0..4 {
        let seen = daemon.get(&format!("/keep?{round}")).json();
        let queries: Vec<_> = (0..=round).map(|round| round.to_string()).collect();
        assert_eq!(seen, json!({"seen": queries, "distinct": round + 1, "spoiled": round + 1}));
    }
    let fresh = json!({"left.behind": null, "HTTP_HOST": "localhost", "wsgi.url_scheme": "http"});
    assert_eq!(daemon.get("/look").json(), fresh);
}

#[test]
fn a_var_of_the_web_servers_own_reaches_the_application() {
    let daemon = Serve::app("echo").start();
    let packet = Packet::get("/").var("SSL_CLIENT_VERIFY", "SUCCESS").var("my.param", "x").var("REMOTE_USER", "ann");
    let texts = texts(&daemon, &packet);
    assert_eq!(texts["SSL_CLIENT_VERIFY"], "SUCCESS");
    assert_eq!(texts["my.param"], "x");
    assert_eq!(texts["REMOTE_USER"], "ann");
    assert_eq!(texts["REMOTE_ADDR"], "127.0.0.1");
}

#[test]
fn bytes_beyond_ascii_arrive_as_latin_1() {
    let daemon = Serve::app("echo").start();
    let texts = texts(&daemon, &Packet::get("/").var("HTTP_X", b"\xc3\xa9 \xff\x80"));
    assert_eq!(texts["HTTP_X"], "\u{c3}\u{a9} \u{ff}\u{80}");
}

#[test]
fn a_path_that_was_decoded_once_is_not_decoded_again() {
    let daemon = Serve::app("echo").start();
    for path in ["/a%2Fb", "/100%25", "/a+b", "/\r\nX: y", "/a//b/../c"] {
        assert_eq!(texts(&daemon, &only(&[("REQUEST_METHOD", "GET"), ("PATH_INFO", path)]))["PATH_INFO"], path);
    }
}

#[test]
fn the_servers_own_environment_stays_its_own() {
    let daemon = Serve::app("echo").env("A_SECRET_OF_THE_SERVER", "password").start();
    let reply = daemon.get("/");
    assert!(!reply.holds(b"A_SECRET_OF_THE_SERVER") && !reply.holds(b"\"PATH\""), "{reply:?}");
}

#[test]
fn nothing_is_invented_but_what_pep3333_demands() {
    let daemon = Serve::app("echo").start();
    let texts = texts(&daemon, &only(&[("HTTP_HOST", "example.org:8080")]));
    let wanted = json!({
        "HTTP_HOST": "example.org:8080", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "",
        "SERVER_NAME": "example.org", "SERVER_PORT": "8080", "SERVER_PROTOCOL": "HTTP/1.0", "wsgi.url_scheme": "http",
    });
    assert_eq!(Value::from(texts), wanted);
}

#[test]
fn pep3333_what_a_bare_location_leaves_out_is_never_missing() {
    let daemon = Serve::app("echo").start();
    let texts = texts(&daemon, &only(&[("HTTP_HOST", "localhost")]));
    for key in ["REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL"] {
        assert!(texts.get(key).and_then(Value::as_str).is_some_and(|value| !value.is_empty()), "{key} in {texts:?}");
    }
    assert!(texts.contains_key("SCRIPT_NAME") || texts.contains_key("PATH_INFO"), "{texts:?}");
}

#[test]
fn pep3333_an_empty_var_is_completed_where_it_must_not_be_empty() {
    let daemon = Serve::app("echo").start();
    let empty = ["REQUEST_METHOD", "SERVER_PROTOCOL", "SERVER_NAME", "SERVER_PORT"];
    let packet = empty.iter().fold(only(&[("HTTP_HOST", "localhost")]), |packet, key| packet.var(key, ""));
    let seen = texts(&daemon, &packet);
    let pick = |key: &str| seen[key].as_str().unwrap().to_owned();
    assert_eq!(empty.map(pick), ["GET", "HTTP/1.0", "localhost", "80"]);
    assert_eq!(texts(&daemon, &packet.var("HTTPS", "on"))["SERVER_PORT"], "443");
}

#[test]
fn server_name_and_port_come_from_the_host_header_where_none_are_sent() {
    let daemon = Serve::app("echo").start();
    for (host, name, port) in [
        ("example.org", "example.org", "80"),
        ("example.org:8443", "example.org", "8443"),
        ("[::1]", "[::1]", "80"),
        ("[::1]:81", "[::1]", "81"),
    ] {
        let texts = texts(&daemon, &only(&[("HTTP_HOST", host)]));
        assert_eq!((&texts["SERVER_NAME"], &texts["SERVER_PORT"]), (&name.into(), &port.into()), "{host}");
    }
    let nameless = texts(&daemon, &only(&[("REQUEST_METHOD", "GET")]));
    assert!(nameless["SERVER_NAME"].as_str().is_some_and(|name| !name.is_empty()), "{nameless:?}");
}

#[test]
fn a_missing_path_is_taken_from_the_request_uri() {
    let daemon = Serve::app("echo").start();
    for (script_name, uri, path) in [
        ("", "/a%20b%2525?q", "/a b%25"),
        ("", "?q", "/"),
        ("/app", "/app/page", "/page"),
        ("/app", "/app", ""),
        ("/app", "/application", "/application"),
    ] {
        let texts = texts(&daemon, &only(&[("SCRIPT_NAME", script_name), ("REQUEST_URI", uri)]));
        assert_eq!(texts["PATH_INFO"], path, "{script_name:?} {uri:?}");
        assert_eq!(texts["SCRIPT_NAME"], script_name);
        assert_eq!(texts["REQUEST_URI"], uri);
    }
}

#[test]
fn pep3333_script_name_never_ends_in_a_slash() {
    let daemon = Serve::app("echo").start();
    for (given, wanted) in [("/", ""), ("/app/", "/app"), ("/app", "/app"), ("", "")] {
        let texts = texts(&daemon, &Packet::get("/page").var("SCRIPT_NAME", given));
        assert_eq!((&texts["SCRIPT_NAME"], &texts["PATH_INFO"]), (&wanted.into(), &"/page".into()));
    }
}

#[test]
fn rfc9110_repeated_request_headers_are_joined() {
    let daemon = Serve::app("echo").start();
    let packet = Packet::get("/").var("HTTP_X_PART", "one").var("HTTP_ACCEPT", "a").var("HTTP_X_PART", "two");
    let texts = texts(&daemon, &packet.var("HTTP_ACCEPT", "b").var("HTTP_ACCEPT", ""));
    assert_eq!(texts["HTTP_X_PART"], "one, two");
    assert_eq!(texts["HTTP_ACCEPT"], "a, b, ");
}

#[test]
fn rfc6265_repeated_cookies_are_joined() {
    let daemon = Serve::app("echo").start();
    let texts = texts(&daemon, &Packet::get("/").var("HTTP_COOKIE", "a=1").var("HTTP_COOKIE", "b=2; c=3"));
    assert_eq!(texts["HTTP_COOKIE"], "a=1; b=2; c=3");
}

#[test]
fn empty_body_vars_are_left_out() {
    let daemon = Serve::app("echo").start();
    let texts = texts(&daemon, &Packet::get("/").var("CONTENT_TYPE", "").var("CONTENT_LENGTH", ""));
    assert!(!texts.contains_key("CONTENT_TYPE") && !texts.contains_key("CONTENT_LENGTH"), "{texts:?}");
}

#[test]
fn vars_that_deceive_applications_never_reach_them() {
    let daemon = Serve::app("echo").start();
    for key in ["HTTP_PROXY", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_TRANSFER_ENCODING"] {
        let texts = texts(&daemon, &Packet::get("/").var(key, "1"));
        assert!(!texts.contains_key(key), "{texts:?}");
    }
}

#[test]
fn the_input_is_said_to_end_by_itself_whatever_the_peer_sends() {
    let daemon = Serve::app("mirror").start();
    let chunked = Packet::post("/environ", "x").var("HTTP_TRANSFER_ENCODING", "chunked");
    for packet in [Packet::get("/environ"), Packet::post("/environ", "x"), chunked] {
        assert_eq!(daemon.ask(&packet).expect(200).json()["others"]["wsgi.input_terminated"], "True");
    }
}

#[test]
fn the_scheme_is_uwsgi_scheme_else_https_else_request_scheme() {
    let daemon = Serve::app("echo").start();
    for (vars, scheme) in [
        (&[("UWSGI_SCHEME", "https"), ("HTTPS", "off"), ("REQUEST_SCHEME", "http")][..], "https"),
        (&[("UWSGI_SCHEME", "http"), ("HTTPS", "on"), ("REQUEST_SCHEME", "https")], "http"),
        (&[("REQUEST_SCHEME", "https"), ("HTTPS", "off")], "http"),
        (&[("HTTPS", "on"), ("REQUEST_SCHEME", "http")], "https"),
        (&[("HTTPS", ""), ("UWSGI_SCHEME", ""), ("REQUEST_SCHEME", "https")], "https"),
        (&[("HTTPS", "1")], "https"),
        (&[("HTTPS", "ON")], "https"),
        (&[("REQUEST_SCHEME", "HTTPS")], "https"),
        (&[("REQUEST_SCHEME", "gopher")], "http"),
        (&[], "http"),
    ] {
        let packet = vars.iter().fold(Packet::get("/"), |packet, (key, value)| packet.var(key, value));
        assert_eq!(texts(&daemon, &packet)["wsgi.url_scheme"], scheme, "{vars:?}");
    }
}

#[test]
fn a_client_cannot_choose_the_scheme_by_a_header() {
    let daemon = Serve::app("echo").start();
    for (key, value) in [
        ("HTTP_X_FORWARDED_PROTO", "https"),
        ("HTTP_X_FORWARDED_PROTOCOL", "ssl"),
        ("HTTP_X_FORWARDED_SSL", "on"),
        ("HTTP_X_SCHEME", "https"),
        ("HTTP_FRONT_END_HTTPS", "on"),
        ("HTTP_FORWARDED", "proto=https"),
        ("HTTP_HTTPS", "on"),
    ] {
        let texts = texts(&daemon, &Packet::get("/").var(key, value));
        assert_eq!(texts["wsgi.url_scheme"], "http", "{key}");
        assert_eq!(texts[key], value);
    }
}

#[test]
fn pep3333_a_peer_cannot_set_the_keys_of_the_server() {
    let daemon = Serve::app("mirror").start();
    let keys = ["wsgi.input", "wsgi.errors", "wsgi.version", "wsgi.url_scheme", "wsgi.file_wrapper", "wsgi.run_once"];
    let packet = keys.iter().fold(Packet::get("/environ"), |packet, key| packet.var(key, "forged"));
    let reply = daemon.ask(&packet).expect(200);
    assert!(!reply.holds(b"forged"), "{reply:?}");
    assert_eq!(reply.json()["texts"]["wsgi.url_scheme"], "http");
}

#[test]
fn a_peer_cannot_set_keys_of_rusgi() {
    let daemon = Serve::app("echo").start();
    let reply = daemon.ask(&Packet::get("/").var("rusgi.disconnected", "forged").var("rusgi.other", "forged"));
    assert!(!reply.expect(200).holds(b"forged"));
}

#[test]
fn orders_to_uwsgi_reach_nobody_and_are_counted() {
    let daemon = Serve::app("echo").start();
    let orders = ["UWSGI_FILE", "UWSGI_SCRIPT", "UWSGI_SETENV", "UWSGI_CHDIR", "UWSGI_APPID"];
    for _ in 0..2 {
        let packet = orders.iter().fold(Packet::get("/"), |packet, key| packet.var(key, "forged"));
        assert!(!daemon.ask(&packet).expect(200).holds(b"forged"));
    }
    daemon.log.await_line(&["UWSGI_FILE", "1 such"]);
    daemon.log.await_line(&["UWSGI_", "10 such"]);
    assert_eq!(daemon.log.with(&["no effect"]).len(), 2);
}

#[test]
fn pep3333_multithread_and_multiprocess_are_truthful() {
    for (workers, threads) in [(1, 1), (1, 2), (2, 1)] {
        let daemon = Serve::app("mirror").workers(workers).threads(threads).start();
        let others = daemon.get("/environ").json()["others"].clone();
        let said = |key: &str| others[key].as_str().unwrap() == "True";
        assert_eq!((said("wsgi.multiprocess"), said("wsgi.multithread")), (workers > 1, threads > 1));
    }
}

#[test]
fn modifier1_30_strips_script_name_at_the_end_of_a_segment_only() {
    let daemon = Serve::app("echo").start();
    for (script_name, path, wanted) in [
        ("/app", "/app/page", "/page"),
        ("/app", "/app", ""),
        ("/app/", "/app/page", "/page"),
        ("/app", "/application", "/application"),
        ("/app", "/", "/"),
        ("", "/page", "/page"),
        ("/longer/than/the/path", "/x", "/x"),
    ] {
        let vars = [("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", script_name), ("PATH_INFO", path)];
        assert_eq!(texts(&daemon, &only(&vars).modifier1(30))["PATH_INFO"], wanted, "{script_name:?} {path:?}");
    }
}

#[test]
fn what_nginx_sends_becomes_a_clean_environ() {
    let daemon = Serve::app("echo").start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let mut client = nginx.connect();
    client.send("POST /a%2520b?x=%2F HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\n");
    client.send("Proxy: http://evil.example\r\nX-Forwarded-Proto: https\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("5\r\nhello\r\n0\r\n\r\n");
    let shown: Value = serde_json::from_slice(&http::whole_body(&client.reply().expect(200)).unwrap()).unwrap();
    let texts = shown["texts"].as_object().unwrap();
    for (key, wanted) in [
        ("PATH_INFO", "/a%20b"),
        ("QUERY_STRING", "x=%2F"),
        ("REQUEST_URI", "/a%2520b?x=%2F"),
        ("SCRIPT_NAME", ""),
        ("CONTENT_TYPE", "text/plain"),
        ("CONTENT_LENGTH", "5"),
        ("HTTP_X_FORWARDED_PROTO", "https"),
        ("wsgi.url_scheme", "http"),
    ] {
        assert_eq!(texts[key], wanted, "{key} in {texts:?}");
    }
    for key in ["HTTP_PROXY", "HTTP_CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_LENGTH"] {
        assert!(!texts.contains_key(key), "{key} in {texts:?}");
    }
    assert_eq!(shown["others"]["wsgi.input_terminated"], "True");
}

/// Vars of one order, and what each of them may be.
const CHOICES: [(&str, &[&str]); 12] = [
    ("QUERY_STRING", &["", "a=1", "b=2&c=3"]),
    ("REQUEST_METHOD", &["GET", "GET", "GET", "OPTIONS"]),
    ("CONTENT_TYPE", &["", "", "", "", "", "", "text/plain"]),
    ("REQUEST_URI", &["/", "/a%20b?a=1", "/c"]),
    ("PATH_INFO", &["/", "/a b", "/c", ""]),
    ("SERVER_NAME", &["localhost", "localhost", "localhost", "localhost", ""]),
    ("SERVER_PORT", &["80", "80", "80", "80", "80", "80", "443", ""]),
    ("REQUEST_SCHEME", &["http", "http", "http", "http", "http", "https"]),
    ("SCRIPT_NAME", &["", "", "", "", "", "/mounted"]),
    ("HTTP_HOST", &["example.org:8000", "example.org:8000", "example.org:8000", "[::1]"]),
    ("HTTP_COOKIE", &["", "session=1", "session=2"]),
    ("HTTP_AUTHORIZATION", &["Basic YTpi", "Basic Yzpk"]),
];

/// The packet of this round: every value lasts for some rounds, each for another number of them.
fn changing(round: usize) -> Packet {
    CHOICES.iter().enumerate().fold(Packet::bare(), |packet, (number, (key, values))| {
        packet.var(key, values[round / (1 + 3 * number) % values.len()])
    })
}

#[test]
fn an_environ_owes_nothing_to_the_requests_before() {
    let daemon = Serve::app("echo").start();
    let forgetful = Serve::app("echo").start();
    // In between lies the point at which all values are learned anew.
    for round in (0..300).chain(9_900..10_100) {
        let packet = changing(round);
        // An order of vars that has never been seen is built up from nothing.
        let mut fresh = texts(&forgetful, &packet.clone().var(format!("FRESH_{round}"), ""));
        assert_eq!(fresh.remove(&format!("FRESH_{round}")), Some(json!("")));
        assert_eq!(texts(&daemon, &packet), fresh, "round {round}");
        if round == 299 {
            (0..9_500).for_each(|_| drop(daemon.ask(&packet)));
        }
    }
}
