//! What a process does to itself by system calls whose wrappers leave a promise to their caller.
#![expect(
    unsafe_code,
    reason = "fork, _exit and sigaction are unsafe; each is wrapped here once, with its promise kept"
)]

use std::{
    fs, io,
    os::fd::{AsRawFd, IntoRawFd},
};

use nix::{
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    unistd::ForkResult,
};
use rustix::fs::{Mode, OFlags};

/// Forks this process, which must have one thread: `None` in the child, the child's process in the parent.
///
/// # Errors
/// When there are more threads, or the system refuses another process.
pub fn fork() -> io::Result<Option<i32>> {
    if threads() != 1 {
        return Err(io::Error::other("only a process with one thread can be forked safely"));
    }
    // SAFETY: with a single thread, as just counted, no lock can be held in the child by a thread it does not have.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child.as_raw())),
        ForkResult::Child => Ok(None),
    }
}

/// Ends this process at once: no destructor, no `atexit` function and no other code of it runs.
pub fn end(code: u8) -> ! {
    // SAFETY: `_exit` asks nothing of its caller; what it leaves undone is what this function promises to leave undone.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Lets the signals that mean something to the supervisor pass: it commands by channel.
///
/// They are caught, not ignored: a program that the application executes starts with the default actions again.
///
/// # Errors
/// When the system refuses a handler.
pub fn let_stop_signals_pass() -> io::Result<()> {
    let handler = SigAction::new(SigHandler::Handler(pass), SaFlags::SA_RESTART, SigSet::empty());
    for signal in FOR_THE_SUPERVISOR {
        // SAFETY: `pass` does nothing, so it can interrupt anything.
        unsafe { sigaction(signal, &handler) }?;
    }
    Ok(())
}

/// Opens `/dev/null` in place of each standard stream that is closed, so that no socket of ours takes its number.
///
/// # Errors
/// When `/dev/null` cannot be opened.
pub fn open_standard_streams() -> io::Result<()> {
    loop {
        // Without CLOEXEC, as standard streams are: programs that the application executes need them as well.
        let lowest = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
        if lowest.as_raw_fd() > STANDARD_ERROR {
            return Ok(());
        }
        // It stays open for as long as the process lives.
        let _number = lowest.into_raw_fd();
    }
}

/// Makes children wait to be collected, as they do unless our parent has chosen to ignore its own.
///
/// # Errors
/// When the system refuses.
pub fn keep_children() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    unsafe { sigaction(Signal::SIGCHLD, &default) }?;
    Ok(())
}

/// A terminal, or `systemctl kill`, sends them to every process there is.
const FOR_THE_SUPERVISOR: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];
const STANDARD_ERROR: i32 = 2;

extern "C" fn pass(_signal: libc::c_int) {}

/// Where `/proc` is not to be had, the one thread that asks is all we know of.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_more_threads_is_not_forked() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let other = scope.spawn(move || stopped.recv());
            assert_eq!(fork().unwrap_err().kind(), io::ErrorKind::Other);
            drop(stop);
            assert!(other.join().unwrap().is_err());
        });
    }
}
