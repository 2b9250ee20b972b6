//! The supervisor's judgement: what happened, and what is to be done about it. It knows no socket, no signal and no clock.

mod event;
mod plan;
mod stopping;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    time::{Duration, Instant},
};

use tracing::{debug, error, info, warn};

pub(super) use event::{Action, Event, Stop};
pub(super) use plan::Plan;

use crate::{
    channel::LOAD_FAILED,
    supervisor::{
        ending::Ending,
        exit::Exit,
        fleet::plan::{advice, after, counted},
        generation::Generation,
        life::WorkerLife,
    },
};

/// All processes the supervisor answers for.
///
/// ```text
///   running ── Stop, or a first start that failed ──▶ stopping ── all ended, or given up ──▶ over
/// ```
pub(super) struct Fleet {
    plan: Plan,
    generation: Generation,
    workers: BTreeMap<u32, WorkerLife>,
    phase: Phase,
    history: History,
    actions: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping { exit: Exit, deadline: Instant, is_forced: bool },
    Over(Exit),
}

/// What has been before, and so changes what a failure means.
#[derive(Clone, Copy, Debug, Default)]
struct History {
    /// A worker has been ready: whatever fails from now on is tried again.
    was_ready: bool,
    /// The operator was told that all are ready.
    was_announced: bool,
}

impl Fleet {
    /// A fleet of which nothing runs yet.
    pub(super) fn new(plan: Plan, now: Instant) -> Self {
        let slots = 1..=u32::try_from(plan.workers).unwrap_or(u32::MAX);
        let mut fleet = Self {
            plan,
            generation: Generation::first(now),
            workers: slots.map(|slot| (slot, WorkerLife::due(now))).collect(),
            phase: Phase::Running,
            history: History::default(),
            actions: VecDeque::new(),
        };
        fleet.settle(now);
        fleet
    }

    /// Takes notice of `event`; what is to be done about it then comes from [`Fleet::next_action`].
    pub(super) fn apply(&mut self, event: Event, now: Instant) {
        match event {
            Event::ForkserverStarted { pid } => self.generation.started(pid),
            Event::ForkserverRefused { error } => self.forkserver_refused(&error, now),
            Event::Loaded => self.generation.loaded(now),
            Event::ForkserverHungUp => self.generation.hung_up(now + GRACE),
            Event::ForkserverEnded { ending } => self.forkserver_ended(ending, now),
            Event::LoadFailed { report } => self.load_failed(&report, now),
            Event::Forked { slot, pid } => self.forked(slot, pid),
            Event::RequestLost { slot } => self.each(slot, |worker| worker.request_lost(now + RETRY)),
            Event::Ready { slot } => self.ready(slot, now),
            Event::Stopping { slot } => self.stopping(slot, now),
            Event::HungUp { slot } => self.each(slot, |worker| worker.hung_up(now + GRACE)),
            Event::Ended { pid, ending } => self.ended(pid, ending, now),
            Event::Stop(stop) => self.stop(stop, now),
            Event::Tick => {}
        }
        self.settle(now);
    }

