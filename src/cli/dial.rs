//! The client's end of a socket that requests come in by.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionbio},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use crate::config::Address;

/// A connection to a uwsgi server, every use of which ends in time.
#[derive(Debug)]
pub(super) struct Line {
    socket: OwnedFd,
    deadline: Option<Instant>,
}

/// What can be done with a [`Line`] at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    /// There are bytes, or the end of them.
    pub(super) can_read: bool,
    /// There is room for bytes.
    pub(super) can_write: bool,
}

impl Line {
    /// Connects to `address`; `patience` is for everything together, `None` without end.
    ///
    /// # Errors
    /// As connect(2); `TimedOut` when the listen queue had no room for so long.
    pub(super) fn connect(address: &Address, patience: Option<Duration>) -> io::Result<Self> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let family = match address {
            Address::Unix(_) => AddressFamily::UNIX,
            Address::Tcp(tcp) if tcp.is_ipv4() => AddressFamily::INET,
            Address::Tcp(_) => AddressFamily::INET6,
        };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // It bounds connect(2) too; on a Unix socket nothing else does.
        set_socket_timeout(&socket, Timeout::Send, patience)?;
        let connected = match address {
            Address::Unix(path) => connect(&socket, &SocketAddrUnix::new(path)?),
            Address::Tcp(tcp) => connect(&socket, tcp),
        };
        connected.map_err(|error| match error {
            Errno::AGAIN | Errno::INPROGRESS => io::ErrorKind::TimedOut.into(),
            error => io::Error::from(error),
        })?;
        ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, deadline })
    }

    /// Waits until there is something to read, or room to write if `has_more` to write.
    ///
    /// # Errors
    /// `TimedOut` at the deadline.
    pub(super) fn wait(&self, has_more: bool) -> io::Result<Ready> {
        let wanted = if has_more { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        loop {
            let mut polled = [PollFd::new(&self.socket, wanted)];
            match poll(&mut polled, self.remaining().as_ref()) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => {
                    let [polled] = &polled;
                    let can_write = polled.revents().contains(PollFlags::OUT);
                    // Errors and a peer that has gone are read, too.
                    return Ok(Ready { can_read: polled.revents() != PollFlags::OUT, can_write });
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// As send(2).
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.socket, bytes, SendFlags::NOSIGNAL)?)
    }

    /// Reads what there is; 0 at the end.
    ///
    /// # Errors
    /// As recv(2).
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.socket, buffer, RecvFlags::empty())?.0)
    }

    fn remaining(&self) -> Option<Timespec> {
        let left = self.deadline?.saturating_duration_since(Instant::now());
        left.try_into().ok()
    }
}
