//! Reads that do not wait.

use std::{io, os::fd::BorrowedFd};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, retry_on_intr},
    net::{RecvFlags, recv},
};

use crate::room::Room;

/// What a non-blocking read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// This many new bytes; 0 when nothing more is wanted.
    Some(usize),
    /// Nothing for now.
    Blocked,
    /// The peer has closed its side.
    End,
}

/// One `recv(2)` that does not wait.
pub(super) fn receive(socket: BorrowedFd<'_>, into: &mut [u8], flags: RecvFlags) -> io::Result<Pull> {
    match retry_on_intr(|| recv(socket, &mut *into, flags | RecvFlags::DONTWAIT)) {
        Ok((_, 0)) => Ok(Pull::End),
        Ok((_, count)) => Ok(Pull::Some(count)),
        Err(Errno::AGAIN) => Ok(Pull::Blocked),
        Err(error) => Err(error.into()),
    }
}

/// The same, at most `most` bytes, behind what `room` holds already.
pub(super) fn receive_into(socket: BorrowedFd<'_>, room: &mut Room<'_>, most: usize) -> io::Result<Pull> {
    let received = room.fill(most, |free| recv(socket, free, RecvFlags::DONTWAIT).map(|((bytes, _), _)| bytes));
    match received {
        Ok(0) => Ok(Pull::End),
        Ok(count) => Ok(Pull::Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Pull::Blocked),
        Err(error) => Err(error.into()),
    }
}

/// Takes bytes that are there, and so needs no waiting.
pub(super) fn take(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < into.len() {
        match receive(socket, into.get_mut(taken..).unwrap_or_default(), RecvFlags::empty())? {
            Pull::Some(count) => taken += count,
            Pull::Blocked | Pull::End => return Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
    Ok(taken)
}

/// Takes `count` bytes that are there and have been looked at.
pub(super) fn discard(socket: BorrowedFd<'_>, count: u64) -> io::Result<()> {
    let mut scratch = [0; 16 * 1024];
    let mut left = usize::try_from(count).unwrap_or(usize::MAX);
    while left > 0 {
        let piece = left.min(scratch.len());
        left -= take(socket, scratch.get_mut(..piece).unwrap_or_default())?;
    }
    Ok(())
}

/// Whether the peer has closed its side.
pub(super) fn is_closed(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    Ok(retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))? > 0)
}
