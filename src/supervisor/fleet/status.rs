//! What the fleet looks like at one moment, for operators and their tools.

use std::time::Instant;

use serde::Serialize;

use crate::supervisor::fleet::{Fleet, Phase};

/// A picture of the fleet; its JSON form is what the admin socket's `/status` answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Status {
    /// rusgi's version.
    pub(crate) version: &'static str,
    /// The supervisor's process.
    pub(crate) pid: u32,
    /// `starting`, `ready`, `down`, `reloading` or `stopping`.
    pub(crate) state: &'static str,
    /// The generation that serves.
    pub(crate) generation: u32,
    /// The generation that is being proved, during a reload.
    pub(crate) candidate: Option<u32>,
    /// Why the latest generation does not serve.
    pub(crate) degraded: Option<Degraded>,
    /// That no worker serves, and why.
    pub(crate) outage: Option<OutageStatus>,
    /// What has become of the latest upgrade.
    pub(crate) upgrade: Option<UpgradeStatus>,
    /// How many workers are wanted now.
    pub(crate) wanted: usize,
    /// How few there may be.
    pub(crate) least: usize,
    /// How many there may be.
    pub(crate) most: usize,
    /// The workers there are, lowest number first.
    pub(crate) workers: Vec<WorkerStatus>,
}

/// A reload that failed, with the older generation still serving.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Degraded {
    /// The generation that was discarded.
    pub(crate) generation: u32,
    /// The traceback, or how it ended.
    pub(crate) reason: String,
}

/// A time in which no worker serves, although there was one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OutageStatus {
    /// How long it has lasted, in seconds.
    pub(crate) lasted: f64,
    /// The last thing that went wrong; empty where nothing did.
    pub(crate) reason: String,
    /// Seconds until another worker is started; nothing while one starts.
    pub(crate) retry_in: Option<f64>,
}

/// The latest attempt to replace this process by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct UpgradeStatus {
    /// `starting`, `failed` or `done`.
    pub(crate) state: &'static str,
    /// The other process, unless that has failed.
    pub(crate) pid: Option<i32>,
    /// Why it has failed.
    pub(crate) reason: Option<String>,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct WorkerStatus {
    /// Its number, as in the log.
    pub(crate) worker: u32,
    /// Its process, while there is one.
    pub(crate) pid: Option<i32>,
    /// The generation it belongs to.
    pub(crate) generation: u32,
    /// `due`, `starting`, `ready` or `draining`.
    pub(crate) state: &'static str,
    /// How long it has been ready, in seconds; nothing in any other state.
    pub(crate) age: Option<f64>,
}

impl Fleet {
    /// What it looks like now.
    pub(in crate::supervisor) fn status(&self, now: Instant) -> Status {
        let degraded = self.succession.failure();
        let workers = self.roster.iter().map(|(slot, place)| WorkerStatus {
            worker: slot,
            pid: place.life.pid(),
            generation: place.generation,
            state: place.life.state(),
            age: place.life.ready_since().map(|since| now.saturating_duration_since(since).as_secs_f64()),
        });
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            state: self.state(),
            generation: self.succession.serving(),
            candidate: self.succession.candidate(),
            degraded: degraded
                .map(|failure| Degraded { generation: failure.generation, reason: failure.report.clone() }),
            outage: self.outage_status(now),
            upgrade: self.upgrade_status(),
            wanted: self.plan.workers,
            least: self.plan.range.least,
            most: self.plan.range.most,
            workers: workers.collect(),
        }
    }

    fn outage_status(&self, now: Instant) -> Option<OutageStatus> {
        let (since, reason) = self.outage.since().filter(|_| self.is_down())?;
        let retry_in = self.next_start().map(|at| at.saturating_duration_since(now).as_secs_f64());
        let lasted = now.saturating_duration_since(since).as_secs_f64();
        Some(OutageStatus { lasted, reason: reason.to_owned(), retry_in })
    }

    fn upgrade_status(&self) -> Option<UpgradeStatus> {
        let (state, pid, reason) = self.upgrade.describe()?;
        Some(UpgradeStatus { state, pid, reason: reason.map(String::from) })
    }

    /// Whether requests are served: all workers have been ready once, and at least one is now.
    pub(in crate::supervisor) fn is_ready(&self) -> bool {
        self.phase == Phase::Running && self.history.was_announced && self.roster.has_ready()
    }

    /// Whether nobody serves who is to: the reason why it is not ready, once it has been.
    pub(super) fn is_down(&self) -> bool {
        self.phase == Phase::Running && self.history.was_announced && !self.roster.has_ready()
    }

    /// Whether it takes no orders any more but to stop at once.
    pub(in crate::supervisor) fn is_stopping(&self) -> bool {
        self.phase != Phase::Running
    }

    /// The state's name, as operators read it.
    pub(in crate::supervisor) fn state(&self) -> &'static str {
        match self.phase {
            Phase::Running if !self.history.was_announced => "starting",
            Phase::Running if self.is_down() => "down",
            Phase::Running if self.succession.is_settled() => "ready",
            Phase::Running => "reloading",
            Phase::Stopping { .. } | Phase::Over(_) => "stopping",
        }
    }

    /// All workers there are: their processes by slot.
    pub(in crate::supervisor) fn living(&self) -> Vec<(u32, i32)> {
        self.roster.iter().filter_map(|(slot, place)| Some((slot, place.life.pid()?))).collect()
    }
}
