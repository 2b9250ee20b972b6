//! The log: one line to an event on standard error, from every process, each line with the name of its process.

use std::{
    fmt,
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
    sync::atomic::{AtomicU64, Ordering},
};

use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

use crate::{
    config::{Format, Level, Log},
    observe::{line::Line, stderr},
};

/// Which of our processes a log line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// The one that was started, and starts the others.
    Supervisor,
    /// One that is to take the supervisor's place.
    Successor,
    /// A supervisor whose place another has taken.
    Predecessor,
    /// The forkserver of this generation, from 1.
    Forkserver(u32),
    /// The worker in this slot, from 1.
    Worker(u32),
}

/// Begins to log as `log` says; panics are logged too. Only the first call in a process and its children counts.
pub fn start(log: Log) {
    stderr::open();
    let lines = Lines { format: log.format, colour: is_colour_wanted() };
    let subscriber = tracing_subscriber::registry().with(filter(log.level)).with(lines);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
}

/// Says which process this is from now on; a fork inherits the name it does not change.
pub fn set_process(process: Process) {
    let (kind, number) = match process {
        Process::Supervisor => (SUPERVISOR, 0),
        Process::Successor => (SUCCESSOR, 0),
        Process::Predecessor => (PREDECESSOR, 0),
        Process::Forkserver(generation) => (FORKSERVER, generation),
        Process::Worker(slot) => (WORKER, slot),
    };
    PROCESS.store(kind << 32 | u64::from(number), Ordering::Relaxed);
}

/// Which process this is.
pub fn process() -> Process {
    let packed = PROCESS.load(Ordering::Relaxed);
    let number = (packed & u64::from(u32::MAX)) as u32;
    match packed >> 32 {
        FORKSERVER => Process::Forkserver(number),
        WORKER => Process::Worker(number),
        SUCCESSOR => Process::Successor,
        PREDECESSOR => Process::Predecessor,
        _ => Process::Supervisor,
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Supervisor => f.write_str("supervisor"),
            Self::Successor => f.write_str("successor"),
            Self::Predecessor => f.write_str("predecessor"),
            Self::Forkserver(generation) => write!(f, "forkserver g{generation}"),
            Self::Worker(slot) => write!(f, "worker {slot}"),
        }
    }
}

/// Writes every event as one line.
struct Lines {
    format: Format,
    colour: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        stderr::write_line(&self.bytes(&Line::of(event, process())), |lost| {
            let confession = format!("{lost} log lines are lost: standard error took no more of them");
            self.bytes(&Line::warning(confession, process()))
        });
    }
}

impl Lines {
    fn bytes(&self, line: &Line) -> Vec<u8> {
        match self.format {
            Format::Text => line.text(self.colour).into_bytes(),
            Format::Json => line.json(),
        }
    }
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}

/// Colour is for terminals, and not for those who asked to be spared (no-color.org).
fn is_colour_wanted() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_refused
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    tracing::error!("{panic}\nthis is a bug in rusgi, please report it\n{}", std::backtrace::Backtrace::capture());
}

const SUPERVISOR: u64 = 0;
const FORKSERVER: u64 = 1;
const WORKER: u64 = 2;
const SUCCESSOR: u64 = 3;
const PREDECESSOR: u64 = 4;

/// The kind of process in the upper half, its number in the lower: a lock could be held by nobody after a fork.
static PROCESS: AtomicU64 = AtomicU64::new(SUPERVISOR << 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_has_its_name() {
        assert_eq!(Process::Supervisor.to_string(), "supervisor");
        assert_eq!(Process::Forkserver(2).to_string(), "forkserver g2");
        assert_eq!(Process::Worker(3).to_string(), "worker 3");
    }

    #[test]
    fn a_process_is_what_it_was_last_told() {
        assert_eq!(process(), Process::Supervisor);
        for named in [
            Process::Worker(u32::MAX),
            Process::Forkserver(1),
            Process::Successor,
            Process::Predecessor,
            Process::Supervisor,
        ] {
            set_process(named);
            assert_eq!(process(), named);
        }
    }
}
