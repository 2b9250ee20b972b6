//! A real Django project behind a real nginx: sessions, CSRF, uploads, streams, files and the admin.

use std::{fs, path::Path, process::Command, sync::OnceLock};

use serde_json::json;

use crate::support::{
    browser::{Browser, File, Page},
    daemon::{Daemon, Serve, python},
    http, in_repository,
    nginx::Nginx,
    scratch::Scratch,
};

/// `examples/django` behind `unix-socket.conf`, with a database of its own.
struct Site {
    nginx: Nginx,
    daemon: Daemon,
    _data: Scratch,
}

impl Site {
    fn start() -> Self {
        let data = Scratch::new();
        fs::write(data.join("db.sqlite3"), prepared_database()).unwrap();
        let serve = Serve::bare("website.wsgi").option("--chdir", in_repository("examples/django")).with_frameworks();
        let daemon = serve.workers(2).threads(2).env("EXAMPLE_DATA", data.path()).start();
        let nginx = Nginx::start("unix-socket.conf", &daemon);
        Self { nginx, daemon, _data: data }
    }

    fn browser(&self) -> Browser {
        self.nginx.browser()
    }

    /// Neither side has had anything to complain of.
    fn expect_peace(self) {
        self.nginx.expect_no_errors();
        let stopped = self.daemon.stop();
        assert!(!stopped.log.contains("WARN") && !stopped.log.contains("ERROR"), "{}", stopped.log);
    }
}

/// The database after `manage.py prepare`, which is too slow to be run by every test.
fn prepared_database() -> &'static [u8] {
    static DATABASE: OnceLock<Vec<u8>> = OnceLock::new();
    DATABASE.get_or_init(|| {
        let data = Scratch::new();
        prepare(data.path());
        fs::read(data.join("db.sqlite3")).unwrap()
    })
}

