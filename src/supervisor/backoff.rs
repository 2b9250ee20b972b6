//! How long to wait before replacing what keeps dying.

use std::time::Duration;

/// Counts quick deaths in a row and sets the pause after each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// Notes a death after having `lived` in service; returns the pause before the next start: none after the first.
    pub(super) fn died(&mut self, lived: Duration) -> Duration {
        if lived >= LONG_LIFE {
            self.deaths = 0;
        }
        self.deaths = self.deaths.saturating_add(1);
        match self.deaths.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => (SHORTEST * 2_u32.saturating_pow(doublings.min(16))).min(LONGEST),
        }
    }

    /// Quick deaths in a row so far.
    pub(super) fn deaths(self) -> u32 {
        self.deaths
    }
}

/// Whatever served this long did not die of how it was started.
const LONG_LIFE: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_costs_nothing_and_each_further_one_twice_as_much() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..10).map(|_| backoff.died(Duration::ZERO).as_millis()).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.deaths(), 10);
    }

    #[test]
    fn a_long_life_is_a_new_beginning() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.died(Duration::from_secs(9));
        }
        assert_eq!(backoff.died(Duration::from_secs(10)), Duration::ZERO);
        assert_eq!(backoff.deaths(), 1);
    }

    #[test]
    fn the_count_does_not_overflow() {
        let mut backoff = Backoff { deaths: u32::MAX };
        assert_eq!(backoff.died(Duration::ZERO), LONGEST);
    }
}
