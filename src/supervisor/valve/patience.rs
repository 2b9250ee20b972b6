//! How long peers are willing to wait, learned from those who leave.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Knows how long the one in front has waited, and lowers what may be waited when many of those in front have left.
///
/// Without this, clients that give up before the queue timeout would keep the queue just as long as they wait, and everybody
/// would be served a moment before, or after, he leaves.
#[derive(Debug)]
pub(super) struct Patience {
    /// How many had come by when, for those who still wait; oldest first.
    arrivals: VecDeque<(Instant, u64)>,
    /// `None` while nothing is known.
    learned: Option<Duration>,
    lowered_at: Option<Instant>,
    /// Requests that began, and peers that had left, lately.
    begun: f64,
    left: f64,
}

/// What has happened since the last time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    /// For how long.
    pub(super) elapsed: Duration,
    /// Requests that began.
    pub(super) begun: u64,
    /// Requests that did not, because their peers had left.
    pub(super) left: u64,
}

impl Patience {
    /// Nobody is known yet.
    pub(super) fn new() -> Self {
        Self { arrivals: VecDeque::new(), learned: None, lowered_at: None, begun: 0.0, left: 0.0 }
    }

    /// Takes notice: so many connections have come and gone from the queue so far.
    pub(super) fn observe(&mut self, now: Instant, [come, gone]: [u64; 2], since: Since) {
        let age = self.age(now, gone);
        if self.arrivals.len() >= MOST {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((now, come));
        let kept = (-since.elapsed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        (self.begun, self.left) = (self.begun * kept + since.begun as f64, self.left * kept + since.left as f64);
        let growth = (since.elapsed.as_secs_f64() / DOUBLING.as_secs_f64()).exp2();
        self.learned = self.learned.and_then(|learned| scaled(learned, growth)).filter(|learned| *learned < FORGOTTEN);
        let has_lowered = self.lowered_at.is_some_and(|at| now.saturating_duration_since(at) < PAUSE);
        if since.left > 0 && self.left >= ENOUGH && self.left * 4.0 >= self.begun && !has_lowered {
            let half = (age / 2).max(LEAST);
            self.learned = Some(self.learned.map_or(half, |learned| learned.min(half)));
            self.lowered_at = Some(now);
        }
    }

    /// What may be waited, if that is less than `timeout`.
    pub(super) fn limit(&self, timeout: Duration) -> Duration {
        self.learned.map_or(timeout, |learned| learned.min(timeout))
    }

    /// How long the one in front has waited when so many have gone from the queue.
    fn age(&mut self, now: Instant, gone: u64) -> Duration {
        while self.arrivals.front().is_some_and(|(_, come)| *come <= gone) {
            self.arrivals.pop_front();
        }
        self.arrivals.front().map_or(Duration::ZERO, |(at, _)| now.saturating_duration_since(*at))
    }
}

fn scaled(time: Duration, factor: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(time.as_secs_f64() * factor).ok()
}

/// As far back as it looks at who has left.
const MEMORY: Duration = Duration::from_millis(500);
/// So many say more than one who closes a window.
const ENOUGH: f64 = 3.0;
/// What was decided takes a while to show.
const PAUSE: Duration = Duration::from_secs(1);
const LEAST: Duration = Duration::from_millis(250);
/// Peers change: what was learned is worth half as much after that.
const DOUBLING: Duration = Duration::from_secs(30);
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// Moments that are remembered, a hundred a second at most.
const MOST: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(25);
    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Ten come at every tick, and those who have waited for two seconds are served, or have left.
    fn wait_two_seconds(patience: &mut Patience, since: Since) -> Instant {
        let start = Instant::now();
        for tick in 0..100_u32 {
            let (come, gone) = (10 * u64::from(tick) + 10, 10 * u64::from(tick.saturating_sub(80)));
            patience.observe(start + TICK * tick, [come, gone], since);
        }
        start + TICK * 100
    }

    #[test]
    fn half_of_what_those_waited_who_left_is_what_others_may_wait() {
        let mut patience = Patience::new();
        assert_eq!(patience.limit(TIMEOUT), TIMEOUT);
        wait_two_seconds(&mut patience, Since { elapsed: TICK, begun: 10, left: 0 });
        assert_eq!(patience.limit(TIMEOUT), TIMEOUT);
        let now = wait_two_seconds(&mut patience, Since { elapsed: TICK, begun: 0, left: 0 });
        patience.observe(now, [1010, 200], Since { elapsed: TICK, begun: 0, left: 10 });
        let learned = patience.limit(TIMEOUT).as_millis();
        assert!((950..1050).contains(&learned), "{learned}");
    }

    #[test]
    fn a_few_who_leave_teach_nothing() {
        let mut patience = Patience::new();
        let now = wait_two_seconds(&mut patience, Since { elapsed: TICK, begun: 10, left: 1 });
        assert_eq!(patience.limit(TIMEOUT), TIMEOUT);
        let later = now + Duration::from_secs(5);
        patience.observe(later, [1010, 200], Since { elapsed: later - now, begun: 0, left: 2 });
        assert_eq!(patience.limit(TIMEOUT), TIMEOUT);
    }

    #[test]
    fn it_is_lowered_once_at_a_time_and_forgotten_slowly() {
        let mut patience = Patience::new();
        let now = wait_two_seconds(&mut patience, Since { elapsed: TICK, begun: 0, left: 0 });
        for tick in 0..10 {
            patience.observe(now + TICK * tick, [1010, 900], Since { elapsed: TICK, begun: 0, left: 10 });
        }
        let learned = patience.limit(TIMEOUT);
        assert!(learned >= LEAST, "{learned:?}");
        patience.observe(now + DOUBLING, [1010, 1010], Since { elapsed: DOUBLING, begun: 0, left: 0 });
        assert!(patience.limit(TIMEOUT) > learned * 19 / 10, "{patience:?}");
        let long = DOUBLING * 100;
        patience.observe(now + long, [1010, 1010], Since { elapsed: long, begun: 0, left: 0 });
        assert_eq!(patience.limit(TIMEOUT), TIMEOUT);
    }
}
