//! A real nginx with one of the project's configurations, in front of a daemon.

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
};

use super::{browser::Browser, daemon::Daemon, in_repository, peer::Peer, process, scratch::Scratch};

/// nginx on a free port; dropping it stops it.
pub(crate) struct Nginx {
    child: Child,
    address: String,
    scratch: Scratch,
}

impl Nginx {
    /// Starts nginx with `nginx/<name>`, rendered as `nginx/README.md` says, in front of `daemon`.
    pub(crate) fn start(name: &str, daemon: &Daemon) -> Self {
        let scratch = Scratch::new();
        let address = format!("127.0.0.1:{}", process::free_port());
        render(&[&scratch.path().display().to_string(), name, &address, daemon.address()]);
        let child = Command::new("nginx")
            .env("PATH", path_with_sbin())
            .args(["-e", "error.log", "-p", &scratch.path().display().to_string(), "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx: {error}; install it (apt-get install nginx-light)"));
        let nginx = Self { child, address, scratch };
        nginx.await_ready();
        nginx
    }

    /// A raw connection, for what an HTTP library would hide.
    pub(crate) fn connect(&self) -> Peer {
        Peer::tcp(&self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::at(&self.address)
    }

    /// What nginx has complained of.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(self.scratch.join("error.log")).unwrap_or_default()
    }

    /// Asserts that nginx has had nothing to complain of.
    pub(crate) fn expect_no_errors(&self) {
        let complaints = self.errors();
        // That a large body goes through a file is nginx's habit, said as a warning.
        let real: Vec<_> = complaints.lines().filter(|line| !line.contains("buffered to a temporary file")).collect();
        assert!(real.is_empty(), "nginx complains:\n{}", real.join("\n"));
    }

    fn await_ready(&self) {
        // nginx tells nobody when it listens.
        let listens = process::eventually(|| TcpStream::connect(&self.address).is_ok());
        assert!(listens, "nginx does not start:\n{}", self.errors());
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- error log of nginx ---\n{}", self.errors());
        }
        // SIGTERM, because a killed master leaves its workers behind.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            process::signal(pid, nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

/// Checks that nginx accepts `nginx/<name>`; returns its verdict.
pub(crate) fn check(name: &str) -> std::process::Output {
    let scratch = Scratch::new();
    let folder = scratch.path().display().to_string();
    render(&[&folder, name, "127.0.0.1:8080", "unix:/run/elsewhere.sock"]);
    Command::new("nginx")
        .env("PATH", path_with_sbin())
        .args(["-t", "-e", "error.log", "-p", &folder, "-c", "nginx.conf"])
        .output()
        .unwrap()
}

/// Makes a folder that nginx can run in, by `nginx/render.sh`.
pub(crate) fn render(arguments: &[&str]) {
    let output = Command::new(in_repository("nginx/render.sh")).args(arguments).output().unwrap();
    assert!(output.status.success(), "nginx/render.sh: {}", String::from_utf8_lossy(&output.stderr));
}

fn path_with_sbin() -> String {
    format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default())
}
