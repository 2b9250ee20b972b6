//! How processes are started, renewed and asked about.

use std::{path::PathBuf, time::Duration};

use crate::config::Admin;

/// What the supervisor goes by, beside how many workers there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervision {
    /// How long a generation, or a single worker, may take until it is ready.
    pub start_timeout: Duration,
    /// Paths, each with its query, that a worker answers to itself before it is ready.
    pub warmup: Vec<String>,
    /// Files whose touch means a reload; absolute.
    pub reload_on_touch: Vec<PathBuf>,
    /// Where it can be asked, and be told.
    pub admin: Admin,
    /// When a worker has served enough.
    pub recycling: Recycling,
}

/// When a worker is replaced although nothing is wrong with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recycling {
    /// After that many requests, up to a tenth more.
    pub max_requests: Option<u64>,
    /// After that long, up to a tenth longer.
    pub max_lifetime: Option<Duration>,
    /// When its resident memory exceeds that many bytes.
    pub max_rss: Option<u64>,
    /// When its resident memory exceeds that many bytes it is killed, with what it is serving.
    pub max_rss_hard: Option<u64>,
}

/// Checks a path to warm up by: what a request line could hold.
///
/// # Errors
/// Why it is none.
pub fn parse_warmup(text: &str) -> Result<String, String> {
    let is_path =
        text.starts_with('/') && text.len() <= LONGEST_WARMUP && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_path.then(|| text.to_owned()).ok_or_else(|| format!("`{text}` is not a path: write one as in /health?deep=1"))
}

impl Recycling {
    /// How many requests the worker `pid` serves before it is worn.
    #[must_use]
    pub fn requests(self, pid: i32) -> Option<u64> {
        self.max_requests.map(|most| most.saturating_add(most.saturating_mul(u64::from(share(pid))) / (10 * PARTS)))
    }

    /// How long the worker `pid` serves before it is worn.
    #[must_use]
    pub fn lifetime(self, pid: i32) -> Option<Duration> {
        self.max_lifetime.map(|most| most.saturating_add(most.mul_f64(f64::from(share(pid)) / (10 * PARTS) as f64)))
    }
}

/// Some part of [`PARTS`], so that workers that start together are not worn together.
///
/// Neighbours in time have neighbouring pids, which this spreads evenly (Knuth's multiplicative hashing).
fn share(pid: i32) -> u32 {
    (pid.unsigned_abs().wrapping_mul(2_654_435_769) >> 16) % (PARTS as u32 + 1)
}

const PARTS: u64 = 100;
const LONGEST_WARMUP: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_to_warm_up_by_is_one() {
        assert_eq!(parse_warmup("/health?deep=1"), Ok("/health?deep=1".to_owned()));
        for text in ["health", "", "/a b", "/\u{e9}", "http://localhost/"] {
            assert!(parse_warmup(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_wears_out_unless_it_is_asked_for() {
        let never = Recycling::default();
        assert_eq!((never.requests(1), never.lifetime(1)), (None, None));
    }

    #[test]
    fn workers_differ_by_up_to_a_tenth() {
        let lifetime = Duration::from_secs(1000);
        let recycling = Recycling { max_requests: Some(1000), max_lifetime: Some(lifetime), ..Recycling::default() };
        let mut ages: Vec<_> = (1..200).filter_map(|pid| Some(recycling.lifetime(pid)?.as_secs())).collect();
        let counts: Vec<_> = (1..200).filter_map(|pid| recycling.requests(pid)).collect();
        assert!(ages.iter().zip(&counts).all(|(age, count)| age.abs_diff(*count) <= 1), "{ages:?} {counts:?}");
        ages.sort_unstable();
        let (least, most) = (ages[0], ages[ages.len() - 1]);
        assert!(least >= 1000 && most <= 1100 && most - least > 80, "{ages:?}");
    }

    #[test]
    fn the_largest_limits_do_not_overflow() {
        let most = Recycling {
            max_requests: Some(u64::MAX),
            max_lifetime: Some(Duration::from_secs(1 << 40)),
            ..Recycling::default()
        };
        assert!((1..100).all(|pid| most.requests(pid) == Some(u64::MAX)));
        assert!((1..100).all(|pid| most.lifetime(pid) >= most.max_lifetime));
    }
}
