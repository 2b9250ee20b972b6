//! The time, where milliseconds are enough.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC as of the last tick, some milliseconds ago at most: it costs a quarter of the exact one.
#[must_use]
pub fn lately() -> Duration {
    // Neither part is ever negative on this clock.
    Duration::try_from(clock_gettime(ClockId::MonotonicCoarse)).unwrap_or_default()
}
