//! How fast requests are served, from how many began while how many desks were at work.

use std::time::Duration;

/// The mean time a desk takes for a request, over the most recent work of all desks (Little's law: desks at work = requests a
/// second x seconds a request). What is long ago counts less; idle time does not age it, so a quiet night forgets nothing.
#[derive(Debug)]
pub(super) struct Pace {
    /// Requests, weighted by age.
    requests: f64,
    /// Desk-seconds they took, weighted alike.
    work: f64,
    /// Seconds of all desks' work after which old work counts a third.
    window: f64,
}

impl Pace {
    /// Knows nothing yet but that each of the `desks` will serve a request.
    pub(super) fn new(desks: usize, window: Duration) -> Self {
        Self { requests: desks as f64, work: 0.0, window: window.as_secs_f64() }
    }

    /// `begun` requests began while `engaged` of the `desks` were at work, or absent, for `elapsed`.
    pub(super) fn observe(&mut self, begun: u64, [engaged, desks]: [usize; 2], elapsed: Duration) {
        let work = engaged as f64 * elapsed.as_secs_f64();
        let kept = (-work / (desks.max(1) as f64 * self.window)).exp();
        self.requests = self.requests * kept + begun as f64;
        self.work = self.work * kept + work;
    }

    /// Requests a second that so many `desks` serve when all are at work; infinite while nobody knows.
    pub(super) fn capacity(&self, desks: usize) -> f64 {
        if self.work > 0.0 { desks as f64 * self.requests / self.work } else { f64::INFINITY }
    }
}

/// Events a second, the latest above all.
#[derive(Debug, Default)]
pub(super) struct Rate {
    per_second: f64,
}

impl Rate {
    /// So many happened in `elapsed`; what is older than `memory` counts a third or less.
    pub(super) fn observe(&mut self, count: u64, elapsed: Duration, memory: Duration) {
        let elapsed = elapsed.as_secs_f64();
        if elapsed > 0.0 {
            let share = 1.0 - (-elapsed / memory.as_secs_f64()).exp();
            self.per_second += (count as f64 / elapsed - self.per_second) * share;
        }
    }

    /// Events a second.
    pub(super) fn per_second(&self) -> f64 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(25);

    fn pace() -> Pace {
        Pace::new(2, Duration::from_secs(5))
    }

    fn is_about(value: f64, wanted: f64) -> bool {
        (value / wanted - 1.0).abs() < 0.05
    }

    #[test]
    fn desks_that_are_half_idle_tell_what_they_could_do() {
        let mut pace = pace();
        for turn in 0..2000 {
            pace.observe(1, [turn % 2 * 2, 2], TICK);
        }
        assert!(is_about(pace.capacity(2), 80.0), "{pace:?}");
        assert!(is_about(pace.capacity(4), 160.0), "{pace:?}");
    }

    #[test]
    fn a_standstill_is_believed_slowly_and_idleness_never() {
        let mut pace = pace();
        (0..1000).for_each(|_| pace.observe(5, [2, 2], TICK));
        assert!(is_about(pace.capacity(2), 200.0), "{pace:?}");
        pace.observe(0, [0, 2], Duration::from_secs(3600));
        assert!(is_about(pace.capacity(2), 200.0), "{pace:?}");
        (0..40).for_each(|_| pace.observe(0, [2, 2], TICK));
        assert!(pace.capacity(2) > 150.0, "{pace:?}");
        (0..800).for_each(|_| pace.observe(0, [2, 2], TICK));
        assert!(pace.capacity(2) < 5.0, "{pace:?}");
    }

    #[test]
    fn nobody_knows_before_work_is_done() {
        let mut pace = pace();
        assert_eq!(pace.capacity(2), f64::INFINITY);
        pace.observe(2, [2, 2], TICK);
        assert!(pace.capacity(2) >= 80.0, "{pace:?}");
    }

    #[test]
    fn a_rate_follows_what_happens() {
        let (mut rate, memory) = (Rate::default(), Duration::from_millis(250));
        rate.observe(1, Duration::ZERO, memory);
        assert_eq!(rate.per_second(), 0.0);
        (0..40).for_each(|_| rate.observe(10, TICK, memory));
        assert!(is_about(rate.per_second(), 400.0), "{rate:?}");
        (0..40).for_each(|_| rate.observe(0, TICK, memory));
        assert!(rate.per_second() < 10.0, "{rate:?}");
    }
}
