//! Waits for a peer.

use std::{io, os::fd::BorrowedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, retry_on_intr},
};

/// How long a thread sleeps for bytes that are on their way, where the socket itself cannot tell that they have come.
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000 };

/// Sleeps for a moment.
pub(super) fn nap() {
    // A shorter nap does no harm.
    let _ = rustix::thread::nanosleep(&NAP);
}

/// Which of `events`, or of what `poll(2)` tells unasked, is the case now.
pub(super) fn look(socket: BorrowedFd<'_>, events: PollFlags) -> io::Result<PollFlags> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::from_borrowed_fd(socket, events)];
    retry_on_intr(|| poll(&mut fds, Some(&now)))?;
    let [seen] = fds;
    Ok(seen.revents())
}

/// Waits until the socket is ready for one of `events`; false when `patience` ran out.
pub(super) fn wait(socket: BorrowedFd<'_>, events: PollFlags, patience: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(patience).map_err(|_| Errno::INVAL)?;
    let mut fds = [PollFd::from_borrowed_fd(socket, events)];
    Ok(retry_on_intr(|| poll(&mut fds, Some(&timeout)))? > 0)
}
