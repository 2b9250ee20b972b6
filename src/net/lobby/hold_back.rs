//! Reading a socket while always leaving the last byte seen inside it.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{RecvAncillaryBuffer, RecvFlags, recvmsg},
};
use tokio::io::{AsyncRead, ReadBuf, unix::AsyncFd};

use crate::net::readiness::register;

/// A socket whose unread byte makes the kernel reset the peer should this process die before it has answered.
#[derive(Debug)]
pub(super) struct HoldBack {
    socket: AsyncFd<OwnedFd>,
    /// Whether the byte at the front of the socket has been yielded already.
    holds: bool,
}

impl HoldBack {
    /// Wraps a non-blocking socket of which nothing has been read.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: register(socket)?, holds: false })
    }

    /// The socket, and how many of the bytes yielded still lie in it.
    pub(super) fn into_parts(self) -> (OwnedFd, usize) {
        (self.socket.into_inner(), usize::from(self.holds))
    }

    /// New bytes into `room`: looks at them, then takes all but the last. `None` when there are none for now.
    fn read(&mut self, room: &mut [u8]) -> io::Result<Option<usize>> {
        let held = usize::from(self.holds);
        let Some(seen) = self.receive(held, room, RecvFlags::PEEK)? else {
            return Ok(None);
        };
        let new = seen.saturating_sub(held);
        if seen > 1 && new > 0 {
            // Bytes that have been looked at cannot go away, so this takes exactly them: the one held, and all but the last new one.
            self.receive(held, room.get_mut(..new - 1).unwrap_or_default(), RecvFlags::empty())?;
        }
        self.holds = seen > 0;
        Ok(Some(new))
    }

    fn receive(&self, held: usize, room: &mut [u8], flags: RecvFlags) -> io::Result<Option<usize>> {
        let mut first = [0; 1];
        let mut parts = [IoSliceMut::new(first.get_mut(..held).unwrap_or_default()), IoSliceMut::new(room)];
        let flags = flags | RecvFlags::DONTWAIT;
        match retry_on_intr(|| recvmsg(self.socket.as_fd(), &mut parts, &mut RecvAncillaryBuffer::default(), flags)) {
            Ok(received) => Ok(Some(received.bytes)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsyncRead for HoldBack {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let is_closed = ready!(self.socket.poll_read_ready(cx))?.ready().is_read_closed();
            match self.read(into.initialize_unfilled())? {
                Some(new) if new > 0 => {
                    into.advance(new);
                    return Poll::Ready(Ok(()));
                }
                // Nothing new, and nothing more can come.
                _ if is_closed => return Poll::Ready(Ok(())),
                _ => {
                    if let Poll::Ready(guard) = self.socket.poll_read_ready(cx) {
                        guard?.clear_ready();
                    }
                }
            }
        }
    }
}
