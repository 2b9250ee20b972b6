//! One worker's life, over and over.

use std::time::{Duration, Instant};

use crate::supervisor::{backoff::Backoff, ending::Ending};

/// A place for one worker, and where the life of the one in it stands.
///
/// ```text
///            due time        Forked           Ready           Drain, Stopping
///   due ───────────▶ requested ───▶ starting ───▶ ready ───▶ draining
///    ▲                                  │           │            │
///    └────────── after a pause ─────────┴── ended ──┴────────────┘
/// ```
///
/// Whether a place that is due is filled again, or given up, is decided in the roster.
#[derive(Debug)]
pub(super) struct WorkerLife {
    state: State,
    backoff: Backoff,
    kill_at: Option<Instant>,
    /// Why the worker there is was killed.
    sentence: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due { at: Instant },
    Requested,
    Starting { pid: i32 },
    Ready { pid: i32, since: Instant },
    Draining { pid: i32 },
}

/// The end of one worker process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Death {
    /// The process that was.
    pub(super) pid: i32,
    /// Whether it had stopped accepting, and so was expected to end.
    pub(super) was_draining: bool,
    /// Whether it had ever been ready.
    pub(super) was_ready: bool,
    /// The pause before it is replaced.
    pub(super) pause: Duration,
    /// Quick deaths in a row in this place, this one included.
    pub(super) in_a_row: u32,
    /// Why it was killed, if the supervisor did that.
    pub(super) sentence: Option<String>,
}

impl Death {
    /// What to do about it, as the end of a phrase: nothing where the supervisor itself knows why.
    pub(super) fn advice(&self, ending: Ending) -> &'static str {
        if self.sentence.is_some() { "" } else { ending.advice() }
    }

    /// How it came about, in words.
    pub(super) fn describe(&self, ending: Ending) -> String {
        ending.because(self.sentence.as_deref())
    }
}

impl WorkerLife {
    /// A place whose first worker is due now.
    pub(super) fn due(now: Instant) -> Self {
        Self { state: State::Due { at: now }, backoff: Backoff::default(), kill_at: None, sentence: None }
    }

    /// When a worker is to be asked for, if this place waits for that.
    pub(super) fn due_at(&self) -> Option<Instant> {
        if let State::Due { at } = self.state { Some(at) } else { None }
    }

    /// When the worker is to be killed if it has not ended by itself.
    pub(super) fn kill_at(&self) -> Option<Instant> {
        self.pid().and(self.kill_at)
    }

    /// The process, while there is one.
    pub(super) fn pid(&self) -> Option<i32> {
        match self.state {
            State::Starting { pid } | State::Ready { pid, .. } | State::Draining { pid } => Some(pid),
            State::Due { .. } | State::Requested => None,
        }
    }

