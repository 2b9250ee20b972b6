//! How many of those who wait are too many: arithmetic on counters, with no clock of its own.

use std::time::{Duration, Instant};

use crate::supervisor::valve::{
    pace::{Pace, Rate},
    patience::{Patience, Since},
};

/// Decides how many are to be turned away so that nobody who is left waits for longer than the queue timeout.
///
/// ```text
///            they would wait for longer                      nobody turned away for a second
///   closed ──────────────────────────────▶ open ───────────────────────────────────────────▶ closed
///                                           │ ▲
///                                           └─┘ while more come than can be served, the time that
///                                               is allowed shrinks to a tenth or less; then it grows again
/// ```
///
/// A queue that stands is of no use: under lasting overload as many are served whether each of them has waited for long or not,
/// and with a short queue service is normal again as soon as the overload ends.
#[derive(Debug)]
pub(super) struct Judge {
    /// `None` for as long as anybody likes.
    timeout: Option<Duration>,
    /// What may be waited now; never more than the timeout.
    allowed: Duration,
    pace: Pace,
    patience: Patience,
    arrivals: Rate,
    starts: Rate,
    last: Look,
    turned_away_at: Option<Instant>,
    waiting_since: Option<Instant>,
}

/// What is seen at one moment. Counters go on from look to look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The moment.
    pub(super) at: Instant,
    /// Connections that wait to be accepted.
    pub(super) waiting: u64,
    /// Desks that there ought to be.
    pub(super) desks: usize,
    /// Desks that are there and have nothing to do.
    pub(super) idle: usize,
    /// Requests that have begun so far.
    pub(super) begun: u64,
    /// Requests so far that did not begin, because their peers had left.
    pub(super) left: u64,
    /// Connections that were turned away so far.
    pub(super) refused: u64,
}

impl Look {
    /// Connections that have left the queue so far.
    fn gone(&self) -> u64 {
        self.begun + self.left + self.refused
    }
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    /// How many are to be turned away.
    pub(super) excess: u64,
    /// How long somebody who came now would wait; `None` when that is not to be foreseen.
    pub(super) wait: Option<Duration>,
    /// Whether those in front have waited for so long that their peers may have left.
    pub(super) is_stale: bool,
}

impl Judge {
    /// A judge of queues before so many `desks`.
    pub(super) fn new(timeout: Option<Duration>, desks: usize, now: Instant) -> Self {
        let window = timeout.unwrap_or(LONGEST_WINDOW).clamp(SHORTEST_WINDOW, LONGEST_WINDOW);
        Self {
            timeout,
            allowed: timeout.unwrap_or_default(),
            pace: Pace::new(desks, window),
            patience: Patience::new(),
            arrivals: Rate::default(),
            starts: Rate::default(),
            last: Look { at: now, waiting: 0, desks, idle: desks, begun: 0, left: 0, refused: 0 },
            turned_away_at: None,
            waiting_since: None,
        }
    }

    /// Takes notice of what is seen now.
    pub(super) fn judge(&mut self, look: Look) -> Verdict {
        let elapsed = look.at.saturating_duration_since(self.last.at);
        self.take_notice(look, elapsed);
        let capacity = self.capacity(look.desks);
        self.adapt(capacity, elapsed);
        self.last = look;
        let most = self.timeout.map_or(f64::INFINITY, |_| capacity * self.allowed.as_secs_f64());
        // Counts of connections are far below what either type can hold.
        let excess = (look.waiting as f64 - most).ceil().max(0.0) as u64;
        if excess > 0 {
            self.turned_away_at = Some(look.at);
        }
        Verdict { excess, wait: seconds(look.waiting as f64 / capacity), is_stale: self.is_stale() }
    }

    /// Goes on from `look`; what was before it tells nothing of how fast requests are served.
    pub(super) fn resume(&mut self, look: Look) {
        self.last = look;
        self.waiting_since = None;
    }

    /// Requests a second that so many desks serve; after a standstill what happens now counts for more than what was.
    fn capacity(&self, desks: usize) -> f64 {
        self.pace.capacity(desks).max(self.starts.per_second())
    }

    fn take_notice(&mut self, look: Look, elapsed: Duration) {
        let begun = look.begun.saturating_sub(self.last.begun);
        let left = look.left.saturating_sub(self.last.left);
        let gone = look.gone().saturating_sub(self.last.gone());
        // Who has nothing to do while others wait is stopped, or does not get the GIL: that is no capacity.
        let is_standing = self.last.waiting > 0 && look.waiting > 0;
        let engaged = if is_standing { look.desks } else { look.desks.saturating_sub(look.idle) };
        // After a rest nobody knows how long they have been at work.
        self.pace.observe(begun, [engaged, look.desks], elapsed.min(LONGEST_STEP));
        self.starts.observe(begun, elapsed, MEMORY);
        let memory = seconds(SAMPLE / self.capacity(look.desks)).unwrap_or(LONGEST_MEMORY);
        let arrived = (look.waiting + gone).saturating_sub(self.last.waiting);
        self.arrivals.observe(arrived, elapsed, memory.clamp(SHORTEST_MEMORY, LONGEST_MEMORY));
        let come = look.gone() + look.waiting;
        self.patience.observe(look.at, [come, look.gone()], Since { elapsed, begun, left });
        self.waiting_since = if look.waiting == 0 { None } else { self.waiting_since.or(Some(look.at)) };
    }

