//! One rusgi in place of another: how the supervisor starts its successor, and how the successor takes over.
//!
//! ```text
//!   old                                                          new
//!    │  sockets, through the channel; then its process is made    │
//!    ├───────────────────────────────────────────────────────────▶│  loads, serves beside the old, says nothing to systemd
//!    │◀───────────────────────────────── Ready, or Failed and why ┤
//!    ├─ MAINPID= to systemd; TakeOver ───────────────────────────▶│  READY=1; the admin socket and all files are its own
//!    │  finishes what it has, exits with 0                        │
//! ```
//!
//! When it comes to nothing the old one, which has never stopped serving, sends the new one away.

mod command;
mod predecessor;

use std::{io, mem, os::fd::AsFd};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpid},
};
use tracing::{debug, warn};

pub use predecessor::Predecessor;

pub(super) use command::{CommandLine, obstacle};
pub(super) use predecessor::Inheritance;

use crate::{
    channel::{Channel, Message},
    net::listener::Listener,
    observe::logging::{self, Process},
    supervisor::{fleet::Event, notify::Notify, upgrade::predecessor::Word, watch::Watch},
};

/// The environment variable that tells a process whose successor it is to be: its parent, whose channel is its standard input.
const PREDECESSOR: &str = "RUSGI_PREDECESSOR";

/// The old side.
impl Watch {
    pub(super) fn upgrade(&mut self) {
        if self.equipment.predecessor.is_some() {
            return warn!("upgrade refused: this process has not taken over yet itself");
        }
        self.tell(Event::Upgrade);
    }

    pub(super) fn start_successor(&mut self) {
        match self.make_successor() {
            Ok((pid, channel)) => {
                self.successor = Some(channel);
                self.tell(Event::SuccessorStarted { pid });
            }
            Err(report) => self.tell(Event::SuccessorFailed { report }),
        }
    }

    fn make_successor(&mut self) -> Result<(i32, Channel), String> {
        let unready =
            |error: io::Error| format!("the sockets cannot be handed over ({error}): raise the limit on open files");
        let (ours, theirs) = Channel::pair().map_err(unready)?;
        self.hand_sockets(&ours).map_err(unready)?;
        let command = self.equipment.command.as_ref().map_err(ToString::to_string)?;
        Ok((command.spawn(theirs)?, ours))
    }

    /// They wait in the channel until somebody reads them.
    fn hand_sockets(&mut self, channel: &Channel) -> io::Result<()> {
        let hand = |is_admin, listener: &Listener| {
            let (file, is_ours) = (listener.file(), listener.is_ours());
            channel.try_send_with_fd(&Message::Listener { is_admin, file, is_ours }, listener.as_fd())
        };
        self.listeners.iter().try_for_each(|listener| hand(false, listener))?;
        self.equipment.admin.listeners().try_for_each(|listener| hand(true, listener))?;
        let (workers, range) = self.fleet.strength();
        channel.try_send(&Message::Inherited { workers, range: range.map(|range| (range.least, range.most)) })
    }

    pub(super) fn read_successor(&mut self) {
        while let Some(channel) = &self.successor {
            match channel.try_recv() {
                Ok(Some((Message::Ready, _))) => self.tell(Event::SuccessorReady),
                Ok(Some((Message::Failed { report }, _))) => self.tell(Event::SuccessorFailed { report }),
                Ok(Some((other, _))) => warn!("the successor said {other:?}, which is not for it to say"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Its end, or its being late, tells the rest.
                Ok(None) | Err(_) => self.successor = None,
            }
        }
    }

    /// From here on it is the successor's word that counts.
    pub(super) fn hand_over(&mut self, pid: i32) {
        if !self.equipment.notify.name_main_process(pid) {
            let report = "systemd cannot be told of its new main process: try again".to_owned();
            return self.tell(Event::SuccessorFailed { report });
        }
        let message = Message::TakeOver { reload: self.fleet.owes_reload() };
        let sent = self.successor.as_ref().map(|channel| channel.try_send(&message));
        if !matches!(sent, Some(Ok(()))) {
            self.equipment.notify.name_main_process(getpid().as_raw());
            return self.tell(Event::SuccessorFailed { report: "it cannot be reached any more".to_owned() });
        }
        self.equipment.notify = Notify::default();
        self.equipment.admin.leave();
        self.listeners.iter_mut().for_each(Listener::leave_file);
        self.tell(Event::HandedOver);
        logging::set_process(Process::Predecessor);
    }

    pub(super) fn terminate(&self, pid: i32) {
        if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGTERM) {
            debug!("pid {pid} cannot be told to stop: {error}");
        }
    }
}

/// The new side.
impl Watch {
    /// Tells the predecessor, if there is one, as soon as requests are served.
    pub(super) fn report_ready(&mut self) {
        if let Some(predecessor) = self.equipment.predecessor.as_mut().filter(|_| self.fleet.is_ready()) {
            predecessor.ready();
        }
    }

    pub(super) fn read_predecessor(&mut self) {
        let word = self.equipment.predecessor.as_ref().map(Predecessor::listen);
        let Some(Word::TakeOver { reload }) = word else {
            return;
        };
        logging::set_process(Process::Supervisor);
        self.equipment.predecessor = None;
        self.equipment.notify = Notify::from_env();
        self.listeners.iter_mut().chain(self.equipment.admin.listeners()).for_each(Listener::own_file);
        if reload {
            self.reload();
        }
    }

    /// A predecessor goes on, and may tell its operator why it has to.
    pub(super) fn report_end(&mut self) {
        let predecessor = mem::take(&mut self.equipment.predecessor);
        if let (Some(predecessor), Some(reason)) = (predecessor, self.fleet.last_words()) {
            predecessor.report(reason);
        }
    }
}
