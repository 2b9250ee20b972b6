//! Signals in a worker: SIGTERM drains it; what a terminal sends to the whole group is the supervisor's to answer. And its last resort.
#![expect(unsafe_code, reason = "installing a signal handler is unsafe by nature, and `_exit` has no safe form")]

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::atomic::{AtomicI32, Ordering},
};

use nix::{
    errno::Errno,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};
use rustix::event::{EventfdFlags, eventfd};

/// Where the handler says that SIGTERM has come; -1 before there is such a place.
static TERMINATED: AtomicI32 = AtomicI32::new(-1);

/// Installs the worker's handlers and returns the descriptor that becomes readable on SIGTERM.
///
/// # Errors
/// When the system has no descriptor left.
pub(super) fn take_over() -> io::Result<OwnedFd> {
    let terminated = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    // The worker keeps its copy open until it exits, so the number stays good for the handler.
    TERMINATED.store(terminated.as_raw_fd(), Ordering::Release);
    install()?;
    Ok(terminated)
}

/// Installs the handlers once more, after the application may have set its own for the same signals.
///
/// # Errors
/// Never in practice: the signals are valid.
pub(super) fn install() -> io::Result<()> {
    let terminate = SigAction::new(SigHandler::Handler(on_term), SaFlags::SA_RESTART, SigSet::empty());
    // Not SIG_IGN: that would be inherited by every program the application runs.
    let pass_by = SigAction::new(SigHandler::Handler(on_other), SaFlags::SA_RESTART, SigSet::empty());
    for (signal, action) in [(Signal::SIGTERM, terminate), (Signal::SIGINT, pass_by), (Signal::SIGHUP, pass_by)] {
        // SAFETY: both handlers only touch an atomic and call write(2), which is async-signal-safe.
        unsafe { sigaction(signal, &action) }?;
    }
    // SAFETY: SIG_IGN runs no code. A peer that has left must be an error of one write, not the end of the process.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigIgn) }?;
    Ok(())
}

/// Ends the process at once, as one that has done its work: threads that cannot be made to return do not matter.
pub(super) fn end() -> ! {
    // SAFETY: `_exit` asks nothing of its caller; no destructor and no `atexit` function runs, which is what this promises.
    unsafe { libc::_exit(0) }
}

extern "C" fn on_term(_signal: libc::c_int) {
    let errno = Errno::last_raw();
    let one = 1_u64.to_ne_bytes();
    // SAFETY: the buffer holds the eight bytes that an eventfd takes; on a bad descriptor write(2) only fails.
    unsafe { libc::write(TERMINATED.load(Ordering::Acquire), one.as_ptr().cast(), one.len()) };
    Errno::set_raw(errno);
}

extern "C" fn on_other(_signal: libc::c_int) {}