    /// Whether connections are being accepted.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// Whether the application is being loaded, so that no request can be cut.
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting { .. })
    }

    /// Whether it has stopped accepting and finishes what it has.
    pub(super) fn is_draining(&self) -> bool {
        matches!(self.state, State::Draining { .. })
    }

    /// Since when connections have been accepted, if they are.
    pub(super) fn ready_since(&self) -> Option<Instant> {
        if let State::Ready { since, .. } = self.state { Some(since) } else { None }
    }

    /// The state's name, as operators read it.
    pub(super) fn state(&self) -> &'static str {
        match self.state {
            State::Due { .. } => "due",
            State::Requested | State::Starting { .. } => "starting",
            State::Ready { .. } => "ready",
            State::Draining { .. } => "draining",
        }
    }

    /// A forkserver was asked for a worker.
    pub(super) fn requested(&mut self) {
        self.state = State::Requested;
    }

    /// The request, if there is one, will not be answered; the next may be made at `at`.
    pub(super) fn request_lost(&mut self, at: Instant) {
        if self.state == State::Requested {
            self.state = State::Due { at };
        }
    }

    /// The process runs, and has until `kill_at` to be ready; false when nobody had asked for it.
    pub(super) fn forked(&mut self, pid: i32, kill_at: Instant) -> bool {
        let is_wanted = self.state == State::Requested;
        if is_wanted {
            self.state = State::Starting { pid };
            self.kill_at = Some(kill_at);
        }
        is_wanted
    }

    /// The application is loaded; false when that is no news.
    pub(super) fn ready(&mut self, now: Instant) -> bool {
        let State::Starting { pid } = self.state else {
            return false;
        };
        self.state = State::Ready { pid, since: now };
        self.kill_at = None;
        true
    }

    /// The worker accepts no more, and has until `kill_at` to finish.
    pub(super) fn draining(&mut self, kill_at: Instant) {
        if let State::Ready { pid, .. } = self.state {
            self.state = State::Draining { pid };
            self.kill_at = Some(kill_at);
        }
    }

    /// The worker, if it is to be killed, is not before `at`.
    pub(super) fn spare(&mut self, at: Instant) {
        self.kill_at = self.kill_at.map(|kill_at| kill_at.max(at));
    }

    /// The worker cannot be spoken to any more: it has to end by itself until `kill_at`, unless it is draining anyway.
    pub(super) fn hung_up(&mut self, kill_at: Instant) {
        if !matches!(self.state, State::Draining { .. }) {
            self.kill_at = Some(kill_at);
        }
    }

    /// The worker was killed; nothing but its end can follow.
    pub(super) fn killed(&mut self) {
        self.kill_at = None;
    }

    /// The worker was killed for that reason.
    pub(super) fn condemned(&mut self, reason: &str) {
        self.killed();
        self.sentence = Some(reason.to_owned());
    }

    /// Quick deaths in a row in this place so far; they are forgotten at the first death after a long life.
    pub(super) fn failures(&self) -> u32 {
        self.backoff.deaths()
    }

    /// The process has ended; the next one is due after a pause.
    pub(super) fn ended(&mut self, now: Instant) -> Option<Death> {
        let pid = self.pid()?;
        let was_draining = matches!(self.state, State::Draining { .. });
        let lived = match self.state {
            State::Ready { since, .. } => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        };
        let pause = if was_draining { Duration::ZERO } else { self.backoff.died(lived) };
        let death = Death {
            pid,
            was_draining,
            was_ready: was_draining || self.is_ready(),
            pause,
            in_a_row: self.backoff.deaths(),
            sentence: self.sentence.take(),
        };
        self.state = State::Due { at: now + pause };
        Some(death)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    fn starting(now: Instant) -> WorkerLife {
        let mut worker = WorkerLife::due(now);
        worker.requested();
        assert!(worker.forked(1, now + SOON));
        worker
    }

    #[test]
    fn a_life_goes_from_due_to_ready_and_back() {
        let now = Instant::now();
        let mut worker = WorkerLife::due(now);
        assert_eq!(worker.due_at(), Some(now));
        worker.requested();
        assert_eq!((worker.due_at(), worker.pid()), (None, None));
        assert!(worker.forked(7, now + SOON) && worker.is_starting());
        assert!(worker.ready(now) && worker.is_ready());
        assert_eq!(worker.pid(), Some(7));
        let death = worker.ended(now).unwrap();
        assert_eq!((death.pid, death.was_ready, death.was_draining, death.pause), (7, true, false, Duration::ZERO));
        assert_eq!(worker.due_at(), Some(now));
    }

    #[test]
    fn deaths_before_being_ready_are_counted_and_paused_for() {
        let now = Instant::now();
        let mut worker = WorkerLife::due(now);
        let mut pauses = vec![];
        for _ in 0..4 {
            worker.requested();
            worker.forked(1, now + SOON);
            let death = worker.ended(now + Duration::from_secs(60)).unwrap();
            assert!(!death.was_ready);
            pauses.push((death.in_a_row, death.pause.as_millis()));
        }
        assert_eq!(pauses, [(1, 0), (2, 100), (3, 200), (4, 400)]);
    }

    #[test]
    fn a_worker_that_drained_is_replaced_without_a_pause() {
        let now = Instant::now();
        let mut worker = starting(now);
        worker.ready(now);
        worker.draining(now);
        let death = worker.ended(now).unwrap();
        assert!(death.was_draining && death.was_ready && death.pause.is_zero() && death.in_a_row == 0);
    }

    #[test]
    fn words_that_come_too_late_change_nothing() {
        let now = Instant::now();
        let mut worker = WorkerLife::due(now);
        assert!(!worker.forked(1, now) && !worker.ready(now) && worker.ended(now).is_none());
        worker.draining(now);
        worker.request_lost(now + Duration::from_secs(1));
        assert_eq!(worker.due_at(), Some(now));
    }

    #[test]
    fn a_draining_worker_needs_no_channel_any_more() {
        let now = Instant::now();
        let mut worker = starting(now);
        worker.ready(now);
        let later = now + Duration::from_secs(25);
        worker.draining(later);
        worker.hung_up(now);
        assert_eq!(worker.kill_at(), Some(later));
    }

    #[test]
    fn a_death_names_the_reason_of_a_kill_and_the_next_one_does_not() {
        let now = Instant::now();
        let mut worker = starting(now);
        worker.condemned("it is too large");
        let killed = Ending::Signal(libc::SIGKILL);
        assert_eq!(worker.ended(now).unwrap().describe(killed), "SIGKILL, because it is too large");
        worker.requested();
        worker.forked(2, now + SOON);
        assert_eq!(worker.ended(now).unwrap().describe(killed), "SIGKILL");
    }

    #[test]
    fn only_a_living_worker_has_a_time_to_be_killed() {
        let now = Instant::now();
        let mut worker = starting(now);
        worker.hung_up(now);
        assert_eq!(worker.kill_at(), Some(now));
        worker.ended(now);
        assert_eq!(worker.kill_at(), None);
        worker.requested();
        worker.forked(3, now + SOON);
        assert_eq!(worker.kill_at(), Some(now + SOON));
        worker.ready(now);
        assert_eq!(worker.kill_at(), None);
    }
}
