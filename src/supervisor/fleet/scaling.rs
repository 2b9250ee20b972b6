//! As many workers as the load demands, within the range the operator allows.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use tracing::info;

use crate::supervisor::fleet::{Fleet, GRACE, Phase, plan::counted, roster::Place};

/// What all desks are doing, and who waits for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// For every worker that has rows, by its slot, the desks that serve a request.
    pub(crate) busy: BTreeMap<u32, usize>,
    /// Connections that wait to be accepted.
    pub(crate) waiting: u64,
}

/// Judges, ten times a second, whether the load wants more or fewer workers.
///
/// ```text
///            three quarters of the desks busy for a second, or connections that wait for a third of one
///   steady ────────────────────────────────────────────────────────────────────▶ growing
///    │  ▲ ▲                                       the new workers are ready        │
///    │  │ └────────────────────────────────────────────────────────────────────────┘
///    ▼  │ one worker less
///   quiet: for --scale-down-after, half the desks of one worker less would have done
/// ```
#[derive(Debug)]
pub(super) struct Scaling {
    looks: VecDeque<Look>,
    /// Looks since the workers that are wanted have all been ready.
    settled: usize,
    /// Looks in a row that found connections waiting.
    waited: usize,
    quiet_since: Option<Instant>,
    due_at: Instant,
    busy: BTreeMap<u32, usize>,
}

/// What one look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Desks that serve a request.
    busy: usize,
    /// Desks that serve, or would.
    desks: usize,
    /// Desks that would be left with one worker less.
    fewer: usize,
    /// Connections that wait to be accepted.
    waiting: u64,
    /// Whether all workers that are wanted are ready.
    is_settled: bool,
}

/// What is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    More,
    Fewer,
}

impl Scaling {
    pub(super) fn new(now: Instant) -> Self {
        let (looks, busy) = (VecDeque::with_capacity(LOOKS), BTreeMap::new());
        Self { looks, settled: 0, waited: 0, quiet_since: None, due_at: now, busy }
    }

    /// Begins anew: what was seen so far says nothing about what there is now.
    pub(super) fn forget(&mut self) {
        self.looks.clear();
        (self.settled, self.waited, self.quiet_since) = (0, 0, None);
    }

    /// How many desks of the worker in `slot` were busy at the last look.
    pub(super) fn busy_in(&self, slot: u32) -> usize {
        self.busy.get(&slot).copied().unwrap_or_default()
    }

    /// The verdict after one more look; `patience` is how long it has to be quiet before there may be fewer.
    fn judge(&mut self, look: Look, patience: Duration, now: Instant) -> Option<Verdict> {
        self.settled = if look.is_settled { self.settled + 1 } else { 0 };
        self.waited = if look.waiting > 0 { self.waited + 1 } else { 0 };
        self.looks.truncate(LOOKS - 1);
        self.looks.push_front(look);
        let is_saturated = self.is_saturated();
        if is_saturated || !self.is_quiet(look.fewer) {
            self.quiet_since = None;
            return is_saturated.then_some(Verdict::More);
        }
        let since = *self.quiet_since.get_or_insert(now);
        (now.saturating_duration_since(since) >= patience).then_some(Verdict::Fewer)
    }

    fn is_saturated(&self) -> bool {
        let sum = |of: fn(&Look) -> usize| self.looks.iter().map(of).sum::<usize>();
        let is_busy = self.settled >= LOOKS && sum(|look| look.busy) * 4 >= sum(|look| look.desks) * 3;
        let is_waited_for = self.settled.min(self.waited) >= QUEUE_LOOKS;
        is_busy || is_waited_for
    }

    fn is_quiet(&self, fewer: usize) -> bool {
        let busy: usize = self.looks.iter().map(|look| look.busy).sum();
        self.looks.len() >= LOOKS && self.waited == 0 && busy * 2 <= fewer * LOOKS
    }
}

impl Fleet {
    /// When [`Event::Demand`](super::Event::Demand) is wanted next, if the load matters at all: while nothing happens it does until
    /// there are as few workers as there may be.
    pub(in crate::supervisor) fn next_look(&self, is_resting: bool) -> Option<Instant> {
        let may_change = !is_resting || self.plan.workers > self.plan.range.least;
        let is_open = !self.plan.range.is_fixed() && self.history.was_announced && may_change;
        let mut leaving = self.roster.iter().filter(|(_, place)| place.is_spared());
        (self.phase == Phase::Running && (is_open || leaving.next().is_some())).then_some(self.scaling.due_at)
    }

    pub(super) fn demand(&mut self, demand: Demand, now: Instant) {
        if now.saturating_duration_since(self.scaling.due_at) > LONG_AGO {
            self.scaling.forget();
        }
        self.scaling.due_at = now + PERIOD;
        let spared =
            self.roster.iter_mut().filter(|(slot, place)| place.is_spared() && demand.busy.get(slot) > Some(&0));
        spared.for_each(|(_, place)| place.life.spare(now + GRACE));
        let look = self.look(&demand);
        self.scaling.busy = demand.busy;
        if self.plan.range.is_fixed() || self.phase != Phase::Running || !self.history.was_announced {
            return;
        }
        if self.succession.candidate().is_some() {
            // A generation on trial has to know how many are wanted of it.
            return self.scaling.forget();
        }
        let verdict = self.scaling.judge(look, self.plan.scale_down_after, now);
        verdict.into_iter().for_each(|verdict| self.follow(verdict, look));
    }

    fn look(&self, demand: &Demand) -> Look {
        let serving = self.succession.serving();
        let ready = self.roster.of(serving).filter(|(_, place)| place.is_serving());
        let seen: Vec<_> = ready.filter_map(|(slot, _)| demand.busy.get(&slot)).collect();
        Look {
            busy: seen.iter().copied().sum(),
            desks: seen.len() * self.plan.threads,
            fewer: self.plan.workers.saturating_sub(1) * self.plan.threads,
            waiting: demand.waiting,
            is_settled: self.roster.serving(serving) >= self.plan.workers,
        }
    }

    fn follow(&mut self, verdict: Verdict, Look { busy, desks, waiting, .. }: Look) {
        let wanted = match verdict {
            Verdict::More => self.plan.workers + (self.plan.workers / 4).max(1),
            Verdict::Fewer => self.plan.workers - 1,
        };
        let wanted = self.plan.range.nearest(wanted);
        if std::mem::replace(&mut self.plan.workers, wanted) != wanted {
            let (workers, queue) =
                (counted(wanted, "worker"), counted(usize::try_from(waiting).unwrap_or(usize::MAX), "connection"));
            info!("scaling to {workers}: {busy} of {desks} threads are busy, {queue} waiting");
            self.scaling.forget();
        }
    }
}

impl Place {
    /// Whether its worker was one too many and has not finished: it is not killed while it serves.
    fn is_spared(&self) -> bool {
        self.is_surplus && self.life.is_draining()
    }
}

/// How often the load is looked at.
const PERIOD: Duration = Duration::from_millis(100);
/// A look so much later than it was due says nothing together with those before.
const LONG_AGO: Duration = Duration::from_secs(1);
/// Looks that count, so that neither a burst nor a lull decides alone: one second.
const LOOKS: usize = 10;
/// A queue says more than busy desks do: whoever is in it waits already.
const QUEUE_LOOKS: usize = 3;
