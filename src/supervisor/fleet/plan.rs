//! What is wanted of the fleet, and the words for it.

use std::time::Duration;

use crate::{
    config::{Range, Recycling},
    supervisor::{exit::Exit, fleet::Scale},
};

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Worker processes that are wanted now.
    pub(crate) workers: usize,
    /// How many there may be; signals and the admin socket change it.
    pub(crate) range: Range,
    /// How long fewer must have been enough before there is one less.
    pub(crate) scale_down_after: Duration,
    /// Desks in each.
    pub(crate) threads: usize,
    /// How long a generation, or a worker, may take until it is ready.
    pub(crate) start_timeout: Duration,
    /// How long requests in flight may take once a stop was asked for.
    pub(crate) stop_timeout: Duration,
    /// How long a worker whose place another takes may go on with what it has.
    pub(crate) leave_timeout: Duration,
    /// When a worker is worn.
    pub(crate) recycling: Recycling,
    /// Why this process cannot be replaced by another, as long as it lives.
    pub(crate) obstacle: Option<&'static str>,
    /// The application, as it was named.
    pub(crate) application: String,
}

impl Plan {
    /// What the operator reads once all workers are ready.
    pub(super) fn announcement(&self) -> String {
        let workers = match self.range {
            range if range.is_fixed() => counted(self.workers, "worker"),
            range => format!("{range} workers"),
        };
        let threads = counted(self.threads, "thread");
        let (version, application) = (env!("CARGO_PKG_VERSION"), &self.application);
        format!("rusgi {version} ready: {workers} x {threads}, application {application}, pid {}", std::process::id())
    }

    /// Changes how many workers are wanted; returns whether that is news.
    pub(super) fn scale(&mut self, scale: Scale) -> bool {
        let before = (self.workers, self.range);
        let wanted = match scale {
            Scale::Up => self.workers.saturating_add(1),
            Scale::Down => self.workers.saturating_sub(1),
            Scale::To(_) => self.workers,
        };
        self.range = match scale {
            Scale::To(range) => range,
            // One more or less than a fixed number is another fixed number; the limits of a range stay.
            _ if self.range.is_fixed() => Range::fixed(wanted),
            _ => self.range,
        };
        self.workers = self.range.nearest(wanted);
        before != (self.workers, self.range)
    }

    /// How many workers are wanted, as the operator reads it.
    pub(super) fn wanted(&self) -> String {
        let workers = counted(self.workers, "worker");
        if self.range.is_fixed() { workers } else { format!("{workers} ({} by load)", self.range) }
    }
}

/// A duration in the largest unit that loses nothing.
pub(super) fn words(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{} s", duration.as_secs()),
        _ => format!("{} ms", duration.as_millis()),
    }
}

/// When something follows, as the end of a sentence.
pub(super) fn after(pause: Duration) -> String {
    if pause.is_zero() { String::new() } else { format!(" in {}", words(pause)) }
}

/// Why a first start is given up, as the end of a sentence.
pub(super) fn advice(exit: Exit, in_a_row: u32) -> String {
    match exit {
        Exit::NotLoaded => "the application could not be loaded".to_owned(),
        _ => format!("giving up after {in_a_row} deaths in a row, the lines above may say why"),
    }
}

/// A number of things.
pub(super) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
