//! One generation's life: a forkserver with the code it has loaded, from which workers are forked.

use std::time::{Duration, Instant};

use crate::supervisor::{backoff::Backoff, ending::Ending};

/// One generation, and where its forkserver's life stands.
///
/// ```text
///         due time        forked         Loaded      no workers left       ended
///   due ─────────▶ requested ───▶ starting ───▶ serving ───────────▶ retiring ───▶ gone
///    ▲                │              │             │
///    └────────────────┴── ended ─────┴─────────────┘ after a pause, while workers are wanted
/// ```
#[derive(Debug)]
pub(super) struct Generation {
    life: Life,
    backoff: Backoff,
    kill_at: Option<Instant>,
    /// Why the forkserver there is was killed.
    sentence: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Due { at: Instant },
    Requested,
    Starting { pid: i32 },
    Serving { pid: i32, since: Instant },
    Retiring { pid: i32 },
    Gone,
}

/// The end of one forkserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Death {
    /// The process that was; `None` when it could not even be forked.
    pub(super) pid: Option<i32>,
    /// The pause before the next one is started.
    pub(super) pause: Duration,
    /// Quick deaths in a row, this one included.
    pub(super) in_a_row: u32,
    /// Why it was killed, if the supervisor did that.
    pub(super) sentence: Option<&'static str>,
}

impl Death {
    /// What to do about it, as the end of a phrase: nothing where the supervisor itself knows why.
    pub(super) fn advice(&self, ending: Ending) -> &'static str {
        if self.sentence.is_some() { "" } else { ending.advice() }
    }
}

impl Generation {
    /// A generation whose forkserver is due now.
    pub(super) fn due(now: Instant) -> Self {
        Self { life: Life::Due { at: now }, backoff: Backoff::default(), kill_at: None, sentence: None }
    }

    /// When its forkserver is to be started, if it waits for that.
    pub(super) fn due_at(&self) -> Option<Instant> {
        if let Life::Due { at } = self.life { Some(at) } else { None }
    }

    /// When its forkserver is to be killed if it has not ended by itself.
    pub(super) fn kill_at(&self) -> Option<Instant> {
        self.pid().and(self.kill_at)
    }

    /// The forkserver's process, while there is one.
    pub(super) fn pid(&self) -> Option<i32> {
        match self.life {
            Life::Starting { pid } | Life::Serving { pid, .. } | Life::Retiring { pid } => Some(pid),
            Life::Due { .. } | Life::Requested | Life::Gone => None,
        }
    }

