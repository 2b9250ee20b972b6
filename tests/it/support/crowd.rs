//! A crowd of clients that come when they come, however many wait already (an open loop), and leave when it takes too long.

use std::{
    fmt,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::reply::{End, Reply};

/// Clients of an HTTP server.
#[derive(Clone, Copy)]
pub(crate) struct Crowd<'a> {
    /// Where it is.
    pub(crate) address: &'a str,
    /// How many come in a second.
    pub(crate) rate: u32,
    /// How long each of them waits for the end of its response.
    pub(crate) patience: Duration,
}

/// What has become of one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    /// The status it got; nothing when it left before the end.
    pub(crate) status: Option<u16>,
    /// Whether it was told when to try again.
    pub(crate) has_retry_after: bool,
    /// When it came, from the start.
    pub(crate) came: Duration,
    /// How long it was there.
    pub(crate) took: Duration,
}

/// What has become of all of them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) visits: Vec<Visit>,
}

struct Client {
    stream: TcpStream,
    due: Instant,
    received: Vec<u8>,
}

impl Crowd<'_> {
    /// Has clients ask for `/` for so long, and waits until the last has its answer or has left.
    pub(crate) fn ask_for(self, time: Duration) -> Tally {
        let start = Instant::now();
        let due = |number: u32| start + Duration::from_secs(1) * number / self.rate;
        let (mut number, mut clients, mut tally) = (0, Vec::new(), Tally::default());
        while due(number) < start + time || !clients.is_empty() {
            let now = Instant::now();
            while due(number) < start + time && due(number) <= now {
                clients.push(Client::new(self.address, due(number)));
                number += 1;
            }
            let next = if due(number) < start + time { due(number) } else { now + Duration::from_millis(10) };
            wait(&clients, next.saturating_duration_since(now));
            clients.retain_mut(|client| {
                let visit = client.go_on(self.patience);
                tally.visits.extend(visit.map(|visit| Visit { came: client.due - start, ..visit }));
                visit.is_none()
            });
        }
        tally
    }
}

fn wait(clients: &[Client], time: Duration) {
    let mut fds: Vec<_> = clients.iter().map(|client| PollFd::new(&client.stream, PollFlags::IN)).collect();
    let time = Timespec::try_from(time.max(Duration::from_micros(100))).unwrap();
    poll(&mut fds, Some(&time)).unwrap();
}

impl Client {
    fn new(address: &str, due: Instant) -> Self {
        let mut stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.write_all(super::http::request("GET", "/").as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { stream, due, received: Vec::new() }
    }

    /// Reads what has come; what has become of the client, once that is certain.
    fn go_on(&mut self, patience: Duration) -> Option<Visit> {
        let visit = |status, has_retry_after| {
            Some(Visit { status, has_retry_after, came: Duration::ZERO, took: self.due.elapsed() })
        };
        match self.stream.read_to_end(&mut self.received) {
            Ok(_) => {
                let reply = Reply::new(std::mem::take(&mut self.received), End::Clean);
                visit(Some(reply.code()), reply.header("Retry-After").is_some())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && self.due.elapsed() < patience => None,
            Err(_) => visit(None, false),
        }
    }
}

impl Tally {
    /// Those who came in that time from the start.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> Self {
        Self { visits: self.visits.iter().filter(|visit| (from..to).contains(&visit.came)).copied().collect() }
    }

    /// How many got `status`, or none.
    pub(crate) fn count(&self, status: Option<u16>) -> usize {
        self.visits.iter().filter(|visit| visit.status == status).count()
    }

    /// The time that `percent` of those who were served took at most.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let served = self.visits.iter().filter(|visit| visit.status == Some(200));
        let mut times: Vec<_> = served.map(|visit| visit.took).collect();
        times.sort();
        times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// The figures on one line.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [served, refused, left] = [Some(200), Some(503), None].map(|status| self.count(status));
        let all = self.visits.len();
        let [half, most] = [50, 99].map(|percent| self.percentile(percent));
        write!(
            f,
            "{all} came: {served} served (p50 {half:.1?}, p99 {most:.1?}), {refused} got 503, {left} left, {} others",
            all - served - refused - left
        )
    }
}
