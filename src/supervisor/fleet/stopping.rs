//! How the fleet comes to its end.

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::{
    net::acceptor::LAST_CALL,
    supervisor::{
        exit::Exit,
        fleet::{Action, Fleet, GRACE, Phase, Stop, plan::words, roster::Role},
        generation::Generation,
    },
};

impl Fleet {
    pub(super) fn stop(&mut self, stop: Stop, now: Instant) {
        if self.phase == Phase::Running {
            info!("stopping: requests in flight may take up to {}", words(self.plan.stop_timeout));
            self.call_off_upgrade(now);
            self.drain(Exit::Stopped, now + self.plan.stop_timeout, true, now);
        } else if stop == Stop::Gracefully && !self.hurry(now) {
            self.force("asked to stop again", now);
        }
        if stop == Stop::AtOnce {
            self.force("asked to stop at once", now);
        }
    }

    /// A first start that failed: nobody is served, so there is nothing to wait for.
    pub(super) fn give_up(&mut self, exit: Exit, reason: String, now: Instant) {
        error!("{reason}");
        self.history.last_words = Some(reason);
        self.drain(exit, now + GRACE, true, now);
    }

    /// Has all workers finish what they have by `deadline`; what waits in the listen queue is for them unless others accept.
    pub(super) fn drain(&mut self, exit: Exit, deadline: Instant, is_last: bool, now: Instant) {
        self.phase = Phase::Stopping { exit, deadline, is_forced: false };
        self.history.last_call = is_last.then(|| now + LAST_CALL + SLACK);
        for (slot, place) in self.roster.iter_mut() {
            place.role = Role::Leaving;
            if place.life.is_ready() {
                place.life.draining(deadline);
                self.actions.push_back(Action::Drain { slot, is_last });
            } else if place.life.is_starting() {
                // It serves nobody, and an import that hangs would never hear us.
                place.life.killed();
                self.actions.extend(place.life.pid().map(|pid| Action::Kill { pid }));
            }
        }
    }

    /// Whether no worker accepts any more, nor any other process in our place.
    pub(super) fn is_closing(&self, now: Instant) -> bool {
        self.history.last_call.is_some_and(|until| until <= now || self.roster.living() == 0)
    }

    /// Kills the workers that are left, and says which.
    pub(super) fn force(&mut self, reason: &str, now: Instant) {
        let Phase::Stopping { exit, is_forced: false, .. } = self.phase else {
            return;
        };
        self.phase = Phase::Stopping { exit, deadline: now + GRACE + GRACE, is_forced: true };
        for (slot, place) in self.roster.iter_mut() {
            if let Some(pid) = place.life.pid() {
                place.life.killed();
                warn!("worker {slot} (pid {pid}) has not finished: {reason}, killing it; its requests are cut");
                self.actions.push_back(Action::Kill { pid });
            }
        }
        self.generations.values_mut().for_each(|one| one.hung_up(now + GRACE));
        self.force_successor(now);
    }

    /// Each forkserver goes when the last of its workers has, and with the last forkserver it is over.
    pub(super) fn finish(&mut self, exit: Exit, now: Instant) {
        self.retire_generations(now);
        if self.roster.is_empty() && self.generations.is_empty() && self.upgrade.is_settled() {
            self.phase = Phase::Over(exit);
        }
    }

    /// A process in an uninterruptible wait cannot be killed, and must not keep us.
    pub(super) fn abandon(&mut self, exit: Exit) {
        let workers = self.roster.iter().filter_map(|(_, place)| place.life.pid());
        let left: Vec<_> = workers.chain(self.generations.values().filter_map(Generation::pid)).collect();
        warn!("processes {left:?} do not end although they were killed; leaving them to the system");
        self.phase = Phase::Over(exit);
    }
}

/// What a worker may hear of its end later than we say it.
const SLACK: Duration = Duration::from_millis(100);
