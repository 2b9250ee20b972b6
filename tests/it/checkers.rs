//! Two checkers of the WSGI rules, `wsgiref.validate` and werkzeug's lint middleware, find nothing to complain of.

use std::process::Command;

use crate::support::{
    daemon::{Daemon, Serve, python},
    in_repository,
    packet::Packet,
    scratch::Scratch,
};

const WSGIREF: &str = "checked:by_wsgiref()";
const WERKZEUG: &str = "checked:by_werkzeug()";

/// Sends the requests to `application` with each checker around it; every one must get the status beside it.
fn expect_no_complaint(application: &str, prepare: impl Fn(Serve) -> Serve, requests: &[(Packet, u16)]) {
    for checker in [WSGIREF, WERKZEUG] {
        expect_no_complaint_of(checker, prepare(Serve::app(checker).env("CHECKED", application)), requests);
    }
}

fn expect_no_complaint_of(checker: &str, serve: Serve, requests: &[(Packet, u16)]) {
    let daemon = serve.with_frameworks().start();
    for (packet, status) in requests {
        let reply = daemon.ask(packet);
        assert_eq!(reply.code(), *status, "{checker}: {reply:?}");
    }
    expect_peace(daemon, checker);
}

/// The checkers complain by exceptions, warnings and, when an iterable was never closed, on standard error.
fn expect_peace(daemon: Daemon, checker: &str) {
    let stopped = daemon.stop().expect(0);
    for word in ["ERROR", "WARN", "Warning", "Traceback", "AssertionError", "never closed", "without being closed"] {
        assert!(!stopped.log.contains(word), "{checker}: {word} in {}", stopped.log);
    }
}

fn gets(uris: &[&str]) -> Vec<(Packet, u16)> {
    uris.iter().map(|uri| (Packet::get(uri), 200)).collect()
}

#[test]
fn the_checkers_do_complain_when_there_is_reason_to() {
    for checker in [WSGIREF, WERKZEUG] {
        let daemon = Serve::app(checker).env("CHECKED", "fails:application").with_frameworks().start();
        daemon.ask(&Packet::get("/not-bytes")).expect(500);
        daemon.log.await_line(&["Traceback"]);
    }
}

#[test]
fn the_checkers_accept_responses_of_every_shape() {
    let mut requests = gets(&["/one", "/list", "/generator", "/large", "/length", "/write"]);
    // Not asked for: a late start_response, which wsgiref mistakes for an error.
    requests.push((Packet::get("/304"), 304));
    expect_no_complaint("respond:application", |serve| serve, &requests);
}

#[test]
fn wsgiref_accepts_responses_without_a_body() {
    // Not by werkzeug, which wants a Content-Length for 204 and a body for HEAD.
    let heads = ["/one", "/length", "/generator", "/list"].map(|uri| (Packet::request("HEAD", uri), 200));
    let requests = [heads.as_slice(), &[(Packet::get("/204"), 204)]].concat();
    expect_no_complaint_of(WSGIREF, Serve::app(WSGIREF).env("CHECKED", "respond:application"), &requests);
}

#[test]
fn the_checkers_accept_the_environ_and_the_input() {
    let mut requests = gets(&["/environ", "/none"]);
    requests.extend(["/ten", "/pieces", "/lines", "/none"].map(|uri| (Packet::post(uri, "a\nbody\nof lines"), 200)));
    requests.push((Packet::request("POST", "/pieces"), 200));
    requests.push((Packet::get("/environ").var("CONTENT_TYPE", "").var("CONTENT_LENGTH", ""), 200));
    requests.push((Packet::get("/environ").var("SCRIPT_NAME", "/").var("HTTPS", "on"), 200));
    requests.push((Packet::bare().var("HTTP_HOST", "localhost").var("PATH_INFO", "/environ"), 200));
    requests.push((Packet::get("/environ").var("HTTP_CONTENT_TYPE", "x").var("HTTP_CONTENT_LENGTH", "1"), 200));
    expect_no_complaint("mirror:application", |serve| serve, &requests);
}

#[test]
fn the_checkers_accept_iterables_and_files() {
    let chunks = gets(&["/watched", "/finishing", "/single", "/tuple", "/empty-chunks", "/list-subclass"]);
    expect_no_complaint("chunks:application", |serve| serve, &chunks);
    expect_no_complaint("files:application", |serve| serve, &gets(&["/in-memory", "/whole", "/wrapped", "/empty"]));
}

#[test]
fn the_checkers_accept_wsgi_errors() {
    expect_no_complaint("hello:application", |serve| serve, &gets(&["/"]));
}

#[test]
fn the_checkers_accept_mounted_applications() {
    let mounted = |serve: Serve| serve.option("--mount", "/deep=echo");
    expect_no_complaint("echo:application", mounted, &gets(&["/", "/deep", "/deep/er"]));
}

#[test]
fn the_checkers_accept_flask() {
    let folder = |serve: Serve| serve.option("--pythonpath", in_repository("examples/flask"));
    let mut requests = gets(&["/", "/cookies", "/stream?chunks=3&size=8", "/download", "/large?size=100000"]);
    requests.extend([(Packet::get("/status/404"), 404), (Packet::get("/cookies/set?a=1"), 302)]);
    // No forms: werkzeug reads them by read() without a size, which both checkers mistake for an error.
    expect_no_complaint("app:app", folder, &requests);
}

#[test]
fn the_checkers_accept_django() {
    let data = Scratch::new();
    let mut prepare = Command::new(python());
    prepare.arg(in_repository("examples/django/manage.py")).arg("prepare");
    let done = prepare.env("EXAMPLE_DATA", data.path()).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let folder =
        |serve: Serve| serve.option("--pythonpath", in_repository("examples/django")).env("EXAMPLE_DATA", data.path());
    let mut requests = gets(&["/", "/visits/", "/notes/", "/notes.json", "/stream/?chunks=20", "/download/"]);
    requests.extend([(Packet::get("/visits"), 301), (Packet::get("/admin/"), 302)]);
    expect_no_complaint("website.wsgi:application", folder, &requests);
}
