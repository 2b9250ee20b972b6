//! The supervisor's judgement: what happened, and what is to be done about it. It knows no socket, no signal and no clock.

mod balance;
mod deaths;
mod event;
mod outage;
mod plan;
mod reload;
mod roster;
mod scaling;
mod standing;
mod status;
mod stopping;
mod succession;
mod upgrade;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use tracing::{debug, error, info, warn};

pub(super) use event::{Action, Event, Scale, Stop};
pub(super) use outage::{Down, Situation};
pub(super) use plan::Plan;
pub(super) use scaling::Demand;
pub(super) use status::Status;
pub(super) use succession::Outcome;
pub(super) use upgrade::Upgraded;

use crate::supervisor::{
    exit::Exit,
    fleet::{
        deaths::Complaint,
        outage::Outage,
        plan::words,
        roster::{Role, Roster},
        scaling::Scaling,
        succession::Succession,
        upgrade::Upgrade,
    },
    generation::Generation,
};

/// All processes the supervisor answers for.
///
/// ```text
///   running ── Stop, or a first start that failed ──▶ stopping ── all ended, or given up ──▶ over
/// ```
pub(super) struct Fleet {
    plan: Plan,
    succession: Succession,
    generations: BTreeMap<u32, Generation>,
    roster: Roster,
    scaling: Scaling,
    upgrade: Upgrade,
    phase: Phase,
    history: History,
    outage: Outage,
    actions: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping { exit: Exit, deadline: Instant, is_forced: bool },
    Over(Exit),
}

/// What has been before, and so changes what a failure means.
#[derive(Debug, Default)]
struct History {
    /// A worker has been ready: whatever fails from now on is tried again.
    was_ready: bool,
    /// The operator was told that all are ready.
    was_announced: bool,
    /// An operator has changed how many workers there are to be.
    was_scaled: bool,
    /// When the last workers accept no more, once we stop and nobody takes our place.
    last_call: Option<Instant>,
    /// Why a first start was given up.
    last_words: Option<String>,
    /// What replacements have failed to load for, since somebody was ready last.
    complaint: Complaint,
}

impl Fleet {
    /// A fleet of which nothing runs yet.
    pub(super) fn new(plan: Plan, now: Instant) -> Self {
        let succession = Succession::new();
        let mut fleet = Self {
            plan,
            generations: BTreeMap::from([(succession.serving(), Generation::due(now))]),
            succession,
            roster: Roster::default(),
            scaling: Scaling::new(now),
            upgrade: Upgrade::default(),
            phase: Phase::Running,
            history: History::default(),
            outage: Outage::default(),
            actions: VecDeque::new(),
        };
        fleet.settle(now);
        fleet
    }

    /// Takes notice of `event`; what is to be done about it then comes from [`Fleet::next_action`].
    pub(super) fn apply(&mut self, event: Event, now: Instant) {
        match event {
            Event::ForkserverStarted { generation, pid } => {
                let kill_at = now + self.plan.start_timeout;
                self.change(generation, |one| one.started(pid, kill_at));
            }
            Event::ForkserverRefused { generation, error } => self.forkserver_refused(generation, &error, now),
            Event::Loaded { generation } => self.change(generation, |one| one.loaded(now)),
            Event::ForkserverHungUp { generation } => self.change(generation, |one| one.hung_up(now + GRACE)),
            Event::ForkserverEnded { generation, ending } => self.forkserver_ended(generation, ending, now),
            Event::LoadFailed { generation, report } => self.load_failed(generation, report, now),
            Event::Forked { generation, slot, pid } => self.forked((generation, slot), pid, now),
            Event::Ended { pid, ending } => self.ended(pid, ending, now),
            Event::Reload => self.reload(),
            Event::Scale(scale) => self.scale(scale),
            Event::Demand(demand) => self.demand(demand, now),
            Event::Stop(stop) => self.stop(stop, now),
            Event::Upgrade => self.upgrade(),
            Event::Tick => {}
            of_one_worker => self.apply_to_worker(of_one_worker, now),
        }
        self.settle(now);
    }

    fn apply_to_worker(&mut self, event: Event, now: Instant) {
        match event {
            Event::RequestLost { slot } => self.each(slot, |place| place.life.request_lost(now + RETRY)),
            Event::Ready { slot } => self.ready(slot, now),
            Event::Worn { slot, reason } => self.worn(slot, &reason),
            Event::Oversized { slot, reason } => self.oversized(slot, &reason),
            Event::Stopping { slot } => self.stopping(slot, now),
            Event::HungUp { slot } => self.each(slot, |place| place.life.hung_up(now + GRACE)),
            of_the_successor => self.apply_to_successor(of_the_successor, now),
        }
    }

