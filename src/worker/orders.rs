//! What makes a worker drain: the supervisor's word, its death, SIGTERM, or a desk that is stuck.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
};

use tokio::{io::unix::AsyncFd, runtime::Runtime, sync::Notify};

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
    stuck: Arc<Notify>,
}

/// The watchdog's way to make its worker drain.
#[derive(Debug)]
pub(super) struct Stuck<'a> {
    channel: &'a Channel,
    notify: Arc<Notify>,
}

impl Stuck<'_> {
    /// Drains the worker, which can have a replacement at once.
    pub(super) fn give_up(&self) {
        // Here and not in the lobby: the worker may end before that comes to it.
        drop(self.channel.try_send(&Message::Stopping));
        self.notify.notify_one();
    }
}

impl<'a> Orders<'a> {
    /// Listens, in `runtime`, to the supervisor and to the descriptor that SIGTERM makes readable.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(super) fn new(runtime: &Runtime, channel: &'a Channel, signalled: &OwnedFd) -> io::Result<Self> {
        let _context = runtime.enter();
        let copy = |descriptor: BorrowedFd<'_>| descriptor.try_clone_to_owned().and_then(register);
        let (ready, signalled) = (copy(channel.as_fd())?, copy(signalled.as_fd())?);
        Ok(Self { channel, ready, signalled, stuck: Arc::default() })
    }

    /// The watchdog's way in.
    pub(super) fn stuck(&self) -> Stuck<'a> {
        Stuck { channel: self.channel, notify: Arc::clone(&self.stuck) }
    }

    /// Completes when the worker is to drain, and tells the supervisor so; whether nobody accepts after it is the answer.
    pub(super) async fn until_drain(self) -> bool {
        let is_last = tokio::select! {
            is_last = self.until_told() => is_last,
            _ = self.signalled.readable() => {
                tracing::info!("SIGTERM: draining");
                true
            }
            () = self.stuck.notified() => false,
        };
        // A supervisor that asked for it, or has died, need not hear it.
        drop(self.channel.try_send(&Message::Stopping));
        is_last
    }

    async fn until_told(&self) -> bool {
        while let Ok(mut guard) = self.ready.readable().await {
            match guard.try_io(|_| self.channel.try_recv()) {
                Ok(Ok(Some((Message::Drain { is_last }, _)))) => return is_last,
                Ok(Ok(None)) => {
                    tracing::warn!("the supervisor has died: draining; start rusgi anew, unless systemd does");
                    break;
                }
                Ok(Err(error)) => {
                    tracing::error!("channel: {error}: draining");
                    break;
                }
                // Nothing yet, or nothing for a worker.
                Err(_) | Ok(Ok(Some(_))) => {}
            }
        }
        true
    }
}
