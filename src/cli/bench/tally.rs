//! What has come of a load.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use crate::cli::bench::exchange::Failure;

/// The longest latency that is told from a longer one, in ns: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// Counts of everything.
#[derive(Debug)]
pub(super) struct Tally {
    /// Latencies of whole responses, in ns.
    pub(super) latency: Histogram<u64>,
    /// Whole responses by status.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Requests without one.
    pub(super) failures: BTreeMap<Failure, u64>,
    /// Bytes of responses.
    pub(super) bytes: u64,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
}

impl Tally {
    pub(super) fn new() -> Result<Self, String> {
        let latency = Histogram::new_with_bounds(1, LONGEST, DIGITS).map_err(|error| error.to_string())?;
        let (statuses, failures) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { latency, statuses, failures, bytes: 0, elapsed: Duration::ZERO })
    }

    /// Counts a request that has come to its end.
    pub(super) fn count(&mut self, outcome: Result<u16, Failure>, latency: Duration) {
        match outcome {
            Ok(status) => {
                *self.statuses.entry(status).or_default() += 1;
                self.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(LONGEST).max(1));
            }
            Err(failure) => self.fail(failure, 1),
        }
    }

    /// Counts requests without a response.
    pub(super) fn fail(&mut self, failure: Failure, count: u64) {
        *self.failures.entry(failure).or_default() += count;
    }

    /// Requests with a whole response.
    pub(super) fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Requests without one.
    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Whole responses per second.
    pub(super) fn per_second(&self) -> f64 {
        self.answered() as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}