    /// What is to be done next, if anything.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Event::Tick`] is due, whatever else happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let workers = self.roster.iter().filter_map(|(_, place)| place.life.kill_at());
        let forkservers = self.generations.values().filter_map(Generation::kill_at);
        let next = match self.phase {
            Phase::Running => {
                self.next_start().into_iter().chain(self.next_wear()).chain(self.succession.deadline()).min()
            }
            Phase::Stopping { deadline, .. } => Some(deadline),
            Phase::Over(_) => None,
        };
        workers.chain(forkservers).chain(next).chain(self.upgrade.deadline()).min()
    }

    /// How it ended, once it has.
    pub(super) fn over(&self) -> Option<Exit> {
        if let Phase::Over(exit) = self.phase { Some(exit) } else { None }
    }

    /// Why a first start was given up, if it was.
    pub(super) fn last_words(&self) -> Option<&str> {
        self.history.last_words.as_deref()
    }

    /// The generation whose forkserver is `pid`.
    pub(super) fn generation_of(&self, pid: i32) -> Option<u32> {
        self.generations.iter().find(|(_, one)| one.pid() == Some(pid)).map(|(number, _)| *number)
    }

    /// The generation whose worker is in `slot`.
    pub(super) fn generation_in(&self, slot: u32) -> Option<u32> {
        self.roster.get(slot).map(|place| place.generation)
    }

    /// The slot whose worker is `pid`.
    pub(super) fn slot_of(&self, pid: i32) -> Option<u32> {
        self.roster.slot_of(pid)
    }

    fn change(&mut self, generation: u32, change: impl FnOnce(&mut Generation)) {
        if let Some(one) = self.generations.get_mut(&generation) {
            change(one);
        }
    }

    fn each(&mut self, slot: u32, change: impl FnOnce(&mut roster::Place)) {
        if let Some(place) = self.roster.get_mut(slot) {
            change(place);
        }
    }

    fn forked(&mut self, (generation, slot): (u32, u32), pid: i32, now: Instant) {
        let kill_at = now + self.plan.start_timeout;
        let place = self.roster.get_mut(slot).filter(|place| place.generation == generation);
        let is_wanted = place.is_some_and(|place| place.life.forked(pid, kill_at) && place.is_kept());
        if !is_wanted || self.phase != Phase::Running {
            self.actions.push_back(Action::Kill { pid });
            return;
        }
        debug!("worker {slot} (pid {pid}) is starting");
    }

    fn ready(&mut self, slot: u32, now: Instant) {
        let Some(place) = self.roster.get_mut(slot).filter(|place| place.is_kept()) else {
            return;
        };
        if !place.life.ready(now) {
            return;
        }
        let generation = place.generation;
        self.history.was_ready = true;
        self.history.complaint = Complaint::default();
        if generation != self.succession.serving() {
            return debug!("worker {slot} of generation {generation} is ready");
        }
        if self.history.was_announced {
            info!("worker {slot} is ready");
        } else if self.roster.serving(generation) >= self.plan.workers {
            self.announce();
        }
    }

    fn announce(&mut self) {
        if !self.history.was_announced {
            self.history.was_announced = true;
            info!("{}", self.plan.announcement());
        }
    }

    /// A worker that drains of its own accord may take as long as one that was asked to; its replacement need not wait for it.
    fn stopping(&mut self, slot: u32, now: Instant) {
        let kill_at = now + self.plan.leave_timeout;
        let is_running = self.phase == Phase::Running;
        let Some(place) = self.roster.get_mut(slot) else {
            return;
        };
        if is_running && place.is_serving() {
            place.role = Role::Leaving;
            info!("worker {slot} stops accepting by itself; replacing it");
        }
        place.life.draining(kill_at);
    }

    /// Draws the conclusions from the state all are in now.
    fn settle(&mut self, now: Instant) {
        self.give_up_when_late(now);
        self.judge_successor(now);
        match self.phase {
            Phase::Running => self.run(now),
            Phase::Stopping { deadline, is_forced: false, .. } if now >= deadline => {
                let limit = if self.upgrade.has_heir() { "as long as a request may take" } else { "--stop-timeout" };
                self.force(&format!("{limit} is over"), now);
            }
            Phase::Stopping { exit, deadline, is_forced: true } if now >= deadline => self.abandon(exit),
            Phase::Stopping { exit, .. } => self.finish(exit, now),
            Phase::Over(_) => {}
        }
        self.kill_overdue(now);
        self.notice_outage(now);
    }

    fn run(&mut self, now: Instant) {
        self.judge_candidate(now);
        self.retire_generations(now);
        self.begin_reload(now);
        self.balance(now);
        self.roster.sweep();
        self.start_due(now);
    }

    /// A first start that hangs is not tried again: whoever started us may know better.
    fn give_up_when_late(&mut self, now: Instant) {
        if self.phase != Phase::Running || self.history.was_ready {
            return;
        }
        let is_late = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let forkserver = self.generations.values().any(|one| one.is_starting() && is_late(one.kill_at()));
        let worker = |place: &roster::Place| place.life.is_starting() && is_late(place.life.kill_at());
        if forkserver || self.roster.iter().any(|(_, place)| worker(place)) {
            let limit = words(self.plan.start_timeout);
            let reason =
                format!("the application is not loaded within {limit}; raise --start-timeout if it takes that long");
            self.give_up(Exit::NotLoaded, reason, now);
        }
    }

    fn kill_overdue(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let overdue = self.roster.iter_mut().filter(|(_, place)| is_due(place.life.kill_at()));
        for (slot, place) in overdue {
            let Some(pid) = place.life.pid() else { continue };
            if place.life.is_starting() {
                place.life.condemned("it has not loaded the application within --start-timeout");
                error!("worker {slot} (pid {pid}) has not loaded the application within --start-timeout; killing it");
            } else {
                place.life.condemned("it did not end by itself");
                warn!("worker {slot} (pid {pid}) does not end by itself; killing it, its requests are cut");
            }
            self.actions.push_back(Action::Kill { pid });
        }
        for (number, one) in self.generations.iter_mut().filter(|(_, one)| is_due(one.kill_at())) {
            let is_starting = one.is_starting();
            if is_starting {
                error!("forkserver g{number} has not loaded within --start-timeout; killing it");
            }
            self.actions.extend(one.pid().map(|pid| Action::Kill { pid }));
            one.condemned(if is_starting {
                "it has not loaded within --start-timeout"
            } else {
                "it did not end by itself"
            });
        }
    }
}

/// Deaths in a row before anybody was ready, after which starting is given up.
const MOST_FAILURES: u32 = 5;
/// What an ending process may take from closing its channel to its end, and a killed one to vanish.
const GRACE: Duration = Duration::from_secs(5);
/// When a forkserver that did not take a request is asked again.
const RETRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
