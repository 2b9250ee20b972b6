//! A real Apache or lighttpd with one of the project's configurations, in front of a daemon.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use super::{
    browser::Browser,
    daemon::{Daemon, Serve},
    in_repository,
    peer::Peer,
    process,
    scratch::Scratch,
};

/// A web server on a free port; dropping it stops it.
pub(crate) struct Site {
    child: Child,
    address: String,
    scratch: Scratch,
}

/// Which web server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Apache,
    Lighttpd,
}

impl Server {
    pub(crate) const ALL: [Self; 2] = [Self::Apache, Self::Lighttpd];

    /// Starts it with the configuration `name` of its folder, in front of `daemon`.
    pub(crate) fn start(self, name: &str, daemon: &Daemon) -> Site {
        let scratch = Scratch::new();
        let port = process::free_port();
        let (program, arguments) = self.prepare(name, daemon.address(), &scratch, port);
        let child = Command::new(program)
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .args(&arguments)
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .stderr(fs::File::create(scratch.join("stderr.log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; install it (.ci/install.sh clients)"));
        let site = Site { child, address: format!("127.0.0.1:{port}"), scratch };
        site.await_ready();
        site
    }

    /// Writes its configuration; returns the program that reads it.
    fn prepare(self, name: &str, backend: &str, scratch: &Scratch, port: u16) -> (&'static str, Vec<String>) {
        let folder = scratch.path().display().to_string();
        let main = scratch.join("main.conf").display().to_string();
        match self {
            Self::Apache => {
                let site = configuration(&format!("apache/{name}"), backend);
                scratch.write("site.conf", &replaced(&site, "*:80", &format!("127.0.0.1:{port}")));
                scratch.write("main.conf", &apache(&folder, port));
                ("apache2", vec!["-X".into(), "-f".into(), main])
            }
            Self::Lighttpd => {
                scratch.write("site.conf", &configuration(&format!("lighttpd/{name}"), backend));
                scratch.write("main.conf", &lighttpd(&folder, port));
                ("lighttpd", vec!["-D".into(), "-f".into(), main])
            }
        }
    }
}

impl Site {
    /// A raw connection, for what an HTTP library would hide.
    pub(crate) fn connect(&self) -> Peer {
        Peer::tcp(&self.address)
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::at(&self.address)
    }

    /// What it has complained of.
    fn errors(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.scratch.join(name)).unwrap_or_default();
        read("stderr.log") + &read("error.log")
    }

    fn await_ready(&self) {
        // Neither tells anybody when it listens.
        let listens = process::eventually(|| TcpStream::connect(&self.address).is_ok());
        assert!(listens, "the web server does not start:\n{}", self.errors());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- error log of the web server ---\n{}", self.errors());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `serve` on a socket that the web servers may connect to, whoever runs the tests.
pub(crate) fn within_reach(serve: Serve) -> Serve {
    if is_root() { serve.option("--socket-owner", ":www-data") } else { serve }
}

fn is_root() -> bool {
    nix::unistd::getuid().is_root()
}

/// The text of a configuration with only the address of rusgi changed.
fn configuration(file: &str, backend: &str) -> String {
    let text = fs::read_to_string(in_repository(file)).unwrap();
    match backend.strip_prefix("unix:") {
        Some(path) => replaced(&text, "/run/rusgi/app.sock", path),
        None if file.starts_with("apache") => {
            replaced(&text, "unix:/run/rusgi/app.sock|uwsgi://localhost/", &format!("uwsgi://{backend}/"))
        }
        None => {
            let (host, port) = backend.rsplit_once(':').unwrap();
            let pair = format!("\"host\" => \"{host}\", \"port\" => {port}");
            replaced(&text, "\"socket\" => \"/run/rusgi/app.sock\"", &pair)
        }
    }
}

/// `text` with `from` changed wherever it is not a comment.
fn replaced(text: &str, from: &str, to: &str) -> String {
    let is_setting = |line: &&str| !line.trim_start().starts_with('#');
    assert!(text.lines().filter(is_setting).any(|line| line.contains(from)), "no {from} in:\n{text}");
    text.lines().map(|line| line.replace(from, to) + "\n").collect()
}

/// What a Debian has around a site: the modules that `a2enmod` would load, and a place for the logs.
fn apache(folder: &str, port: u16) -> String {
    let modules = ["mpm_event", "authz_core", "alias", "proxy", "proxy_uwsgi"];
    let modules = modules.map(|name| format!("LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n")).concat();
    assert!(
        Path::new(APACHE_MODULES).exists(),
        "{APACHE_MODULES}: missing; install apache2-bin (.ci/install.sh clients)"
    );
    // It refuses to serve as root.
    let user = if is_root() { "User www-data\nGroup www-data\n" } else { "" };
    format!(
        "ServerRoot {folder}\nServerName localhost\nPidFile apache.pid\nErrorLog error.log\nDefaultRuntimeDir {folder}\n\
         {user}Listen 127.0.0.1:{port}\n{modules}Include site.conf\n"
    )
}

fn lighttpd(folder: &str, port: u16) -> String {
    format!(
        "server.bind = \"127.0.0.1\"\nserver.port = {port}\nserver.document-root = \"{folder}\"\n\
         server.errorlog = \"{folder}/error.log\"\nserver.upload-dirs = (\"{folder}\")\ninclude \"{folder}/site.conf\"\n"
    )
}

const APACHE_MODULES: &str = "/usr/lib/apache2/modules";
