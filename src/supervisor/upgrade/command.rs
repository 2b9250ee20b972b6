//! How this process was started, so that its successor can be started in the same way.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::{self, PathBuf},
    process::{self, Command, Stdio},
};

use nix::sys::signal::SigSet;
use rustix::param::linux_execfn;

use crate::{channel::Channel, supervisor::upgrade::PREDECESSOR};

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::supervisor) struct CommandLine {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl CommandLine {
    /// The one that this process was started by.
    ///
    /// The program is the path that the kernel was given, with its symbolic links; of a script that is the script, so that its first
    /// line is read again as well.
    ///
    /// # Errors
    /// When that path is relative and the working directory is gone.
    pub(in crate::supervisor) fn of_this_process() -> io::Result<Self> {
        let executed = OsStr::from_bytes(linux_execfn().to_bytes());
        Self::of(executed, env::args_os().collect())
    }

    /// An interpreter's arguments hold the script that names it, as the second or, behind an option of the first line, the third.
    fn of(executed: &OsStr, argv: Vec<OsString>) -> io::Result<Self> {
        let script = argv.iter().take(3).rposition(|argument| argument == executed).unwrap_or(0);
        let arguments = argv.into_iter().skip(script + 1).collect();
        Ok(Self { program: path::absolute(executed)?, arguments })
    }

    /// Starts it with our environment and working directory, and `channel` to talk to us; returns the new process.
    ///
    /// # Errors
    /// What the system says of the path, with the path and what to do.
    pub(super) fn spawn(&self, channel: Channel) -> Result<i32, String> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env(PREDECESSOR, process::id().to_string());
        // What systemd says to the one process that it has started itself.
        ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"].iter().for_each(|name| {
            command.env_remove(name);
        });
        #[expect(unsafe_code, reason = "what runs between fork and exec has no safe form")]
        // SAFETY: the closure makes one system call, which is async-signal-safe, and touches no memory of the parent.
        unsafe {
            // A program that is none of ours, or hangs before it is, has to die of SIGTERM.
            command.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?))
        };
        let spawned = command.stdin(Stdio::from(OwnedFd::from(channel))).spawn();
        let program = self.program.display();
        let child = spawned
            .map_err(|error| format!("{program} cannot be executed ({error}): put an executable there that works"))?;
        i32::try_from(child.id()).map_err(|_| format!("{program} runs as a process without a usable number"))
    }
}

/// Why this process cannot be replaced by another as long as it lives, and what to do instead.
pub(in crate::supervisor) fn obstacle() -> Option<&'static str> {
    let number = |name| env::var(name).ok().and_then(|value| value.parse().ok());
    if process::id() == 1 {
        return Some(PROCESS_ONE);
    }
    let is_main = number("SYSTEMD_EXEC_PID") == Some(process::id());
    (is_main && env::var_os("NOTIFY_SOCKET").is_none()).then_some(UNHEARD)
}

const PROCESS_ONE: &str = "rusgi is process 1 of its container, which ends with it: start a container of the new image beside this one; \
     for new application code a reload is enough";
const UNHEARD: &str = "systemd would end the service with this process, and hears of no other: set Type=notify in its unit and restart it";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(executed: &str, argv: &[&str]) -> (String, Vec<OsString>) {
        let line = CommandLine::of(OsStr::new(executed), argv.iter().map(OsString::from).collect()).unwrap();
        (line.program.display().to_string(), line.arguments)
    }

    #[test]
    fn a_binary_is_started_by_its_path() {
        let expected = ("/usr/bin/rusgi".to_owned(), ["serve", "app"].map(OsString::from).to_vec());
        assert_eq!(of("/usr/bin/rusgi", &["rusgi", "serve", "app"]), expected);
        assert_eq!(of("/usr/bin/rusgi", &["/usr/bin/rusgi", "serve", "app"]), expected);
    }

    #[test]
    fn a_script_is_started_by_itself_whatever_interprets_it() {
        let expected = ("/srv/venv/bin/rusgi".to_owned(), vec![OsString::from("serve")]);
        assert_eq!(of("/srv/venv/bin/rusgi", &["/srv/venv/bin/python", "/srv/venv/bin/rusgi", "serve"]), expected);
        assert_eq!(of("/srv/venv/bin/rusgi", &["/usr/bin/python", "-I", "/srv/venv/bin/rusgi", "serve"]), expected);
    }

    #[test]
    fn an_interpreter_that_was_called_by_name_gets_all_its_arguments() {
        let expected = ("/usr/bin/python".to_owned(), ["-m", "rusgi", "serve"].map(OsString::from).to_vec());
        assert_eq!(of("/usr/bin/python", &["python", "-m", "rusgi", "serve"]), expected);
    }

    #[test]
    fn a_relative_path_begins_at_the_working_directory() {
        let here = env::current_dir().unwrap();
        assert_eq!(of("./rusgi", &["./rusgi"]), (here.join("rusgi").display().to_string(), vec![]));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let (ours, theirs) = Channel::pair().unwrap();
        let line = CommandLine { program: "/nowhere/rusgi".into(), arguments: vec![] };
        let error = line.spawn(theirs).unwrap_err();
        assert!(error.starts_with("/nowhere/rusgi cannot be executed (No such file"), "{error}");
        assert!(ours.recv().unwrap().is_none(), "the other end is still open");
    }
}
