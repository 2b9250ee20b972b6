//! Visitors who come when they come, however long the others take (an open loop), and count what went wrong.

use std::{
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{http, peer::Peer};

/// What the visitors saw.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// How many requests were made.
    pub(crate) requests: usize,
    /// Every response that was not a whole 200, in words.
    pub(crate) failures: Vec<String>,
    /// The longest time from when a request was due to the end of its response.
    pub(crate) worst: Duration,
    times: Vec<Duration>,
}

impl Report {
    /// The time that `percent` of the requests took at most.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Asserts that every request was answered whole.
    pub(crate) fn expect_no_failure(self) -> Self {
        assert!(self.failures.is_empty(), "{self}\n{:#?}", self.failures);
        self
    }
}

/// The figures on one line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, [half, most]) = (self.failures.len(), [50, 99].map(|percent| self.percentile(percent)));
        write!(
            f,
            "{} requests, {failed} failed, p50 {half:.1?}, p99 {most:.1?}, worst {:.1?}",
            self.requests, self.worst
        )
    }
}

/// Has visitors ask for `/` `rate` times a second while `work` runs; each request is a connection of `connect`'s.
pub(crate) fn during(rate: u32, connect: impl Fn() -> Peer + Sync, work: impl FnOnce()) -> Report {
    let is_over = AtomicBool::new(false);
    let report = Mutex::new(Report::default());
    let start = Instant::now();
    let visitor = |number: u32| {
        let mut turn = number;
        while !is_over.load(Ordering::Relaxed) {
            let due = start + Duration::from_secs(1) * turn / rate;
            // The schedule is the load itself: nothing else says when the next visitor comes.
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let reply = http::get(connect(), "/");
            let is_whole = reply.code() == 200 && http::whole_body(&reply).is_some();
            let mut report = report.lock().unwrap();
            report.requests += 1;
            report.worst = report.worst.max(due.elapsed());
            report.times.push(due.elapsed());
            if !is_whole {
                report.failures.push(format!("{reply:?}"));
            }
            turn += VISITORS;
        }
    };
    thread::scope(|scope| {
        (0..VISITORS).for_each(|number| drop(scope.spawn(move || visitor(number))));
        let is_told = Told(&is_over);
        work();
        drop(is_told);
    });
    report.into_inner().unwrap()
}

/// Sends the visitors home, also when the work has panicked.
struct Told<'a>(&'a AtomicBool);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const VISITORS: u32 = 10;
