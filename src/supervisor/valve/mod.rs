//! The valve: watches the listen queues.

mod cadence;
mod gauges;

use std::{mem, time::Instant};

use rustix::event::{PollFd, PollFlags};
use serde::Serialize;

use crate::{
    net::listener::{Listener, queue::Queue},
    observe::scoreboard::{Scoreboard, Tally},
    supervisor::valve::{
        cadence::{Cadence, Found},
        gauges::{Gauges, QueueStatus},
    },
};

/// What stands between the listen queues and the workers.
#[derive(Debug)]
pub(super) struct Valve {
    gauges: Gauges,
    cadence: Cadence,
    load: Load,
    /// Requests that had begun by the last look that was due.
    begun: u64,
}

/// What waits and what is being served, as of the last look.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    /// One for each listener, in order; nothing where the kernel does not tell.
    pub(super) queues: Vec<Option<Queue>>,
    /// What the desks are doing.
    pub(super) tally: Tally,
}

/// The load, for operators and their tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LoadStatus {
    /// The listen queues.
    pub(crate) queues: Vec<QueueStatus>,
    /// The threads there are to serve.
    pub(crate) threads: usize,
    /// The threads that serve a request.
    pub(crate) busy: usize,
}

impl Valve {
    /// A valve before `listeners`.
    pub(super) fn new(listeners: &[Listener], now: Instant) -> Self {
        Self { gauges: Gauges::of(listeners), cadence: Cadence::new(now), load: Load::default(), begun: 0 }
    }

    /// When to look next, whatever else happens.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.cadence.due_at()
    }

    /// Whether nothing has happened for a while, and nobody waits.
    pub(super) fn is_resting(&self) -> bool {
        self.cadence.is_resting()
    }

    /// Connections that waited at the last look.
    pub(super) fn waiting(&self) -> u64 {
        self.load.waiting()
    }

    /// The sockets whose connections are news.
    pub(super) fn interests<'l>(&self, listeners: &'l [Listener]) -> impl Iterator<Item = PollFd<'l>> {
        let watched = if self.cadence.is_resting() { listeners } else { &[] };
        watched.iter().map(|listener| PollFd::new(listener, PollFlags::IN))
    }

    /// A connection has come while nothing happened.
    pub(super) fn wake(&mut self, now: Instant) {
        self.cadence.wake(now);
    }

    /// Looks at queues and desks, if that is due.
    pub(super) fn look(&mut self, listeners: &[Listener], scoreboard: &Scoreboard, now: Instant) {
        if self.due_at().is_none_or(|due_at| now < due_at) {
            return;
        }
        self.measure(listeners, scoreboard);
        let begun = mem::replace(&mut self.begun, self.load.tally.begun);
        let found = match self.load.waiting() {
            0 if self.begun == begun => Found::Quiet,
            0 => Found::Traffic,
            _ if self.load.is_crowded() => Found::Crowd,
            _ => Found::Waiting,
        };
        self.cadence.looked(found, now);
    }

    /// Takes the measure of queues and desks as they are now.
    pub(super) fn measure(&mut self, listeners: &[Listener], scoreboard: &Scoreboard) {
        self.load = Load { queues: self.gauges.read(listeners), tally: scoreboard.tally() };
    }

    /// The load as of the last look, for operators and their tools.
    pub(super) fn status(&self, listeners: &[Listener]) -> LoadStatus {
        let queues = listeners.iter().zip(&self.load.queues);
        LoadStatus {
            queues: queues.map(|(listener, queue)| QueueStatus::new(listener, *queue)).collect(),
            threads: self.load.tally.desks,
            busy: self.load.tally.busy,
        }
    }
}

impl Load {
    /// Connections in all queues.
    pub(super) fn waiting(&self) -> u64 {
        self.queues.iter().flatten().map(|queue| u64::from(queue.length)).sum()
    }

    /// Whether a queue is so full that room may soon run out.
    fn is_crowded(&self) -> bool {
        self.queues.iter().flatten().any(|queue| queue.length > queue.limit / 4)
    }
}
