//! Visitors who come when they come, however long the others take (an open loop), and count what went wrong.

use std::{
    fmt,
    ops::RangeInclusive,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{http, peer::Peer, reply::Reply};

/// What the visitors saw.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// How many requests were made.
    pub(crate) requests: usize,
    /// Every response that was not a whole 200.
    pub(crate) failures: Vec<Failure>,
    /// The longest time from when a request was due to the end of its response.
    pub(crate) worst: Duration,
    times: Vec<Duration>,
}

/// A request that was not answered with a whole 200.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) uri: String,
    /// From when it was due until its response had ended.
    pub(crate) times: RangeInclusive<Instant>,
    /// What came instead, in words.
    pub(crate) reply: String,
}

impl Report {
    fn note(&mut self, uri: String, times: RangeInclusive<Instant>, reply: &Reply) {
        let took = times.end().duration_since(*times.start());
        self.requests += 1;
        self.worst = self.worst.max(took);
        self.times.push(took);
        if reply.is_empty() || reply.code() != 200 || http::whole_body(reply).is_none() {
            self.failures.push(Failure { uri, times, reply: format!("{reply:?}") });
        }
    }

    /// The time that `percent` of the requests took at most.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Asserts that every request was answered whole.
    pub(crate) fn expect_no_failure(self) -> Self {
        let told: Vec<_> = self.failures.iter().map(|failure| format!("{}: {}", failure.uri, failure.reply)).collect();
        assert!(told.is_empty(), "{self}\n{}", told.join("\n"));
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
    visit(rate, |_| (connect(), String::from("/")), work)
}

/// Has visitors make `rate` requests a second while `work` runs: the `n`th of them for the URI, by the connection, of `request(n)`.
pub(crate) fn visit(rate: u32, request: impl Fn(u32) -> (Peer, String) + Sync, work: impl FnOnce()) -> Report {
    let is_over = AtomicBool::new(false);
    let report = Mutex::new(Report::default());
    let start = Instant::now();
    let visitor = |number: u32| {
        let mut turn = number;
        while !is_over.load(Ordering::Relaxed) {
            let due = start + Duration::from_secs_f64(f64::from(turn) / f64::from(rate));
            // The schedule is the load itself: nothing else says when the next visitor comes.
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let (peer, uri) = request(turn);
            let reply = http::get(peer, &uri);
            report.lock().unwrap().note(uri, due..=Instant::now(), &reply);
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
