//! Connections whose answer is settled: what is left of it is written, then the socket is closed without a reset.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use bytes::Buf as _;
use rustix::{
    io::{Errno, retry_on_intr},
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown},
};
use tokio::{io::unix::AsyncFd, time::timeout};

use crate::{
    config::Limits,
    net::{connection::send_file, peer, readiness::register, refusal::Refusal},
    response::Part,
};

/// uwsgi's answer to a ping: modifier1 100, nothing, modifier2 1.
pub const PONG: [u8; 4] = [100, 0, 0, 1];

/// How long unread request bytes are awaited after the response, so that none of them resets it.
const LINGER: Duration = Duration::from_secs(2);

/// How many unread request bytes are thrown away after the response.
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// How many parts of a response go out in one call.
const GATHER: usize = 64;

/// One line that names the peer and the reason.
pub(super) fn log(socket: &OwnedFd, refusal: &Refusal) {
    let peer = peer::name(socket);
    tracing::warn!(peer = %peer, status = refusal.status(), "{refusal}");
}

/// Writes `parts`, then closes; a peer that takes nothing for the write timeout is reset.
pub(super) async fn write(limits: &Limits, socket: OwnedFd, parts: Vec<Part>) {
    let Ok(socket) = register(socket) else {
        return;
    };
    let mut parts = VecDeque::from(parts);
    forget(&mut parts, 0);
    while !parts.is_empty() {
        match timeout(limits.write_timeout, write_some(&socket, &mut parts)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                return tracing::debug!(peer = %peer::name(socket.get_ref()), "client closed the connection early");
            }
            Err(_) => {
                return tracing::info!(peer = %peer::name(socket.get_ref()), "client took nothing for the write timeout");
            }
        }
    }
    drop(timeout(LINGER, linger(&socket)).await);
}

async fn write_some(socket: &AsyncFd<OwnedFd>, parts: &mut VecDeque<Part>) -> io::Result<()> {
    let mut guard = socket.writable().await?;
    let sent = match parts.front() {
        Some(Part::File { file, offset, left }) => send_file(socket.as_fd(), file.as_fd(), *offset, *left)?,
        _ => send_bytes(socket, parts)?,
    };
    match sent {
        Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(sent) => {
            forget(parts, sent as u64);
            Ok(())
        }
        None => {
            guard.clear_ready();
            Ok(())
        }
    }
}

/// One `sendmsg(2)` of the bytes in front of the first file; `None` when the peer takes nothing for now.
fn send_bytes(socket: &AsyncFd<OwnedFd>, parts: &VecDeque<Part>) -> io::Result<Option<usize>> {
    let bytes = parts.iter().map_while(|part| if let Part::Bytes(bytes) = part { Some(bytes) } else { None });
    let slices: Vec<_> = bytes.take(GATHER).map(|bytes| IoSlice::new(bytes)).collect();
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match retry_on_intr(|| sendmsg(socket.as_fd(), &slices, &mut SendAncillaryBuffer::default(), flags)) {
        Ok(sent) => Ok(Some(sent)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Drops the first `sent` bytes of `parts`, and every part that is empty then.
fn forget(parts: &mut VecDeque<Part>, mut sent: u64) {
    while let Some(part) = parts.front_mut() {
        let rest = match part {
            Part::Bytes(bytes) => {
                let count = bytes.len().min(usize::try_from(sent).unwrap_or(usize::MAX));
                bytes.advance(count);
                sent -= count as u64;
                bytes.len() as u64
            }
            Part::File { offset, left, .. } => {
                let count = sent.min(*left);
                (*offset, *left) = (*offset + count, *left - count);
                sent -= count;
                *left
            }
        };
        if rest > 0 {
            return;
        }
        parts.pop_front();
    }
}

/// Ends our side and reads what the peer still sends until it ends its own.
async fn linger(socket: &AsyncFd<OwnedFd>) -> io::Result<()> {
    shutdown(socket.as_fd(), Shutdown::Write)?;
    let mut scratch = [0; 16 * 1024];
    let mut left = LINGER_BYTES;
    while left > 0 {
        let mut guard = socket.readable().await?;
        match retry_on_intr(|| recv(socket.as_fd(), &mut scratch, RecvFlags::DONTWAIT)) {
            Ok((_, 0)) => break,
            Ok((_, count)) => left = left.saturating_sub(count),
            Err(Errno::AGAIN) => guard.clear_ready(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
