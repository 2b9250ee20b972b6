//! What makes a worker drain: the supervisor's word, its death, or SIGTERM.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use tokio::{io::unix::AsyncFd, runtime::Runtime};

use crate::{
    channel::{Channel, Message},
    net::readiness::register,
};

/// The worker's ear for orders. It listens on copies: the end of the channel itself means the end of the worker, and the
/// signal handler writes to the other descriptor for as long as the process lives.
#[derive(Debug)]
pub(super) struct Orders<'a> {
    channel: &'a Channel,
    ready: AsyncFd<OwnedFd>,
    signalled: AsyncFd<OwnedFd>,
}

impl<'a> Orders<'a> {
    /// Listens, in `runtime`, to the supervisor and to the descriptor that SIGTERM makes readable.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(super) fn new(runtime: &Runtime, channel: &'a Channel, signalled: &OwnedFd) -> io::Result<Self> {
        let _context = runtime.enter();
        let copy = |descriptor: BorrowedFd<'_>| descriptor.try_clone_to_owned().and_then(register);
        Ok(Self { channel, ready: copy(channel.as_fd())?, signalled: copy(signalled.as_fd())? })
    }

    /// Completes when the worker is to drain, and tells the supervisor so.
    pub(super) async fn until_drain(self) {
        tokio::select! {
            () = self.until_told() => {}
            _ = self.signalled.readable() => tracing::info!("SIGTERM: draining"),
        }
        // A supervisor that asked for it, or has died, need not hear it.
        drop(self.channel.try_send(&Message::Stopping));
    }

    async fn until_told(&self) {
        while let Ok(mut guard) = self.ready.readable().await {
            match guard.try_io(|_| self.channel.try_recv()) {
                Ok(Ok(Some((Message::Drain, _)))) => return,
                Ok(Ok(None)) => return tracing::warn!("the supervisor has died: draining"),
                Ok(Err(error)) => return tracing::error!("channel: {error}: draining"),
                // Nothing yet, or nothing for a worker.
                Err(_) | Ok(Ok(Some(_))) => {}
            }
        }
    }
}