fn prepare(data: &Path) {
    let mut command = Command::new(python());
    command.arg(in_repository("examples/django/manage.py")).arg("prepare");
    let output = command.env("EXAMPLE_DATA", data).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Fetches the page of the form for its token, then submits it.
fn submit(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Page {
    let token = browser.get(path).expect(200).field("csrfmiddlewaretoken");
    browser.post_form(path, &[&[("csrfmiddlewaretoken", token.as_str())], fields].concat())
}

fn log_in(browser: &Browser) {
    let fields = [("username", "admin"), ("password", "admin"), ("next", "/admin/")];
    submit(browser, "/admin/login/", &fields).expect_redirect(302, "/admin/");
}

#[test]
fn django_keeps_sessions_in_its_database() {
    let site = Site::start();
    let [ann, bob] = [site.browser(), site.browser()];
    for wanted in 1..=6 {
        assert_eq!(ann.get("/visits/").expect(200).json(), json!({"visits": wanted}));
    }
    ann.get("/").expect(200).expect_text("visits: 7");
    assert_eq!(bob.get("/visits/").expect(200).json(), json!({"visits": 1}));
    bob.get("/visits").expect_redirect(301, "/visits/");
    site.expect_peace();
}

#[test]
fn django_refuses_a_form_without_its_csrf_token_and_takes_it_with_one() {
    let site = Site::start();
    let browser = site.browser();
    browser.post_form("/notes/", &[("title", "forged"), ("text", "x")]).expect(403);
    submit(&browser, "/notes/", &[("title", ""), ("text", "x")]).expect(200).expect_text("This field is required");
    submit(&browser, "/notes/", &[("title", "A first note"), ("text", "with text")]).expect_redirect(302, "/notes/1/");
    browser.get("/notes/1/").expect(200).expect_text("A first note").expect_text("with text");
    browser.get("/notes/2/").expect(404);
    let notes = browser.get("/notes.json").expect(200).json();
    assert_eq!(notes, json!({"notes": [{"id": 1, "title": "A first note", "text": "with text", "attachment": null}]}));
    site.expect_peace();
}

#[test]
fn django_takes_uploads_and_gives_them_back() {
    let site = Site::start();
    let browser = site.browser();
    for (number, size) in [(1, 10), (2, 100_000), (3, 6_000_000)] {
        let token = browser.get("/notes/").expect(200).field("csrfmiddlewaretoken");
        let bytes: Vec<u8> = (0..size).map(|at: usize| (at * 11).to_le_bytes()[0]).collect();
        let file = File { field: "attachment", name: "data.bin", bytes: &bytes };
        let fields = [("csrfmiddlewaretoken", token.as_str()), ("title", "with a file"), ("text", "x")];
        let page = browser.post_file("/notes/", &fields, &file);
        page.expect_redirect(302, &format!("/notes/{number}/"));
        let back = browser.get(&format!("/notes/{number}/attachment/")).expect(200);
        assert!(back.body() == bytes, "{size} bytes came back as {}", back.body().len());
        assert!(back.header("Content-Disposition").is_some_and(|kind| kind.starts_with("attachment")));
    }
    site.expect_peace();
}

#[test]
fn django_streams_and_sends_files() {
    let site = Site::start();
    let reply = http::get(site.nginx.connect(), "/stream/?chunks=1000");
    let lines: String = (0..1000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(http::whole_body(&reply).as_deref(), Some(lines.as_bytes()));
    let logo = fs::read(in_repository("examples/django/pages/static/pages/logo.svg")).unwrap();
    for _ in 0..5 {
        let page = site.browser().get("/download/").expect(200);
        assert_eq!(page.body(), logo);
        assert_eq!(page.header("Content-Length"), Some(logo.len().to_string()));
        assert_eq!(page.header("Content-Disposition").as_deref(), Some("attachment; filename=\"logo.svg\""));
    }
    assert_eq!(site.browser().head("/download/").expect(200).body(), b"");
    site.expect_peace();
}

#[test]
fn django_admin_lets_in_who_knows_the_password() {
    let site = Site::start();
    let browser = site.browser();
    browser.get("/admin/").expect_redirect(302, "/admin/login/?next=/admin/");
    let wrong = [("username", "admin"), ("password", "wrong"), ("next", "/admin/")];
    submit(&browser, "/admin/login/", &wrong).expect(200).expect_text("Please enter the correct");
    log_in(&browser);
    browser.get("/admin/").expect(200).expect_text("Site administration");
    site.browser().get("/admin/").expect(302);
    site.expect_peace();
}

#[test]
fn django_admin_adds_changes_and_deletes() {
    let site = Site::start();
    let browser = site.browser();
    log_in(&browser);
    submit(&browser, "/admin/pages/note/add/", &[("title", "By the admin"), ("text", "added")])
        .expect_redirect(302, "/admin/pages/note/");
    browser.get("/admin/pages/note/").expect(200).expect_text("By the admin").expect_text("was added successfully");
    submit(&browser, "/admin/pages/note/1/change/", &[("title", "Changed"), ("text", "changed")]).expect(302);
    assert_eq!(browser.get("/notes.json").json()["notes"][0]["title"], "Changed");
    submit(&browser, "/admin/pages/note/1/delete/", &[("post", "yes")]).expect(302);
    assert_eq!(browser.get("/notes.json").json(), json!({"notes": []}));
    site.expect_peace();
}

#[test]
fn django_admin_has_its_style_sheets() {
    let site = Site::start();
    let style = site.browser().get("/static/admin/css/base.css").expect(200);
    assert!(style.header("Content-Type").is_some_and(|kind| kind.starts_with("text/css")));
    assert!(style.body().len() > 1000);
    site.expect_peace();
}

#[test]
fn django_errors_are_a_500_with_the_traceback_in_the_log() {
    let site = Site::start();
    site.browser().get("/error/").expect(500);
    site.daemon.log.await_line(&["RuntimeError: asked for"]);
    site.browser().get("/visits/").expect(200);
}
