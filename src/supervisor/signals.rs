//! The signals an operator sends to the supervisor, read from a descriptor instead of interrupting it.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

/// Signals as messages; they stay blocked in this thread, and in what it forks, until they are unblocked there.
pub(super) struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// Blocks the signals the supervisor answers to, and gathers them from now on.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub(super) fn block() -> nix::Result<Self> {
        let set: SigSet = ANSWERED.into_iter().collect();
        set.thread_block()?;
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { descriptor })
    }

    /// The next signal that has arrived, if any.
    pub(super) fn next(&self) -> Option<Signal> {
        let arrived = self.descriptor.read_signal().ok().flatten()?;
        i32::try_from(arrived.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Those without a meaning yet are here too: their default action would kill the supervisor and leave its sockets.
const ANSWERED: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCHLD,
];
