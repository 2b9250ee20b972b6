//! Connections whose answer is settled: what is left of it is written, then the socket is closed without a reset.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use bytes::{Buf, Bytes};
use rustix::{
    io::{Errno, retry_on_intr},
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown},
};
use tokio::{io::unix::AsyncFd, time::timeout};

use crate::{
    config::Limits,
    net::{peer, readiness::register, refusal::Refusal},
};

/// uwsgi's answer to a ping: modifier1 100, nothing, modifier2 1.
pub const PONG: &[u8] = &[100, 0, 0, 1];

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
pub(super) async fn write(limits: &Limits, socket: OwnedFd, parts: Vec<Bytes>) {
    let Ok(socket) = register(socket) else {
        return;
    };
    let mut parts = VecDeque::from(parts);
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

async fn write_some(socket: &AsyncFd<OwnedFd>, parts: &mut VecDeque<Bytes>) -> io::Result<()> {
    let mut guard = socket.writable().await?;
    let slices: Vec<_> = parts.iter().take(GATHER).map(|part| IoSlice::new(part)).collect();
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match retry_on_intr(|| sendmsg(socket.as_fd(), &slices, &mut SendAncillaryBuffer::default(), flags)) {
        Ok(sent) => forget(parts, sent),
        Err(Errno::AGAIN) => guard.clear_ready(),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Drops the first `sent` bytes of `parts`, and every part that is empty then.
fn forget(parts: &mut VecDeque<Bytes>, mut sent: usize) {
    while let Some(part) = parts.front_mut() {
        let count = part.len().min(sent);
        part.advance(count);
        sent -= count;
        if part.has_remaining() {
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
