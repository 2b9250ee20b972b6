//! What the supervisor hears from forkservers and workers, and the deaths it collects.

use std::{io, os::fd::OwnedFd};

use rustix::process::{WaitOptions, wait};
use tracing::warn;

use crate::{
    channel::{Channel, Message, Received},
    observe::scoreboard::Unfinished,
    supervisor::{ending::Ending, fleet::Event, watch::Watch},
};

impl Watch {
    /// Collects every child that has ended, ours or adopted.
    pub(super) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let (pid, ending) = (pid.as_raw_nonzero().get(), Ending::from_status(status.as_raw()));
            // What a process said last comes before its end, and only its forkserver can tell whose worker it was.
            let generations: Vec<_> = self.forkservers.keys().copied().collect();
            generations.into_iter().for_each(|generation| self.read_forkserver(generation));
            if self.fleet.successor() == Some(pid) {
                self.read_successor();
                self.successor = None;
                self.tell(Event::SuccessorEnded { ending });
            } else if let Some(generation) = self.fleet.generation_of(pid) {
                self.forkservers.remove(&generation);
                self.tell(Event::ForkserverEnded { generation, ending });
            } else {
                self.worker_ended(pid, ending);
            }
        }
    }

    fn worker_ended(&mut self, pid: i32, ending: Ending) {
        if let Some(slot) = self.fleet.slot_of(pid) {
            self.read_worker(slot);
            self.workers.remove(&slot);
        }
        for Unfinished { method, path, age } in self.equipment.scoreboard.release(pid) {
            warn!(method, path, ?age, "pid {pid} has ended ({ending}) in the middle of a request");
        }
        self.tell(Event::Ended { pid, ending });
    }

    pub(super) fn read_forkserver(&mut self, generation: u32) {
        while let Some(channel) = self.forkservers.get(&generation) {
            match channel.try_recv() {
                Ok(Some(received)) => self.hear_forkserver(generation, received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                closed => {
                    complain("the forkserver", closed.err());
                    self.forkservers.remove(&generation);
                    self.tell(Event::ForkserverHungUp { generation });
                }
            }
        }
    }

    fn hear_forkserver(&mut self, generation: u32, (message, descriptor): Received) {
        match message {
            Message::Loaded => self.tell(Event::Loaded { generation }),
            Message::Failed { report } => self.tell(Event::LoadFailed { generation, report }),
            Message::Forked { slot, pid } => self.forked((generation, slot), pid, descriptor),
            Message::Exited { pid, status } => self.worker_ended(pid, Ending::from_status(status)),
            other => warn!("the forkserver said {other:?}, which is not for it to say; this is a bug in rusgi"),
        }
    }

    fn forked(&mut self, (generation, slot): (u32, u32), pid: i32, descriptor: Option<OwnedFd>) {
        self.tell(Event::Forked { generation, slot, pid });
        // One that nobody waits for any more is killed, and must not take the place of the one that is there.
        if let Some(descriptor) = descriptor.filter(|_| self.fleet.slot_of(pid) == Some(slot)) {
            self.workers.insert(slot, Channel::from(descriptor));
        }
    }

    pub(super) fn read_worker(&mut self, slot: u32) {
        while let Some(channel) = self.workers.get(&slot) {
            match channel.try_recv() {
                Ok(Some((message, _))) => self.hear_worker(slot, message),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                closed => {
                    complain("a worker", closed.err());
                    self.workers.remove(&slot);
                    self.tell(Event::HungUp { slot });
                }
            }
        }
    }

    fn hear_worker(&mut self, slot: u32, message: Message) {
        match message {
            Message::Ready => self.tell(Event::Ready { slot }),
            Message::Failed { report } => {
                if let Some(generation) = self.fleet.generation_in(slot) {
                    self.tell(Event::LoadFailed { generation, report });
                }
            }
            Message::Retire { reason } => self.tell(Event::Worn { slot, reason }),
            Message::Stopping => self.tell(Event::Stopping { slot }),
            other => warn!("worker {slot} said {other:?}, which is not for it to say; this is a bug in rusgi"),
        }
    }
}

/// A channel that ends is ordinary; one that fails is not.
fn complain(who: &str, error: Option<io::Error>) {
    if let Some(error) = error {
        warn!("{who} cannot be heard any more: {error}");
    }
}
