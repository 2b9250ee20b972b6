//! The supervisor: owns the listeners, starts a forkserver, has it fork workers, and keeps them alive until it is told to stop.
//!
//! ```text
//!   signals ──┐
//!   channels ─┼─▶ watch ── events ──▶ fleet ── actions ──▶ watch ──▶ fork, Fork, Drain, SIGKILL
//!   deaths ───┘   (descriptors)       (judgement, no clock of its own)
//! ```
//!
//! It never runs Python, has one thread, and loads nothing that an application could break. As process 1 of a container, and as
//! child subreaper elsewhere, it also collects the processes that applications leave behind.

mod backoff;
mod ending;
mod exit;
mod fleet;
mod generation;
mod life;
mod signals;
mod sockets;
mod watch;

use std::{io, time::Instant};

use tracing::{error, warn};

pub use exit::Exit;

use crate::{
    channel::Channel,
    config::Config,
    net::listener::Listener,
    supervisor::{
        fleet::{Fleet, Plan},
        signals::Signals,
        watch::Watch,
    },
};

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The side that forked; the child is this process.
    Parent(i32),
    /// The new process.
    Child,
}

/// Forks this process; who supervises need not know what else has to be done around a fork.
pub type Forker<'a> = &'a mut dyn FnMut() -> io::Result<Fork>;

/// How a call of [`run`] comes back.
#[derive(Debug)]
pub enum Ended {
    /// In the process that called it: everything has stopped.
    Exit(Exit),
    /// In a new process, which is to be a forkserver now; all that belongs to the supervisor is closed in it.
    Forkserver(Birth),
}

/// What a forkserver is born with.
#[derive(Debug)]
pub struct Birth {
    /// The generation's number, from 1.
    pub generation: u32,
    /// The sockets its workers accept from.
    pub listeners: Vec<Listener>,
    /// Its end of the channel to the supervisor.
    pub channel: Channel,
}

/// Serves as `config` says until told to stop; returns in every forkserver it forks as well, see [`Ended`].
///
/// SIGTERM and SIGINT stop gracefully, a second one and SIGQUIT at once. Reports what goes wrong to the log.
pub fn run(config: &Config, fork: Forker<'_>) -> Ended {
    // Blocked before there is a socket file, so that no signal can leave one behind.
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(error) => return refused("signals cannot be read", &error.into()),
    };
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        warn!("orphans of workers cannot be adopted ({error}); the system's process 1 will collect them");
    }
    let listeners = match sockets::bind(&config.listen) {
        Ok(listeners) => listeners,
        Err(error) => {
            error!("{error}");
            return Ended::Exit(Exit::Refused);
        }
    };
    Watch::new(Fleet::new(plan(config), Instant::now()), listeners, signals).run(fork)
}

fn plan(config: &Config) -> Plan {
    Plan {
        workers: config.workers.count,
        threads: config.workers.threads,
        stop_timeout: config.workers.stop_timeout,
        application: config.app.target.to_string(),
    }
}

fn refused(what: &str, error: &io::Error) -> Ended {
    error!("{what} ({error}); raise the limit on open files");
    Ended::Exit(Exit::Refused)
}
