//! The valve: watches the listen queues, and answers those with 503 who could not be served in time.
//!
//! ```text
//!   listen queue ── oldest first ──▶ desks                  as long as all who wait will be served in time
//!                          └───────▶ 503 and Retry-After    as many as are too many; all, while no worker lasts
//! ```
//!
//! It is part of the supervisor's loop: it does a bounded piece of work at a time and never waits for a peer.

mod cadence;
mod closing;
mod gauges;
mod judge;
mod leaving;
mod pace;
mod patience;
mod story;

use std::{
    mem,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags};
use serde::Serialize;
use tracing::debug;

use crate::{
    net::{
        listener::{Listener, queue::Queue},
        refusal::Refusal,
    },
    observe::scoreboard::{Scoreboard, Tally},
    supervisor::{
        fleet::{Down, Situation},
        valve::{
            cadence::{Cadence, Found},
            gauges::{Gauges, QueueStatus},
            judge::{Judge, Look, Verdict},
            leaving::{Leaving, Turned},
            story::{Scene, Story, Totals},
        },
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
    judge: Judge,
    leaving: Leaving,
    story: Story,
    /// Connections answered with 503 so far.
    refused: u64,
    /// Connections that nobody was at the other end of any more.
    left: u64,
    /// Whether there was no descriptor or memory to accept with.
    is_short: bool,
}

/// What there is to be watched, and how it stands.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// Where connections come in.
    pub(super) listeners: &'a [Listener],
    /// Where desks say what they are doing.
    pub(super) scoreboard: &'a Scoreboard,
    /// How many desks there are to be.
    pub(super) desks: usize,
    /// Whether anybody serves.
    pub(super) situation: Situation<'a>,
}

/// What waits and what is being served, as of the last look.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    /// One for each listener, in order; nothing where the kernel does not tell.
    pub(super) queues: Vec<Option<Queue>>,
    /// What the desks are doing.
    pub(super) tally: Tally,
    /// How long somebody who came now would wait; nothing where that is not to be foreseen.
    pub(super) wait: Option<Duration>,
}

/// The load, for operators and their tools.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LoadStatus {
    /// The listen queues.
    pub(crate) queues: Vec<QueueStatus>,
    /// The threads there are to serve.
    pub(crate) threads: usize,
    /// The threads that serve a request.
    pub(crate) busy: usize,
    /// Seconds that threads which had been woken for a connection have waited for the GIL, in all.
    pub(crate) gil_wait: f64,
    /// The valve.
    pub(crate) valve: ValveStatus,
}

/// The valve, for operators and their tools.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ValveStatus {
    /// `closed`, `open` while some are answered with 503, `down` while all are.
    pub(crate) state: &'static str,
    /// How long a newcomer would wait, in seconds; nothing where that is not to be foreseen.
    pub(crate) wait: Option<f64>,
    /// Connections that were answered with 503 since the start.
    pub(crate) refused: u64,
    /// Requests that were not served because their peers had left, since the start.
    pub(crate) left: u64,
}

impl Valve {
    /// A valve between `listeners` and so many `desks`; nobody is to wait for longer than `timeout`.
    pub(super) fn new(listeners: &[Listener], desks: usize, timeout: Option<Duration>, now: Instant) -> Self {
        Self {
            gauges: Gauges::of(listeners),
            cadence: Cadence::new(now),
            load: Load::default(),
            begun: 0,
            judge: Judge::new(timeout, desks, now),
            leaving: Leaving::default(),
            story: Story::default(),
            refused: 0,
            left: 0,
            is_short: false,
        }
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
        let is_watched = !self.is_short && (self.cadence.is_resting() || self.story.is_down());
        let watched = if is_watched { listeners } else { &[] };
        watched.iter().map(|listener| PollFd::new(listener, PollFlags::IN))
    }

    /// A connection has come while nothing happened, or nobody serves.
    pub(super) fn wake(&mut self, now: Instant) {
        self.cadence.wake(now);
    }

    /// Looks at queues and desks, if that is due, and does what follows from it.
    pub(super) fn look(&mut self, view: View<'_>, now: Instant) {
        let is_down = matches!(view.situation, Situation::Down(_));
        if is_down == self.story.is_down() && self.due_at().is_none_or(|due_at| now < due_at) {
            return;
        }
        self.measure(view.listeners, view.scoreboard);
        let verdict = self.judge(view, now);
        view.scoreboard.set_stale(verdict.is_stale);
        self.load.wait = verdict.wait;
        self.leaving.sweep(now);
        self.is_short = false;
        self.relieve(view, verdict.excess, now);
        self.tell(view, now);
        let found = self.found();
        self.cadence.looked(found, now);
    }

    /// Takes the measure of queues and desks as they are now.
    pub(super) fn measure(&mut self, listeners: &[Listener], scoreboard: &Scoreboard) {
        self.load.queues = self.gauges.read(listeners);
        self.load.tally = scoreboard.tally();
    }

    /// The load as of the last look, for operators and their tools.
    pub(super) fn status(&self, listeners: &[Listener]) -> LoadStatus {
        let queues = listeners.iter().zip(&self.load.queues);
        let Totals { refused, left, .. } = self.totals();
        let state = match (self.story.is_open(), self.story.is_down()) {
            (_, true) => "down",
            (true, _) => "open",
            _ => "closed",
        };
        LoadStatus {
            queues: queues.map(|(listener, queue)| QueueStatus::new(listener, *queue)).collect(),
            threads: self.load.tally.desks,
            busy: self.load.tally.busy,
            gil_wait: self.load.tally.gil_wait as f64 / 1e6,
            valve: ValveStatus { state, wait: self.load.wait.map(|wait| wait.as_secs_f64()), refused, left },
        }
    }

