//! `rusgi doctor`: what breaks a deployment is named, and what it advises mends it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use crate::support::{daemon::executable, nginx::render, scratch::Scratch};

/// A deployment: nginx's configuration and a place for the socket.
struct Deployment {
    scratch: Scratch,
    socket: String,
}

impl Deployment {
    fn new() -> Self {
        let scratch = Scratch::new();
        let socket = scratch.join("run/app.sock").display().to_string();
        fs::create_dir(scratch.join("run")).unwrap();
        let folder = scratch.path().display().to_string();
        render(&[&folder, "unix-socket.conf", "127.0.0.1:8080", &format!("unix:{socket}")]);
        Self { scratch, socket }
    }

    /// Changes nginx's site.
    fn with(self, from: &str, to: &str) -> Self {
        let file = self.scratch.join("sites/rusgi.conf");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "no {from} in {text}");
        fs::write(&file, text.replace(from, to)).unwrap();
        self
    }

    /// The exit code, and what was said of what matters here.
    fn examine(&self, options: &[&str]) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = Command::new(executable())
            .args(["doctor", "--nginx-user", "nobody", "--nginx-conf"])
            .arg(self.scratch.join("nginx.conf"))
            .args(["hello", "--socket", &self.socket, "--workers", "1"])
            .env("RUSGI_SOCKET_MODE", "666")
            .args(options)
            .output()
            .unwrap();
        (status.code(), [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat())
    }

    /// Asserts that this is a problem, and how it is mended.
    fn expect_problem(&self, words: &str, fix: &str) {
        let (code, said) = self.examine(&[]);
        assert_eq!(code, Some(1), "{said}");
        let mut lines = said.lines().skip_while(|line| !(line.starts_with("problem") && line.contains(words)));
        assert!(
            lines.next().is_some() && lines.next().is_some_and(|line| line.contains(fix)),
            "no {words:?} in {said}"
        );
    }
}

#[test]
fn a_deployment_that_works_has_no_problem() {
    let (code, said) = Deployment::new().examine(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ok       nginx, location /: passes to rusgi"), "{said}");
}

#[test]
fn a_directory_that_nginx_may_not_pass_is_named_with_the_command_that_opens_it() {
    let deployment = Deployment::new();
    let directory = deployment.scratch.join("run");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o750)).unwrap();
    let fix = format!("chmod o+x {}", directory.display());
    deployment.expect_problem(&format!("{}: nginx's user nobody may not pass (mode 0750", directory.display()), &fix);
    assert!(Command::new("sh").args(["-c", &fix]).status().unwrap().success());
    assert_eq!(deployment.examine(&[]).0, Some(0));
}

#[test]
fn a_socket_that_nginx_may_not_write_to_is_a_problem() {
    let deployment = Deployment::new();
    let (code, said) = deployment.examine(&["--socket-mode=600"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("may not connect (mode 0600"), "{said}");
}

#[test]
fn params_that_are_not_sent_are_missed() {
    let deployment = Deployment::new().with("include uwsgi_params;", "uwsgi_param SCRIPT_NAME x;");
    deployment.expect_problem("REQUEST_METHOD, REQUEST_URI, PATH_INFO, QUERY_STRING not sent", "include uwsgi_params;");
}

#[test]
fn a_site_that_passes_elsewhere_is_a_problem() {
    let deployment = Deployment::new().with("app.sock", "other.sock");
    deployment.expect_problem("nothing is passed to unix:", "uwsgi_pass unix:");
}

#[test]
fn a_configuration_that_nginx_refuses_is_a_problem() {
    let deployment = Deployment::new().with("uwsgi_buffering on;", "uwsgi_bufering on;");
    deployment.expect_problem("unknown directive \"uwsgi_bufering\"", "nginx -t");
}

#[test]
fn an_nginx_that_gives_up_first_is_warned_of() {
    let (code, said) = Deployment::new().examine(&["--request-timeout=90"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("uwsgi_read_timeout 65s ends before"), "{said}");
    assert!(said.contains("uwsgi_read_timeout 100s;"), "{said}");
}

#[test]
fn a_virtualenv_for_another_python_is_a_problem() {
    let deployment = Deployment::new();
    let virtualenv = deployment.scratch.join("venv");
    fs::create_dir_all(virtualenv.join("lib/python2.7/site-packages")).unwrap();
    let (code, said) = deployment.examine(&["--virtualenv", &virtualenv.display().to_string()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("made for another Python") && said.contains("it holds python2.7"), "{said}");
}