    /// Allows less and less while an overload lasts, and more and more after it.
    fn adapt(&mut self, capacity: f64, elapsed: Duration) {
        let Some(timeout) = self.timeout else {
            return;
        };
        let least = (timeout / 10).clamp(LEAST, MOST_STANDING).min(timeout);
        let halves = elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64();
        let is_overloaded = self.is_open(self.last.at + elapsed) && self.arrivals.per_second() > capacity;
        let factor = if is_overloaded { (-halves).exp2() } else { halves.exp2() };
        let allowed = seconds(self.allowed.as_secs_f64() * factor).unwrap_or(timeout);
        self.allowed = allowed.min(self.patience.limit(timeout)).clamp(least, timeout);
    }

    /// Whether somebody has been turned away a short while ago.
    fn is_open(&self, now: Instant) -> bool {
        self.turned_away_at.is_some_and(|at| now.saturating_duration_since(at) < CALM)
    }

    /// Whether there are more in front than begin in [`STALE`], and have been for as long.
    fn is_stale(&self) -> bool {
        let long_enough = |since: Instant| self.last.at.saturating_duration_since(since) >= STALE;
        let soon = self.starts.per_second() * STALE.as_secs_f64();
        self.waiting_since.is_some_and(long_enough) && self.last.waiting as f64 > soon
    }
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// After that long without anybody turned away the overload is over.
pub(super) const CALM: Duration = Duration::from_secs(1);
/// Nobody leaves within that time, so nobody is asked whether he has.
const STALE: Duration = Duration::from_millis(250);
const MEMORY: Duration = Duration::from_millis(500);
/// Whether more come than can be served shows in the time in which so many could be.
const SAMPLE: f64 = 10.0;
const SHORTEST_MEMORY: Duration = Duration::from_millis(100);
const LONGEST_MEMORY: Duration = Duration::from_secs(2);
const HALF_LIFE: Duration = Duration::from_secs(1);
/// Less than that and desks would run dry between two looks.
const LEAST: Duration = Duration::from_millis(50);
/// What is left when an overload ends is served within that time.
const MOST_STANDING: Duration = Duration::from_millis(500);
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
const LONGEST_WINDOW: Duration = Duration::from_secs(30);
const LONGEST_STEP: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(25);

    /// Two desks that take `service` for a request, and those who come to them.
    struct Play {
        judge: Judge,
        look: Look,
        service: f64,
        /// When those in the queue came.
        queue: Vec<Instant>,
        /// When each desk is free again.
        free: [Instant; 2],
        waits: Vec<Duration>,
        /// How long each waits at most.
        patience: Duration,
        arrived: f64,
        /// Whether the desks take nobody, although they have nothing to do.
        is_stopped: bool,
    }

    impl Play {
        fn new(timeout: u64, service: f64) -> Self {
            let at = Instant::now();
            let timeout = (timeout > 0).then(|| Duration::from_secs(timeout));
            let look = Look { at, waiting: 0, desks: 2, idle: 2, begun: 0, left: 0, refused: 0 };
            let judge = Judge::new(timeout, 2, at);
            Self {
                judge,
                look,
                service,
                queue: vec![],
                free: [at; 2],
                waits: vec![],
                patience: Duration::MAX,
                arrived: 0.0,
                is_stopped: false,
            }
        }

        /// Has `rate` requests a second come for `seconds`; returns how many were turned away.
        fn run(&mut self, seconds: f64, rate: f64) -> u64 {
            let before = self.look.refused;
            for _ in 0..(seconds / TICK.as_secs_f64()).round() as u32 {
                self.tick(rate);
            }
            self.look.refused - before
        }

        fn tick(&mut self, rate: f64) -> Verdict {
            let next = self.look.at + TICK;
            self.arrived += rate * TICK.as_secs_f64();
            self.queue.extend(vec![self.look.at; self.arrived as usize]);
            self.arrived = self.arrived.fract();
            (0..self.free.len()).for_each(|desk| self.work(desk, next));
            let idle = self.free.iter().filter(|at| **at < next).count();
            self.look = Look { at: next, waiting: self.queue.len() as u64, idle, ..self.look };
            let verdict = self.judge.judge(self.look);
            self.queue.drain(..verdict.excess as usize);
            self.look.refused += verdict.excess;
            verdict
        }

        /// Has the desk serve who is there until `next`.
        fn work(&mut self, desk: usize, next: Instant) {
            while !self.is_stopped && self.free[desk] < next && !self.queue.is_empty() {
                let came = self.queue.remove(0);
                let begins = self.free[desk].max(came);
                if begins - came > self.patience {
                    self.look.left += 1;
                    continue;
                }
                self.waits.push(begins - came);
                self.free[desk] = begins + Duration::from_secs_f64(self.service);
                self.look.begun += 1;
            }
        }

