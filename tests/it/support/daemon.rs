//! One daemon, started, spoken to and stopped.

use std::{
    ffi::OsString,
    os::unix::{
        net::UnixStream,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::{
    DEADLINE, gate::Gate, in_repository, log::Log, packet::Packet, peer::Peer, process, reply::Reply, scratch::Scratch,
};

/// The executable under test: `RUSGI_BIN`, else the one Cargo has just built.
pub(crate) fn executable() -> PathBuf {
    std::env::var_os("RUSGI_BIN").map_or_else(|| env!("CARGO_BIN_EXE_rusgi").into(), PathBuf::from)
}

/// Whether the executable came in by a wheel, and so lives in the virtual environment already.
pub(crate) fn is_wheel() -> bool {
    match std::env::var("RUSGI_DOOR").as_deref() {
        Err(_) | Ok("embedded") => false,
        Ok("wheel") => true,
        Ok(door) => panic!("RUSGI_DOOR={door}: say embedded or wheel"),
    }
}

/// The Python that has Flask and Django: `RUSGI_TEST_PYTHON`, else the one `make test` prepares.
pub(crate) fn python() -> PathBuf {
    let chosen = std::env::var_os("RUSGI_TEST_PYTHON").map(PathBuf::from);
    let python = chosen.unwrap_or_else(|| in_repository("target/venv/bin/python"));
    assert!(python.exists(), "{}: missing; run `make test`, or set RUSGI_TEST_PYTHON", python.display());
    python
}

/// A command line of `rusgi serve`, in the making.
pub(crate) struct Serve {
    command: Command,
    workers: Option<usize>,
    address: String,
    is_activated: bool,
    stderr: Stdio,
    scratch: Scratch,
}

impl Serve {
    /// Serves `target` from `tests/apps` with one worker of one thread on a Unix socket.
    pub(crate) fn app(target: &str) -> Self {
        Self::bare(target).option("--pythonpath", in_repository("tests/apps")).workers(1)
    }

    /// Serves `target` on a Unix socket with nothing else said.
    pub(crate) fn bare(target: &str) -> Self {
        let scratch = Scratch::new();
        let mut command = Command::new(executable());
        command.args(["serve", target]).current_dir(scratch.path());
        let address = format!("unix:{}", scratch.join("app.sock").display());
        Self { command, workers: None, address, is_activated: false, stderr: Stdio::piped(), scratch }.clean()
    }

    /// Serves `target` with the executable that is at `program` whenever it is started.
    pub(crate) fn started_as(program: &Path, target: &str) -> Self {
        let bare = Self::bare(target);
        let mut command = Command::new(program);
        command.args(["serve", target]).current_dir(bare.scratch.path());
        Self { command, ..bare }.clean()
    }

    /// Serves `target` with the executable that `program script` starts.
    pub(crate) fn run_by(program: &str, script: &Path, target: &str) -> Self {
        let bare = Self::bare(target);
        let mut command = Command::new(program);
        command.arg(script).args(["serve", target]).current_dir(bare.scratch.path());
        Self { command, ..bare }.clean()
    }

    /// The folder of the daemon-to-be, which is also its working directory.
    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Adds `name value`.
    pub(crate) fn option(self, name: &str, value: impl Into<OsString>) -> Self {
        self.flag(name).flag(value)
    }

    pub(crate) fn flag(mut self, flag: impl Into<OsString>) -> Self {
        self.command.arg(flag.into());
        self
    }

    pub(crate) fn workers(self, count: usize) -> Self {
        Self { workers: Some(count), ..self }
    }

    /// Says nothing of workers.
    pub(crate) fn default_workers(self) -> Self {
        Self { workers: None, ..self }
    }

    pub(crate) fn threads(self, count: usize) -> Self {
        self.option("--threads", count.to_string())
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Tells the application where the gate is.
    pub(crate) fn gate(self, gate: &Gate) -> Self {
        self.env("GATE", gate.path())
    }

    /// Makes Flask and Django importable whichever way the executable came in.
    pub(crate) fn with_frameworks(self) -> Self {
        let python = python();
        if is_wheel() {
            return self;
        }
        let virtualenv = python.parent().and_then(Path::parent).expect("python lives in VIRTUALENV/bin");
        self.option("--virtualenv", virtualenv)
    }

    /// Serves on a free TCP port of the loopback interface instead.
    pub(crate) fn on_tcp(self) -> Self {
        self.on(&format!("127.0.0.1:{}", process::free_port()))
    }

    /// Serves on `address` instead.
    pub(crate) fn on(self, address: &str) -> Self {
        Self { address: String::from(address), ..self }
    }

    /// Serves on `address` without naming it: somebody passes the socket.
    pub(crate) fn activated_on(self, address: &str) -> Self {
        Self { is_activated: true, ..self.on(address) }
    }

    /// Has the log go to `destination`, where nobody follows it.
    pub(crate) fn log_to(self, destination: impl Into<Stdio>) -> Self {
        Self { stderr: destination.into(), ..self }
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub(crate) fn start(self) -> Daemon {
        let daemon = self.spawn();
        daemon.log.await_line(&["ready:"]);
        daemon
    }

    /// Starts the daemon and waits for nothing.
    pub(crate) fn spawn(mut self) -> Daemon {
        if let Some(count) = self.workers {
            self.command.args(["--workers", &count.to_string()]);
        }
        if !self.is_activated {
            self.command.args(["--socket", &self.address]);
        }
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(self.stderr);
        // A group of its own, so that a test can do what a terminal does on Ctrl-C.
        self.command.process_group(0);
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        let log = child.stderr.take().map_or_else(|| Log::follow(std::io::empty()), Log::follow);
        let output = Log::follow(child.stdout.take().unwrap());
        Daemon { child, log, output, address: self.address, scratch: self.scratch }
    }

    /// Runs what cannot start until it has ended.
    pub(crate) fn fail(self) -> Stopped {
        self.spawn().wait()
    }

    /// Removes from the environment what would change the command line's meaning.
    fn clean(mut self) -> Self {
        for (name, _) in std::env::vars_os() {
            let is_ours = name.to_string_lossy().starts_with("RUSGI_") || name == "RUNTIME_DIRECTORY";
            if is_ours || name == "VIRTUAL_ENV" || name == "PYTHONPATH" {
                self.command.env_remove(name);
            }
        }
        self.command.env("PYTHONDONTWRITEBYTECODE", "1").env("RUSGI_ALLOW_ROOT", "1");
        self
    }
}

/// A running daemon; dropping it kills whatever is left of it.
pub(crate) struct Daemon {
    child: Child,
    /// Its standard error.
    pub(crate) log: Log,
    output: Log,
    address: String,
    scratch: Scratch,
}

/// A daemon that has ended.
pub(crate) struct Stopped {
    status: ExitStatus,
    /// All it wrote to standard error.
    pub(crate) log: String,
    /// All it wrote to standard output.
    pub(crate) output: String,
}

impl Daemon {
    pub(crate) fn connect(&self) -> Peer {
        match self.address.strip_prefix("unix:") {
            Some(path) => Peer::unix(Path::new(path)),
            None => Peer::tcp(&self.address),
        }
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, packet: &Packet) -> Reply {
        self.connect().ask(packet)
    }

    /// Asks for `uri` and expects a whole 200 response.
    pub(crate) fn get(&self, uri: &str) -> Reply {
        self.ask(&Packet::get(uri)).expect(200)
    }

    /// Asks a daemon of whose start nothing is heard.
    pub(crate) fn get_when_it_listens(&self, uri: &str) -> Reply {
        let listens = process::eventually(|| UnixStream::connect(self.socket()).is_ok());
        assert!(listens, "nobody listens:\n{}", self.log.text());
        self.get(uri)
    }

    /// What nginx calls this daemon in `uwsgi_pass`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The folder of this daemon, which is also its working directory.
    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        PathBuf::from(self.address.strip_prefix("unix:").expect("this daemon serves on a Unix socket"))
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn forkserver(&self) -> i32 {
        *process::children(self.pid()).first().unwrap_or_else(|| panic!("no forkserver in:\n{}", self.log.text()))
    }

    pub(crate) fn workers(&self) -> Vec<i32> {
        process::children(self.forkserver())
    }

    pub(crate) fn signal(&self, which: Signal) -> &Self {
        process::signal(self.pid(), which);
        self
    }

    /// Waits until the daemon says that it has begun to stop.
    pub(crate) fn await_stopping(&self) -> &Self {
        self.log.await_line(&["stopping"]);
        self
    }

    /// Stops it the way an operator does and expects that to succeed.
    pub(crate) fn stop(self) -> Stopped {
        self.signal(Signal::SIGTERM);
        self.wait().expect(0)
    }

    /// Waits until it, and everything it started, has ended.
    pub(crate) fn wait(mut self) -> Stopped {
        let pid = self.pid();
        assert!(process::has_ended(pid, DEADLINE), "pid {pid} does not end:\n{}", self.log.text());
        let status = self.child.wait().unwrap();
        Stopped { status, log: self.log.await_end().join("\n"), output: self.output.await_end().join("\n") }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of the daemon ---\n{}", self.log.text());
        }
        // The group outlives the supervisor when the supervisor was killed.
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Stopped {
    /// Asserts the exit code.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}:\n{}{}", self.status, self.log, self.output);
        self
    }

    /// Whether `signal` ended it.
    pub(crate) fn is_ended_by(&self, signal: Signal) -> bool {
        self.status.signal() == Some(signal as i32)
    }

    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{}:\n{}", self.status, self.log))
    }

    /// Asserts that the log says `words` somewhere.
    pub(crate) fn expect_log(self, words: &str) -> Self {
        assert!(self.log.contains(words), "no {words:?} in:\n{}", self.log);
        self
    }
}
