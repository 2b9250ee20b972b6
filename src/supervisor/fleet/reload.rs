//! A new generation beside the old one: begun, judged, and let serve or discarded.

use std::time::Instant;

use tracing::{debug, error, info};

use crate::supervisor::{
    fleet::{
        Action, Fleet, GRACE, Outcome, Phase,
        plan::{counted, words},
        roster::Role,
        succession::Failure,
    },
    generation::Generation,
};

impl Fleet {
    /// What has become of the reload that was to make `generation`; `None` once it can make none any more.
    pub(in crate::supervisor) fn outcome(&self, generation: u32) -> Option<Outcome<'_>> {
        let outcome = self.succession.outcome(generation);
        (outcome != Outcome::Pending || self.phase == Phase::Running).then_some(outcome)
    }

    /// The generation that a reload asked for now will make.
    pub(in crate::supervisor) fn next_generation(&self) -> u32 {
        self.succession.next()
    }

    /// Whether a reload goes on, or is asked for.
    pub(super) fn is_reloading(&self) -> bool {
        !self.succession.is_settled()
    }

    pub(super) fn reload(&mut self) {
        if self.phase != Phase::Running {
            return info!("stopping already: nothing is reloaded");
        }
        if !self.history.was_ready || self.succession.candidate().is_some() {
            info!("reload asked for: it follows the start that goes on");
        }
        self.succession.ask();
    }

    /// Begins the reload that is asked for, unless the first start or too many old generations stand in its way.
    pub(super) fn begin_reload(&mut self, now: Instant) {
        if !self.succession.is_due() || !self.history.was_ready || self.generations.len() >= MOST_GENERATIONS {
            return;
        }
        let serving = self.succession.serving();
        let generation = self.succession.begin(now + self.plan.start_timeout);
        info!("reloading: generation {generation} is started, generation {serving} goes on serving");
        self.generations.insert(generation, Generation::due(now));
    }

    /// Lets the candidate serve if all its workers are ready, and discards it if its time is up.
    pub(super) fn judge_candidate(&mut self, now: Instant) {
        let Some(candidate) = self.succession.candidate() else {
            return;
        };
        if self.roster.serving(candidate) >= self.plan.workers {
            self.promote(candidate, now);
        } else if self.succession.deadline().is_some_and(|deadline| deadline <= now) {
            self.discard(self.describe_delay(candidate), now);
        }
    }

    fn describe_delay(&self, generation: u32) -> String {
        let ready = self.roster.serving(generation);
        let (limit, wanted) = (words(self.plan.start_timeout), counted(self.plan.workers, "worker"));
        format!("not ready within {limit}: {ready} of {wanted}; raise --start-timeout if loading takes that long")
    }

    fn promote(&mut self, generation: u32, now: Instant) {
        let Some(old) = self.succession.promote() else {
            return;
        };
        info!("reloaded: generation {generation} serves, generation {old} finishes what it has");
        self.announce();
        self.dismiss_generation(old, now);
    }

    /// Discards the generation on trial; the one that serves goes on.
    pub(super) fn discard(&mut self, report: String, now: Instant) {
        let serving = self.succession.serving();
        let Some(generation) = self.succession.discard(report) else {
            return;
        };
        let report = self.succession.failure().map_or("", |failure: &Failure| &failure.report);
        error!(
            "reload failed: generation {generation} is discarded; degraded: still serving generation {serving}: {report}"
        );
        self.dismiss_generation(generation, now);
    }

    fn dismiss_generation(&mut self, generation: u32, now: Instant) {
        let slots: Vec<_> = self.roster.of(generation).map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.dismiss(slot, now));
    }

    /// Gives a place up: its worker drains, or is killed if it serves nobody yet.
    pub(super) fn dismiss(&mut self, slot: u32, now: Instant) {
        let kill_at = now + self.plan.leave_timeout;
        let Some(place) = self.roster.get_mut(slot) else {
            return;
        };
        place.role = Role::Leaving;
        if place.life.is_ready() {
            place.life.draining(kill_at);
            self.actions.push_back(Action::Drain { slot, is_last: false });
        } else if place.life.is_starting() {
            // It serves nobody, and an import that hangs would never hear us.
            place.life.killed();
            self.actions.extend(place.life.pid().map(|pid| Action::Kill { pid }));
        }
    }

    /// Lets go of every generation nobody needs; its forkserver stays until its last worker has gone: it is the one that sees them go.
    pub(super) fn retire_generations(&mut self, now: Instant) {
        self.roster.sweep();
        let wanted = |number: u32| self.phase == Phase::Running && self.succession.is_current(number);
        for (number, one) in &mut self.generations {
            let is_needed = self.roster.of(*number).next().is_some() && one.is_serving();
            if !wanted(*number) && !is_needed && one.retire(now, now + GRACE) {
                debug!("generation {number} retires");
                self.actions.push_back(Action::Retire { generation: *number });
            }
        }
        self.generations.retain(|_, one| !one.is_gone());
    }
}

/// More than this many at once, and reloads wait for the oldest to finish what it has.
const MOST_GENERATIONS: usize = 8;
