//! When nobody serves, and nothing says that it will be over in a moment.

use std::time::{Duration, Instant};

use crate::supervisor::{
    fleet::{Fleet, Phase},
    generation::Generation,
};

/// How requests that wait now are going to fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Situation<'a> {
    /// Nobody has ever been ready: the application is being loaded for the first time.
    Starting,
    /// Somebody serves, or will in a moment.
    Serving,
    /// Whoever is started dies, again and again.
    Down(Down<'a>),
    /// Nobody is to serve any more, but who waits may still be accepted: by workers that drain, or in a successor.
    Stopping,
    /// Nobody accepts any more: whoever waits will not be served.
    Closing,
}

/// Why nobody serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) struct Down<'a> {
    /// For the operator: the last thing that went wrong.
    pub(in crate::supervisor) cause: &'a str,
    /// For clients: whether the application did not even load.
    pub(in crate::supervisor) is_unloadable: bool,
    /// When it is tried again.
    pub(in crate::supervisor) retry_in: Duration,
}

/// Since when nobody serves, and what went wrong last.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    cause: String,
    is_unloadable: bool,
}

impl Outage {
    /// A process has died.
    pub(super) fn died(&mut self, who: &str, how: &str) {
        // That it exits after it could not load says less than the reason.
        if !self.is_unloadable {
            self.cause = format!("{who} died: {how}");
        }
    }

    /// Since when nobody serves, and what went wrong last.
    pub(super) fn since(&self) -> Option<(Instant, &str)> {
        self.since.map(|since| (since, &*self.cause))
    }

    /// The application could not be loaded.
    pub(super) fn load_failed(&mut self, report: &str) {
        self.cause = gist(report).to_owned();
        self.is_unloadable = true;
    }
}

impl Fleet {
    /// How requests that wait now are going to fare.
    pub(in crate::supervisor) fn situation(&self, now: Instant) -> Situation<'_> {
        match self.phase {
            Phase::Running if !self.history.was_ready => Situation::Starting,
            Phase::Running if self.is_hopeless(now) => Situation::Down(Down {
                cause: &self.outage.cause,
                is_unloadable: self.outage.is_unloadable,
                retry_in: self.next_start().map(|at| at.saturating_duration_since(now)).unwrap_or_default(),
            }),
            Phase::Running => Situation::Serving,
            Phase::Stopping { .. } | Phase::Over(_) if self.is_closing(now) => Situation::Closing,
            Phase::Stopping { .. } | Phase::Over(_) => Situation::Stopping,
        }
    }

    /// How many desks there are to be.
    pub(in crate::supervisor) fn desks(&self) -> usize {
        self.plan.workers.saturating_mul(self.plan.threads)
    }

    /// Notes since when nobody serves.
    pub(super) fn notice_outage(&mut self, now: Instant) {
        if self.roster.has_ready() {
            self.outage = Outage::default();
        } else {
            self.outage.since.get_or_insert(now);
        }
    }

    fn is_hopeless(&self, now: Instant) -> bool {
        let is_long = |since: Instant| now.saturating_duration_since(since) >= PATIENCE;
        let serving = self.succession.serving();
        let worst = self.roster.of(serving).map(|(_, place)| place.life.failures()).max();
        let forkserver = self.generations.get(&serving).map(Generation::failures);
        self.outage.since.is_some_and(is_long) && worst.max(forkserver) >= Some(MANY)
    }
}

/// The line of a report that says most: the last of its traceback, which names the exception.
pub(super) fn gist(report: &str) -> &str {
    let says = |line: &&str| !line.is_empty() && !line.starts_with("hint:");
    report.lines().map(str::trim).rfind(says).unwrap_or_default()
}

/// A replacement that comes within that time is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many quick deaths in a row are no accident.
const MANY: u32 = 3;

#[cfg(test)]
mod tests {
    use super::gist;

    #[test]
    fn a_report_s_gist_is_the_exception_and_not_the_advice() {
        let report = "app: could not be imported\nTraceback\nModuleNotFoundError: No module named 'nope'\nhint: nope is not installed\n\n";
        assert_eq!(gist(report), "ModuleNotFoundError: No module named 'nope'");
        assert_eq!(gist("killed by SIGKILL"), "killed by SIGKILL");
        assert_eq!(gist(""), "");
    }
}