        fn longest_wait(&self) -> Duration {
            self.waits.iter().copied().max().unwrap_or_default()
        }
    }

    #[test]
    fn nobody_is_turned_away_while_all_can_be_served_in_time() {
        let mut play = Play::new(10, 0.02);
        assert_eq!(play.run(30.0, 90.0), 0);
        // A burst of three seconds' work.
        assert_eq!(play.run(1.0, 400.0) + play.run(5.0, 50.0), 0);
        assert!(play.longest_wait() > Duration::from_secs(2), "{:?}", play.longest_wait());
    }

    #[test]
    fn under_overload_as_many_are_served_as_can_be_and_none_waits_for_too_long() {
        for timeout in [1, 10] {
            let mut play = Play::new(timeout, 0.02);
            let turned_away = play.run(20.0, 500.0);
            let served = play.look.begun as f64 / 20.0;
            assert!(served > 98.0, "{served} of 100 a second, {turned_away} turned away");
            assert!(play.longest_wait() <= Duration::from_secs(timeout), "{:?}", play.longest_wait());
            assert!(play.look.waiting <= 65, "{} wait", play.look.waiting);
        }
    }

    #[test]
    fn service_is_normal_within_a_second_of_the_end() {
        let mut play = Play::new(10, 0.02);
        play.run(20.0, 500.0);
        assert_eq!(play.run(1.1, 30.0), 0);
        play.waits.clear();
        assert_eq!(play.run(5.0, 30.0), 0);
        assert!(play.longest_wait() < Duration::from_millis(100), "{:?}", play.longest_wait());
        assert_eq!(play.judge.allowed, Duration::from_secs(10));
    }

    #[test]
    fn a_single_burst_loses_only_those_who_could_not_be_served_in_time() {
        let mut play = Play::new(10, 0.02);
        play.run(30.0, 50.0);
        let turned_away = play.run(0.5, 2400.0) + play.run(15.0, 20.0);
        assert!((50..450).contains(&turned_away), "{turned_away} turned away of 1200");
        assert!(play.longest_wait() > Duration::from_secs(7), "{:?}", play.longest_wait());
    }

    #[test]
    fn a_short_standstill_turns_nobody_away() {
        let mut play = Play::new(10, 0.02);
        play.run(30.0, 50.0);
        play.free = play.free.map(|_| play.look.at + Duration::from_secs(3));
        assert_eq!(play.run(20.0, 50.0), 0);
    }

    #[test]
    fn a_standstill_that_lasts_turns_everybody_away_in_the_end() {
        let mut play = Play::new(10, 0.02);
        play.run(30.0, 50.0);
        play.free = play.free.map(|_| play.look.at + Duration::from_secs(3600));
        play.run(120.0, 10.0);
        assert!(play.look.waiting <= 1, "{} wait", play.look.waiting);
        // And what comes after it is served again.
        play.free = [play.look.at; 2];
        play.run(3.0, 50.0);
        assert_eq!(play.run(10.0, 50.0), 0);
    }

    #[test]
    fn desks_that_leave_a_queue_standing_are_not_idle() {
        let mut play = Play::new(10, 0.02);
        play.run(30.0, 50.0);
        play.is_stopped = true;
        play.run(120.0, 10.0);
        assert!(play.look.waiting <= 1, "{} wait", play.look.waiting);
        play.is_stopped = false;
        play.run(3.0, 50.0);
        assert_eq!(play.run(10.0, 50.0), 0);
    }

    #[test]
    fn long_requests_are_waited_for() {
        let mut play = Play::new(10, 2.0);
        assert_eq!(play.run(120.0, 0.9), 0);
        assert!(play.run(120.0, 2.0) > 80);
        assert!(play.longest_wait() < Duration::from_secs(15), "{:?}", play.longest_wait());
    }

    #[test]
    fn clients_that_leave_sooner_than_the_timeout_are_not_served_too_late() {
        for rate in [150.0, 500.0] {
            let mut play = Play::new(10, 0.02);
            play.patience = Duration::from_secs(2);
            play.run(20.0, rate);
            let in_time = play.waits.iter().filter(|wait| **wait < Duration::from_millis(1900)).count();
            assert!(in_time > 1900, "{in_time} of 2000 at {rate} a second");
        }
    }

    #[test]
    fn without_a_timeout_nobody_is_turned_away() {
        let mut play = Play::new(0, 0.02);
        assert_eq!(play.run(10.0, 500.0), 0);
        assert!(play.tick(0.0).wait > Some(Duration::from_secs(30)));
    }

    #[test]
    fn those_in_front_are_stale_when_they_have_waited_and_not_before() {
        let mut play = Play::new(10, 0.001);
        play.run(1.0, 1000.0);
        // A queue that is always there, and moves.
        assert!((0..40).all(|_| !play.tick(2100.0).is_stale));
        let mut play = Play::new(10, 0.02);
        play.run(2.0, 150.0);
        assert!(play.tick(150.0).is_stale);
        play.run(3.0, 0.0);
        assert!(!play.tick(0.0).is_stale);
    }
}