    fn judge(&mut self, view: View<'_>, now: Instant) -> Verdict {
        let Tally { desks, busy, begun, left, .. } = self.load.tally;
        let refused = self.refused + self.left;
        let waiting = self.load.waiting();
        let idle = desks.saturating_sub(busy);
        let look = Look { at: now, waiting, desks: view.desks, idle, begun, left, refused };
        match view.situation {
            Situation::Serving => self.judge.judge(look),
            // How fast requests are served shows when somebody serves.
            _ => {
                self.judge.resume(look);
                Verdict { excess: 0, wait: None, is_stale: false }
            }
        }
    }

    /// Turns away who is too many: for the time they would wait, for the room there is, or all while nobody serves.
    fn relieve(&mut self, view: View<'_>, excess: u64, now: Instant) {
        let (shares, refusal) = match view.situation {
            Situation::Down(down) => (vec![BATCH; view.listeners.len()], refusal_of(down)),
            Situation::Stopping => return,
            Situation::Closing => return self.dismiss(view.listeners, BATCH, now),
            Situation::Starting | Situation::Serving => (self.load.shares(excess), self.refusal()),
        };
        let page = refusal.page(false);
        for (listener, share) in view.listeners.iter().zip(shares).filter(|(_, share)| *share > 0) {
            self.turn_away(listener, share.min(BATCH), |leaving| leaving.turn_away(listener, &page, now));
        }
    }

    fn turn_away(&mut self, listener: &Listener, count: u64, mut turn: impl FnMut(&mut Leaving) -> Turned) {
        for _ in 0..count {
            match turn(&mut self.leaving) {
                Turned::Away => self.refused += 1,
                Turned::Gone => self.left += 1,
                Turned::Nobody => return,
                Turned::Shortage(error) => {
                    self.is_short = true;
                    return debug!("{}: nobody can be turned away ({error})", listener.address());
                }
            }
        }
    }

    fn refusal(&self) -> Refusal {
        let seconds = self.load.wait.map_or(LONGEST_RETRY, |wait| wait.as_secs());
        Refusal::Overloaded { retry_after: seconds.clamp(1, LONGEST_RETRY) }
    }

    fn totals(&self) -> Totals {
        let Tally { begun, left, .. } = self.load.tally;
        Totals { refused: self.refused, left: self.left + left, begun }
    }

    fn tell(&mut self, view: View<'_>, at: Instant) {
        if matches!(view.situation, Situation::Stopping | Situation::Closing) {
            return self.story.end();
        }
        let down = if let Situation::Down(down) = view.situation { Some(down.cause) } else { None };
        let scene = Scene { at, down, waiting: self.load.waiting(), wait: self.load.wait };
        self.story.go_on(self.totals(), scene);
    }

    fn found(&mut self) -> Found {
        let begun = mem::replace(&mut self.begun, self.load.tally.begun);
        let is_overloaded = self.story.is_open() && !self.story.is_down();
        match self.load.waiting() {
            // Whoever waits cannot wake us then.
            0 if self.is_short => Found::Waiting,
            0 if self.leaving.is_empty() && !is_overloaded && self.begun == begun => Found::Quiet,
            0 if self.leaving.is_empty() => Found::Traffic,
            _ if is_overloaded || self.load.is_crowded() => Found::Crowd,
            _ => Found::Waiting,
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

    /// How many are to be turned away from each queue, when that is `excess` in all and every queue keeps some room.
    fn shares(&self, excess: u64) -> Vec<u64> {
        let waiting = self.waiting().max(1);
        let share = |queue: &Queue| {
            let length = u64::from(queue.length);
            // A full queue turns away by itself: nginx answers 502 then.
            let overflow = queue.length.saturating_sub(queue.limit - queue.limit / 4);
            (excess * length).div_ceil(waiting).max(u64::from(overflow))
        };
        self.queues.iter().map(|queue| queue.as_ref().map_or(0, share)).collect()
    }
}

fn refusal_of(down: Down<'_>) -> Refusal {
    let retry_after = down.retry_in.as_secs().saturating_add(1).min(LONGEST_RETRY);
    Refusal::Down { is_unloadable: down.is_unloadable, retry_after }
}

/// More are not turned away in one go: signals and workers have something to say, too.
const BATCH: u64 = 256;
/// Nobody is told to wait for longer.
const LONGEST_RETRY: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn load(lengths: &[u32]) -> Load {
        let queue = |length: &u32| (*length < u32::MAX).then_some(Queue { length: *length, limit: 64 });
        Load { queues: lengths.iter().map(queue).collect(), ..Load::default() }
    }

    #[test]
    fn queues_share_what_is_too_many_by_their_lengths() {
        assert_eq!(load(&[30, 10]).shares(0), [0, 0]);
        assert_eq!(load(&[30, 10]).shares(20), [15, 5]);
        // One that cannot be measured is left alone.
        assert_eq!(load(&[30, u32::MAX]).shares(10), [10, 0]);
        assert_eq!(load(&[]).shares(0), [0; 0]);
    }

    #[test]
    fn a_queue_never_fills_up() {
        assert_eq!(load(&[48]).shares(0), [0]);
        assert_eq!(load(&[60, 10]).shares(0), [12, 0]);
        assert_eq!(load(&[60]).shares(50), [50]);
    }
}