    /// What is to be done next, if anything.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Event::Tick`] is due, whatever else happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let kills = self.workers.values().filter_map(WorkerLife::kill_at).chain(self.generation.kill_at());
        let next = match self.phase {
            Phase::Running if self.generation.is_serving() => {
                self.workers.values().filter_map(WorkerLife::due_at).min()
            }
            Phase::Running => self.generation.due_at(),
            Phase::Stopping { deadline, .. } => Some(deadline),
            Phase::Over(_) => None,
        };
        kills.chain(next).min()
    }

    /// How it ended, once it has.
    pub(super) fn over(&self) -> Option<Exit> {
        if let Phase::Over(exit) = self.phase { Some(exit) } else { None }
    }

    /// The forkserver's process, while there is one.
    pub(super) fn forkserver(&self) -> Option<i32> {
        self.generation.pid()
    }

    /// The slot whose worker is `pid`.
    pub(super) fn slot_of(&self, pid: i32) -> Option<u32> {
        self.workers.iter().find(|(_, worker)| worker.pid() == Some(pid)).map(|(slot, _)| *slot)
    }

    fn each(&mut self, slot: u32, change: impl FnOnce(&mut WorkerLife)) {
        if let Some(worker) = self.workers.get_mut(&slot) {
            change(worker);
        }
    }

    fn forked(&mut self, slot: u32, pid: i32) {
        let is_wanted = self.workers.get_mut(&slot).is_some_and(|worker| worker.forked(pid));
        if !is_wanted || self.phase != Phase::Running {
            self.actions.push_back(Action::Kill { pid });
            return;
        }
        debug!("worker {slot} (pid {pid}) is starting");
    }

    fn ready(&mut self, slot: u32, now: Instant) {
        if self.workers.get_mut(&slot).is_some_and(|worker| worker.ready(now)) {
            self.history.was_ready = true;
            let is_complete = !self.history.was_announced && self.workers.values().all(WorkerLife::is_ready);
            if is_complete {
                self.history.was_announced = true;
                info!("{}", self.plan.announcement());
            } else if self.history.was_announced {
                info!("worker {slot} is ready");
            }
        }
    }

    /// A worker that drains of its own accord may take as long as one that was asked to.
    fn stopping(&mut self, slot: u32, now: Instant) {
        let kill_at = now + self.plan.stop_timeout;
        self.each(slot, |worker| worker.draining(kill_at));
    }

    fn ended(&mut self, pid: i32, ending: Ending, now: Instant) {
        let ended = self.slot_of(pid).and_then(|slot| Some((slot, self.workers.get_mut(&slot)?.ended(now)?)));
        // A process that is none of our workers was left to us by one, as it is to process 1.
        let Some((slot, death)) = ended else {
            return debug!("pid {pid} ended: {ending}");
        };
        if self.phase != Phase::Running {
            return debug!("worker {slot} (pid {pid}) ended: {ending}");
        }
        if death.was_draining {
            return info!("worker {slot} (pid {pid}) stopped; replacing it");
        }
        if let Some(exit) = self.verdict(ending, death.in_a_row) {
            error!("worker {slot} (pid {pid}) died before it was ready: {ending}; {}", advice(exit, death.in_a_row));
            return self.give_up(exit, now);
        }
        error!("worker {slot} (pid {pid}) died: {ending}; replacing it{}", after(death.pause));
    }

    fn forkserver_refused(&mut self, error: &io::Error, now: Instant) {
        let death = self.generation.ended(now);
        if !self.history.was_ready {
            error!("the forkserver cannot be started ({error}); raise the limit on processes or free some memory");
            return self.give_up(Exit::Refused, now);
        }
        let pause = death.map(|death| death.pause).unwrap_or_default();
        error!("the forkserver cannot be started ({error}); trying again{}", after(pause));
    }

    fn forkserver_ended(&mut self, ending: Ending, now: Instant) {
        let number = self.generation.number();
        self.workers.values_mut().for_each(|worker| worker.request_lost(now));
        let Some(death) = self.generation.ended(now) else {
            return;
        };
        let pid = death.pid.unwrap_or_default();
        if self.phase != Phase::Running {
            return;
        }
        if let Some(exit) = self.verdict(ending, death.in_a_row) {
            error!("forkserver g{number} (pid {pid}) died: {ending}; {}", advice(exit, death.in_a_row));
            return self.give_up(exit, now);
        }
        let living = self.workers.values().filter(|worker| worker.pid().is_some()).count();
        error!(
            "forkserver g{number} (pid {pid}) died: {ending}; starting another{}, {} go on",
            after(death.pause),
            counted(living, "worker")
        );
    }

    /// Whether a death on the first start is the last one, and what it means then.
    fn verdict(&self, ending: Ending, in_a_row: u32) -> Option<Exit> {
        match ending {
            _ if self.history.was_ready => None,
            Ending::Code(code) if code == i32::from(LOAD_FAILED) => Some(Exit::NotLoaded),
            _ => (in_a_row >= MOST_FAILURES).then_some(Exit::CrashLoop),
        }
    }

    fn load_failed(&mut self, report: &str, now: Instant) {
        if self.phase != Phase::Running {
            return debug!("{report}");
        }
        error!("{report}");
        if !self.history.was_ready {
            self.give_up(Exit::NotLoaded, now);
        }
    }

    /// Draws the conclusions from the state all are in now.
    fn settle(&mut self, now: Instant) {
        match self.phase {
            Phase::Running => self.start_due(now),
            Phase::Stopping { deadline, is_forced: false, .. } if now >= deadline => self.force("time is up", now),
            Phase::Stopping { exit, deadline, is_forced: true } if now >= deadline => self.abandon(exit),
            Phase::Stopping { exit, .. } => self.finish(exit, now),
            Phase::Over(_) => {}
        }
        self.kill_overdue(now);
    }

    fn start_due(&mut self, now: Instant) {
        if self.generation.due_at().is_some_and(|at| at <= now) {
            self.generation.requested();
            return self.actions.push_back(Action::StartForkserver { generation: self.generation.number() });
        }
        if !self.generation.is_serving() {
            return;
        }
        for (slot, worker) in &mut self.workers {
            if worker.due_at().is_some_and(|at| at <= now) {
                worker.requested();
                self.actions.push_back(Action::Fork { slot: *slot });
            }
        }
    }

    fn kill_overdue(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        for (slot, worker) in self.workers.iter_mut().filter(|(_, worker)| is_due(worker.kill_at())) {
            let Some(pid) = worker.pid() else { continue };
            warn!("worker {slot} (pid {pid}) does not end by itself; killing it, its requests are cut");
            worker.killed();
            self.actions.push_back(Action::Kill { pid });
        }
        if is_due(self.generation.kill_at()) {
            self.actions.extend(self.generation.pid().map(|pid| Action::Kill { pid }));
            self.generation.killed();
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
