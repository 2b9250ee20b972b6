//! Forking on request, and telling the supervisor of every birth and every death.

use std::{io, os::fd::AsFd};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
    process::{WaitOptions, wait},
};
use tracing::warn;

use crate::{
    channel::{Channel, Message},
    python::{self, Fork},
};

/// A forkserver that is ready to fork.
pub(super) struct Nursery {
    supervisor: Channel,
    deaths: SignalFd,
}

/// Why a nursery is left.
pub(super) enum Left {
    /// The supervisor is gone, or wants no more workers.
    Closed,
    /// This is a new process: a worker.
    Born {
        /// Its number, from 1.
        slot: u32,
        /// Its own channel to the supervisor.
        channel: Channel,
    },
}

impl Nursery {
    /// Opens the nursery: from now on deaths of children are gathered.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub(super) fn open(supervisor: Channel) -> io::Result<Self> {
        let set = deaths();
        set.thread_block()?;
        let deaths = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { supervisor, deaths })
    }

    /// Forks whenever it is asked to; returns in each child as well, with nothing of the forkserver's left open there.
    ///
    /// # Errors
    /// When the system refuses a process or a channel.
    pub(super) fn run(self) -> io::Result<Left> {
        match self.serve() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Left::Closed),
            left => left,
        }
    }

    fn serve(&self) -> io::Result<Left> {
        self.supervisor.send(&Message::Loaded)?;
        loop {
            self.wait()?;
            self.report_deaths()?;
            match self.supervisor.try_recv() {
                Ok(None) => return Ok(Left::Closed),
                Ok(Some((Message::Fork { slot }, _))) => {
                    if let Some(channel) = self.fork(slot)? {
                        return Ok(Left::Born { slot, channel });
                    }
                }
                Ok(Some((other, _))) => {
                    warn!("the supervisor said {other:?} to a forkserver; this is a bug in rusgi")
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn wait(&self) -> rustix::io::Result<()> {
        let watch = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let mut wanted = [watch(self.supervisor.as_fd()), watch(self.deaths.as_fd())];
        retry_on_intr(|| poll(&mut wanted, None)).map(drop)
    }

    /// Forks a worker; returns its channel in the child.
    fn fork(&self, slot: u32) -> io::Result<Option<Channel>> {
        let (ours, theirs) = Channel::pair()?;
        match python::fork()? {
            Fork::Child => {
                deaths().thread_unblock()?;
                Ok(Some(theirs))
            }
            Fork::Parent(pid) => {
                self.supervisor.send_with_fd(&Message::Forked { slot, pid }, ours.as_fd())?;
                Ok(None)
            }
        }
    }

    fn report_deaths(&self) -> io::Result<()> {
        // The signal only says that it is worth looking; several deaths may share one.
        while self.deaths.read_signal()?.is_some() {}
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            self.supervisor.send(&Message::Exited { pid, status: status.as_raw() })?;
        }
        Ok(())
    }
}

fn deaths() -> SigSet {
    SigSet::from(Signal::SIGCHLD)
}
