//! The rusgi that has started this one to have it in its place: what it hands over, and when.
//!
//! Until then this one serves beside it and leaves all else to it: systemd, the admin socket, the sockets' files.

use std::{
    env, io,
    os::fd::{AsFd, BorrowedFd},
};

use nix::unistd::getppid;
use rustix::{
    fs::{Mode, OFlags},
    stdio::dup2_stdin,
};
use tracing::{debug, info, warn};

use crate::{
    channel::{Channel, Message},
    config::Range,
    net::listener::{Listener, activation},
    supervisor::upgrade::PREDECESSOR,
};

/// The way to the rusgi that this one is to replace.
#[derive(Debug)]
pub struct Predecessor {
    channel: Channel,
    pid: i32,
    is_told: bool,
    /// How often we were told to stop.
    stops: u32,
}

/// What is handed over before anything else happens.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Inheritance {
    /// The sockets for requests.
    pub(in crate::supervisor) listeners: Vec<Listener>,
    /// The sockets of the admin.
    pub(in crate::supervisor) admin: Vec<Listener>,
    /// How many workers it has, and may have where an operator has changed that.
    pub(in crate::supervisor) strength: Option<(usize, Option<Range>)>,
}

/// What has come from the predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Word {
    /// Nothing yet.
    Nothing,
    /// Everything is ours now.
    TakeOver {
        /// Whether a reload was asked for meanwhile.
        reload: bool,
    },
}

impl Predecessor {
    /// The rusgi that has started this process to be replaced by it, if that is so; its channel is our standard input, which is
    /// `/dev/null` from then on.
    ///
    /// # Errors
    /// When it is so and the channel cannot be had.
    pub fn from_env() -> io::Result<Option<Self>> {
        let named = env::var(PREDECESSOR).ok().and_then(|pid| pid.parse().ok());
        // A process further down may have the variable as well.
        let Some(pid) = named.filter(|pid| getppid().as_raw() == *pid) else {
            return Ok(None);
        };
        let channel = io::stdin().as_fd().try_clone_to_owned()?;
        dup2_stdin(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)?;
        Ok(Some(Self { channel: Channel::from(channel), pid, is_told: false, stops: 0 }))
    }

    /// Tells it why it has to go on serving.
    pub fn report(&self, reason: &str) {
        if let Err(error) = self.channel.try_send(&Message::Failed { report: reason.to_owned() }) {
            debug!("pid {} does not hear of the failure: {error}", self.pid);
        }
    }

    /// Takes what it hands over, all of which is there already.
    ///
    /// # Errors
    /// When it has died, or hands over something else than listening sockets.
    pub(in crate::supervisor) fn inherit(&self) -> io::Result<Inheritance> {
        let mut inheritance = Inheritance::default();
        loop {
            match self.channel.try_recv()? {
                Some((Message::Listener { is_admin, file, is_ours }, Some(socket))) => {
                    let listener = activation::adopt(socket, file, is_ours)?;
                    let list = if is_admin { &mut inheritance.admin } else { &mut inheritance.listeners };
                    list.push(listener);
                }
                Some((Message::Inherited { workers, range }, _)) => {
                    inheritance.strength = Some((workers, range.map(|(least, most)| Range { least, most })));
                    return Ok(inheritance);
                }
                Some((other, _)) => return Err(io::Error::other(format!("an unexpected {other:?}"))),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Tells it, once, that all workers are ready.
    pub(in crate::supervisor) fn ready(&mut self) {
        if !std::mem::replace(&mut self.is_told, true)
            && let Err(error) = self.channel.try_send(&Message::Ready)
        {
            debug!("pid {} does not hear that all are ready: {error}", self.pid);
        }
    }

    /// We are told to stop once more: whether that is what the predecessor passes on of what all were told before.
    ///
    /// A terminal, and systemd by default, signals every process of ours, and then the predecessor sends us away as well.
    pub(in crate::supervisor) fn is_echo(&mut self) -> bool {
        self.stops = self.stops.saturating_add(1);
        self.stops == 2
    }

    /// What it says. Its death is a word too: somebody has to serve.
    pub(in crate::supervisor) fn listen(&self) -> Word {
        match self.channel.try_recv() {
            Ok(Some((Message::TakeOver { reload }, _))) => {
                info!("taken over from pid {}", self.pid);
                Word::TakeOver { reload }
            }
            Ok(Some((other, _))) => {
                warn!("pid {} said {other:?}, which is not for it to say; this is a bug in rusgi", self.pid);
                Word::Nothing
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Word::Nothing,
            ended => {
                let error = ended.err().map(|error| format!(": {error}")).unwrap_or_default();
                warn!("pid {}, which was to be replaced, has died: taking over{error}", self.pid);
                Word::TakeOver { reload: false }
            }
        }
    }
}

impl AsFd for Predecessor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_word_to_stop_is_the_first_once_more() {
        let (channel, _theirs) = Channel::pair().unwrap();
        let mut predecessor = Predecessor { channel, pid: 1, is_told: false, stops: 0 };
        assert_eq!([(); 4].map(|()| predecessor.is_echo()), [false, true, false, false]);
    }
}
