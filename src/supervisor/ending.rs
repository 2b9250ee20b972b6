//! How a process ended, in words.

use std::fmt;

use nix::sys::signal::Signal;

/// What `waitpid(2)` says about a process that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// Somebody else has collected its status.
    Unknown,
}

impl Ending {
    /// What to do about it, as the end of a phrase, where the signal alone tells little.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Signal(libc::SIGKILL) => " (not by rusgi: dmesg tells if the kernel was out of memory)",
            Self::Signal(libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGABRT) => {
                " (in native code, of an extension module mostly: PYTHONFAULTHANDLER=1 logs where)"
            }
            _ => "",
        }
    }

    /// How it came about, in words; `sentence` is why the supervisor killed the process, if it did that.
    pub(super) fn because(self, sentence: Option<&str>) -> String {
        sentence.map_or_else(|| self.to_string(), |sentence| format!("{self}, because {sentence}"))
    }

    /// Reads a status as `waitpid(2)` gives it.
    pub(super) fn from_status(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            Self::Code(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Unknown
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => f.write_str(signal.as_str()),
                // Real-time signals have numbers only.
                Err(_) => write!(f, "signal {number}"),
            },
            Self::Unknown => f.write_str("exit status unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(status: i32) -> String {
        Ending::from_status(status).to_string()
    }

    #[test]
    fn advice_is_for_what_says_little() {
        let [killed, crashed] = [libc::SIGKILL, libc::SIGSEGV].map(|signal| Ending::Signal(signal).advice());
        assert!(killed.contains("dmesg") && crashed.contains("PYTHONFAULTHANDLER=1"));
        assert_eq!([Ending::Code(1), Ending::Signal(libc::SIGTERM), Ending::Unknown].map(Ending::advice), [""; 3]);
    }

    #[test]
    fn codes_and_signals_are_told_apart() {
        assert_eq!(words(0), "exit code 0");
        assert_eq!(words(3 << 8), "exit code 3");
        assert_eq!(words(libc::SIGKILL), "SIGKILL");
        assert_eq!(words(libc::SIGSEGV | 0x80), "SIGSEGV");
        assert_eq!(words(40), "signal 40");
        assert_eq!(words(0x137f), "exit status unknown");
    }
}
