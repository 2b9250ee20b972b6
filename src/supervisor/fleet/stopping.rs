//! How the fleet comes to its end.

use std::time::Instant;

use tracing::{info, warn};

use crate::supervisor::{
    exit::Exit,
    fleet::{Action, Fleet, GRACE, Phase, Stop, plan::words},
    life::WorkerLife,
};

impl Fleet {
    pub(super) fn stop(&mut self, stop: Stop, now: Instant) {
        if self.phase == Phase::Running {
            info!("stopping: requests in flight may take up to {}", words(self.plan.stop_timeout));
            self.drain(Exit::Stopped, now + self.plan.stop_timeout);
        } else if stop == Stop::Gracefully {
            self.force("asked to stop again", now);
        }
        if stop == Stop::AtOnce {
            self.force("asked to stop at once", now);
        }
    }

    /// A first start that failed: nobody is served, so there is nothing to wait for.
    pub(super) fn give_up(&mut self, exit: Exit, now: Instant) {
        self.drain(exit, now + GRACE);
    }

    fn drain(&mut self, exit: Exit, deadline: Instant) {
        self.phase = Phase::Stopping { exit, deadline, is_forced: false };
        for (slot, worker) in &mut self.workers {
            if worker.is_ready() {
                worker.draining(deadline);
                self.actions.push_back(Action::Drain { slot: *slot });
            } else if worker.is_starting() {
                // It serves nobody, and an import that hangs would never hear us.
                self.actions.extend(worker.pid().map(|pid| Action::Kill { pid }));
            }
        }
    }

    /// Kills the workers that are left, and says which.
    pub(super) fn force(&mut self, reason: &str, now: Instant) {
        let Phase::Stopping { exit, is_forced: false, .. } = self.phase else {
            return;
        };
        self.phase = Phase::Stopping { exit, deadline: now + GRACE + GRACE, is_forced: true };
        for (slot, worker) in &mut self.workers {
            if let Some(pid) = worker.pid() {
                worker.killed();
                warn!("worker {slot} (pid {pid}) has not finished: {reason}, killing it; its requests are cut");
                self.actions.push_back(Action::Kill { pid });
            }
        }
        self.generation.hung_up(now + GRACE);
    }

    /// The forkserver stays until the last worker has gone: it is the one that sees them go.
    pub(super) fn finish(&mut self, exit: Exit, now: Instant) {
        self.workers.values_mut().for_each(WorkerLife::close);
        let is_empty = self.workers.values().all(WorkerLife::is_gone);
        if is_empty || !self.generation.is_serving() {
            self.retire(now);
        }
        if is_empty && self.generation.is_gone() {
            self.phase = Phase::Over(exit);
        }
    }

    fn retire(&mut self, now: Instant) {
        if self.generation.retire(now, now + GRACE) {
            self.actions.push_back(Action::Retire);
        }
    }

    /// A process in an uninterruptible wait cannot be killed, and must not keep us.
    pub(super) fn abandon(&mut self, exit: Exit) {
        let left: Vec<_> = self.workers.values().filter_map(WorkerLife::pid).chain(self.generation.pid()).collect();
        warn!("processes {left:?} do not end although they were killed; leaving them to the system");
        self.phase = Phase::Over(exit);
    }
}
