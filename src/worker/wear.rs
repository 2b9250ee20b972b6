//! When a worker has served enough requests.

use std::{
    io,
    os::fd::AsFd as _,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::channel::{Channel, Message};

/// Counts what the desks of a worker have served, and asks for the worker's replacement once.
#[derive(Debug)]
pub(super) struct Wear {
    served: AtomicU64,
    most: u64,
    channel: Channel,
}

impl Wear {
    /// Asks over `channel` after `most` requests.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(super) fn new(most: u64, channel: &Channel) -> io::Result<Self> {
        let copy = channel.as_fd().try_clone_to_owned()?;
        Ok(Self { served: AtomicU64::new(0), most, channel: Channel::from(copy) })
    }

    /// Counts one request.
    pub(super) fn count(&self) {
        let served = self.served.fetch_add(1, Ordering::Relaxed) + 1;
        if served == self.most {
            let reason = format!("it has served {served} requests");
            if let Err(error) = self.channel.try_send(&Message::Retire { reason }) {
                tracing::debug!("the supervisor cannot be asked for a replacement: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_is_asked_for_once() {
        let (supervisor, ours) = Channel::pair().unwrap();
        let wear = Wear::new(3, &ours).unwrap();
        wear.count();
        wear.count();
        assert_eq!(supervisor.try_recv().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        (0..10).for_each(|_| wear.count());
        let reason = "it has served 3 requests".to_owned();
        assert_eq!(supervisor.try_recv().unwrap().unwrap().0, Message::Retire { reason });
        assert_eq!(supervisor.try_recv().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