    /// Whether it is still loading.
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.life, Life::Starting { .. })
    }

    /// Whether workers can be asked for.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.life, Life::Serving { .. })
    }

    /// Whether there is no forkserver and will be none.
    pub(super) fn is_gone(&self) -> bool {
        self.life == Life::Gone
    }

    /// Its forkserver is being forked.
    pub(super) fn requested(&mut self) {
        self.life = Life::Requested;
    }

    /// The forkserver runs, and has until `kill_at` to load.
    pub(super) fn started(&mut self, pid: i32, kill_at: Instant) {
        self.life = Life::Starting { pid };
        self.kill_at = Some(kill_at);
    }

    /// Everything is loaded that workers share.
    pub(super) fn loaded(&mut self, now: Instant) {
        if let Life::Starting { pid } = self.life {
            self.life = Life::Serving { pid, since: now };
            self.kill_at = None;
        }
    }

    /// No more workers are wanted; returns whether the forkserver is to be told, and it has until `kill_at` to end.
    ///
    /// One that is still loading is not waited for: it serves nobody and may never come to listen.
    pub(super) fn retire(&mut self, now: Instant, kill_at: Instant) -> bool {
        match self.life {
            Life::Due { .. } => self.life = Life::Gone,
            Life::Starting { pid } => (self.life, self.kill_at) = (Life::Retiring { pid }, Some(now)),
            Life::Serving { pid, .. } => {
                (self.life, self.kill_at) = (Life::Retiring { pid }, Some(kill_at));
                return true;
            }
            Life::Requested | Life::Retiring { .. } | Life::Gone => {}
        }
        false
    }

    /// The forkserver cannot be spoken to any more: it has to end by itself until `kill_at`.
    pub(super) fn hung_up(&mut self, kill_at: Instant) {
        self.kill_at = Some(self.kill_at.map_or(kill_at, |at| at.min(kill_at)));
    }

    /// The forkserver was killed for that reason; nothing but its end can follow.
    pub(super) fn condemned(&mut self, reason: &'static str) {
        self.kill_at = None;
        self.sentence = Some(reason);
    }

    /// Quick deaths in a row of its forkserver so far; they are forgotten at the first death after a long life.
    pub(super) fn failures(&self) -> u32 {
        self.backoff.deaths()
    }

    /// The forkserver has ended, or could not be started; unless it was to retire, the next one is due.
    pub(super) fn ended(&mut self, now: Instant) -> Option<Death> {
        let (pid, sentence) = (self.pid(), self.sentence.take());
        let lived = match self.life {
            Life::Serving { since, .. } => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        };
        if matches!(self.life, Life::Retiring { .. } | Life::Gone) {
            self.life = Life::Gone;
            return None;
        }
        let pause = self.backoff.died(lived);
        self.life = Life::Due { at: now + pause };
        Some(Death { pid, pause, in_a_row: self.backoff.deaths(), sentence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOADING: Duration = Duration::from_secs(60);

    fn starting(now: Instant) -> Generation {
        let mut generation = Generation::due(now);
        generation.requested();
        generation.started(5, now + LOADING);
        generation
    }

    #[test]
    fn a_generation_serves_after_it_has_loaded_and_is_gone_after_it_has_retired() {
        let now = Instant::now();
        let mut generation = starting(now);
        assert!(generation.is_starting() && !generation.is_serving());
        assert_eq!(generation.kill_at(), Some(now + LOADING));
        generation.loaded(now);
        assert!(generation.is_serving());
        assert_eq!(generation.kill_at(), None);
        let later = now + Duration::from_secs(1);
        assert!(generation.retire(now, later));
        assert!(!generation.retire(now, later + Duration::from_secs(1)));
        assert_eq!((generation.pid(), generation.kill_at()), (Some(5), Some(later)));
        assert_eq!(generation.ended(now), None);
        assert!(generation.is_gone());
    }

    #[test]
    fn a_forkserver_that_dies_is_followed_by_another() {
        let now = Instant::now();
        let mut generation = starting(now);
        generation.loaded(now);
        let death = generation.ended(now).unwrap();
        assert_eq!((death.pid, death.pause, death.in_a_row), (Some(5), Duration::ZERO, 1));
        assert_eq!(generation.due_at(), Some(now));
        let death = generation.ended(now).unwrap();
        assert_eq!((death.pid, death.pause.as_millis(), death.in_a_row), (None, 100, 2));
    }

    #[test]
    fn one_that_is_still_loading_is_killed_rather_than_told() {
        let now = Instant::now();
        let mut generation = starting(now);
        assert!(!generation.retire(now, now + Duration::from_secs(1)));
        assert_eq!(generation.kill_at(), Some(now));
    }

    #[test]
    fn one_that_was_never_started_retires_at_once() {
        let now = Instant::now();
        let mut generation = Generation::due(now);
        assert!(!generation.retire(now, now));
        assert!(generation.is_gone());
    }

    #[test]
    fn one_that_hangs_up_while_it_loads_has_the_shorter_time() {
        let now = Instant::now();
        let mut generation = starting(now);
        let soon = now + Duration::from_secs(5);
        generation.hung_up(soon);
        assert_eq!(generation.kill_at(), Some(soon));
        generation.hung_up(now + LOADING);
        assert_eq!(generation.kill_at(), Some(soon));
    }
}
