//! `rusgi bench`: load on a uwsgi socket, with no web server between.

mod drive;
mod exchange;
mod report;
mod tally;

use std::time::Duration;

use crate::{
    cli::{
        FAILED, MISCONFIGURED,
        asked::{Asked, Request},
        complain, say,
    },
    config::quantity::{parse_duration, parse_limit},
};

/// The options of `rusgi bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(super) struct Args {
    #[command(flatten)]
    asked: Asked,
    /// How many requests may be under way at once, each on a connection of its own
    #[arg(short, long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    connections: u32,
    /// Requests per second, sent whether or not earlier ones have been answered; without it each answer is followed by a request
    ///
    /// Latency is then counted from the moment that a request was due, so that a stall counts for all that it held up.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// For how long requests are sent
    #[arg(long, value_name = "TIME", default_value = "10s")]
    duration: String,
    /// Stop after so many requests, if that is sooner
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How long an answer may take; 0 for as long as it likes
    #[arg(long, value_name = "TIME", default_value = "1m")]
    timeout: String,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

/// A load as meant.
struct Plan {
    request: Request,
    connections: usize,
    pace: Pace,
    /// How long an answer may take; `None` without end.
    timeout: Option<Duration>,
}

/// When requests are due.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pace {
    /// Requests per second; `None` where one follows the other.
    rate: Option<f64>,
    duration: Duration,
    /// The most requests in all.
    most: u64,
}

impl Pace {
    /// How many requests are due `elapsed` after the beginning.
    fn due(&self, elapsed: Duration) -> u64 {
        let within = elapsed.min(self.duration).as_secs_f64();
        // The first is due at once.
        let due = self.rate.map_or(u64::MAX, |rate| (within * rate) as u64 + u64::from(elapsed < self.duration));
        if self.rate.is_none() && elapsed >= self.duration { 0 } else { due.min(self.most) }
    }

    /// When the request after `count` others is due, from the beginning; `None` where that depends on the answers.
    fn moment(&self, count: u64) -> Option<Duration> {
        self.rate.map(|rate| Duration::from_secs_f64(count as f64 / rate))
    }
}

/// Makes load; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(problem) => {
            complain(&problem);
            return MISCONFIGURED;
        }
    };
    match drive::drive(&plan) {
        Ok(tally) => {
            say(&if args.json { report::json(&plan, &tally) } else { report::text(&plan, &tally) });
            if tally.failed() == 0 { 0 } else { FAILED }
        }
        Err(error) => {
            complain(&format!("bench: {error}: use fewer --connections, or raise the limit on open files"));
            FAILED
        }
    }
}

fn plan(args: &Args) -> Result<Plan, String> {
    let timeout = parse_limit(&args.timeout).map_err(|error| format!("--timeout: {error}"))?;
    let duration = parse_duration(&args.duration).map_err(|error| format!("--duration: {error}"))?;
    let pace = Pace { rate: args.rate.map(f64::from), duration, most: args.requests.unwrap_or(u64::MAX) };
    Ok(Plan { request: args.asked.request()?, connections: args.connections as usize, pace, timeout })
}

const CODES: &str = "Exit codes: 0 every request got a whole response, whatever its status; 1 some did not; \
78 the command line is wrong.";

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn requests_at_a_rate_are_due_at_even_intervals_and_no_others() {
        let pace = Pace { rate: Some(4.0), duration: SECOND, most: u64::MAX };
        let due = [0, 249, 250, 999, 1000, 5000].map(|elapsed| pace.due(Duration::from_millis(elapsed)));
        assert_eq!(due, [1, 1, 2, 4, 4, 4]);
        assert_eq!(pace.moment(3), Some(Duration::from_millis(750)));
        assert_eq!(Pace { most: 2, ..pace }.due(5 * SECOND), 2);
    }

    #[test]
    fn without_a_rate_requests_are_due_until_the_end() {
        let pace = Pace { rate: None, duration: SECOND, most: 7 };
        assert_eq!([pace.due(SECOND / 2), pace.due(SECOND)], [7, 0]);
        assert_eq!(pace.moment(3), None);
    }
}
