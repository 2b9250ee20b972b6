//! How often the supervisor looks at the listen queues: not at all while nothing happens.

use std::time::{Duration, Instant};

/// When to look next.
///
/// ```text
///              a connection waits                 nothing for a second
///   resting ──────────────────────▶ looking ──────────────────────────▶ resting
/// ```
///
/// While it rests, the listening sockets themselves wake the supervisor.
#[derive(Debug)]
pub(super) struct Cadence {
    due_at: Option<Instant>,
    quiet_since: Instant,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nobody waits, and no request has begun since the last look.
    Quiet,
    /// Requests are served as they come.
    Traffic,
    /// Connections wait.
    Waiting,
    /// So many wait that room may run out.
    Crowd,
}

impl Cadence {
    /// The first look is due now.
    pub(super) fn new(now: Instant) -> Self {
        Self { due_at: Some(now), quiet_since: now }
    }

    /// When to look next; nothing until a connection comes.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Whether the listening sockets are to wake us.
    pub(super) fn is_resting(&self) -> bool {
        self.due_at.is_none()
    }

    /// A connection has come.
    pub(super) fn wake(&mut self, now: Instant) {
        self.due_at = Some(now);
        self.quiet_since = now;
    }

    /// A look now has found this.
    pub(super) fn looked(&mut self, found: Found, now: Instant) {
        if found != Found::Quiet {
            self.quiet_since = now;
        }
        let period = match found {
            Found::Quiet if now.saturating_duration_since(self.quiet_since) >= QUIET => None,
            Found::Quiet | Found::Traffic => Some(CALM),
            Found::Waiting => Some(BRISK),
            Found::Crowd => Some(BUSY),
        };
        self.due_at = period.map(|period| now + period);
    }
}

const QUIET: Duration = Duration::from_secs(1);
const CALM: Duration = Duration::from_millis(100);
const BRISK: Duration = Duration::from_millis(25);
const BUSY: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_wait_the_more_often_it_looks() {
        let now = Instant::now();
        let mut cadence = Cadence::new(now);
        let periods = [Found::Traffic, Found::Waiting, Found::Crowd].map(|found| {
            cadence.looked(found, now);
            cadence.due_at().unwrap() - now
        });
        assert!(periods.is_sorted_by(|first, second| first > second), "{periods:?}");
    }

    #[test]
    fn it_rests_when_nothing_happens_and_until_somebody_comes() {
        let start = Instant::now();
        let mut cadence = Cadence::new(start);
        let mut looks = 0;
        while let Some(now) = cadence.due_at() {
            cadence.looked(Found::Quiet, now);
            looks += 1;
        }
        assert!(cadence.is_resting() && looks < 15, "{looks}");
        let later = start + Duration::from_secs(3600);
        cadence.wake(later);
        assert_eq!(cadence.due_at(), Some(later));
        cadence.looked(Found::Quiet, later);
        assert_eq!(cadence.due_at(), Some(later + CALM));
    }
}
