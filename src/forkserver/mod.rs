//! The forkserver: one thread that loads Python once, and forks a worker whenever the supervisor asks for one.
//!
//! ```text
//!   start the interpreter ──▶ (with preload) load the application, freeze ──▶ Loaded ──▶ wait ◀──▶ Fork, a child's end
//!            │                             │                                              │
//!            └───── Failed, exit 3 ◀───────┘                   supervisor gone, exit 0 ◀──┘
//! ```
//!
//! Commands come by channel only: Ctrl-C reaches the whole foreground group, and a container's stop every process in it.

pub mod process;

mod nursery;

use std::io;

use nix::sys::signal::SigSet;
use tracing::{debug, error};

use crate::{
    channel::{Channel, LOAD_FAILED, Message},
    config::{App, Config},
    forkserver::nursery::{Left, Nursery},
    net::listener::Listener,
    observe::{
        logging::{self, Process},
        scoreboard::Scoreboard,
    },
    python::{self, Application, Door, Failure},
    worker::{self, Work},
};

/// Serves as forkserver in a process that was forked for it, until `channel` is closed; returns the process's exit code.
///
/// It returns in every worker it forks as well, with that worker's exit code, when the worker has done its work.
/// Either way the caller ends the process and runs nothing else in it.
pub fn run(door: Door, config: &Config, scoreboard: Scoreboard, listeners: Vec<Listener>, channel: Channel) -> u8 {
    if let Err(error) = listen_to_channel_only() {
        return refused(&error);
    }
    let loaded = match prepare(door, &config.app) {
        Ok(loaded) => loaded,
        Err(failure) => return failed(&channel, &failure),
    };
    match Nursery::open(channel).and_then(Nursery::run) {
        Ok(Left::Closed) => 0,
        Ok(Left::Born { slot, channel }) => {
            logging::set_process(Process::Worker(slot));
            let work = Work {
                app: config.app.clone(),
                loaded,
                listeners,
                workers: config.workers.clone(),
                limits: config.limits.clone(),
                recycling: config.supervision.recycling,
                warmup: config.supervision.warmup.clone(),
                scoreboard,
                slot,
            };
            worker::run(work, channel)
        }
        Err(error) => refused(&error),
    }
}

/// The supervisor's blocked signals are not for us, nor for what the application executes while it is loaded.
fn listen_to_channel_only() -> io::Result<()> {
    process::let_stop_signals_pass()?;
    Ok(SigSet::empty().thread_set_mask()?)
}

fn prepare(door: Door, app: &App) -> Result<Option<Application>, Failure> {
    python::start(door, app)?;
    if !app.preload {
        return Ok(None);
    }
    let application = python::load(app)?;
    python::freeze();
    Ok(Some(application))
}

fn failed(channel: &Channel, failure: &Failure) -> u8 {
    let report = failure.to_string();
    if let Err(error) = channel.send(&Message::Failed { report }) {
        debug!("the supervisor is gone ({error}) and does not hear: {failure}");
    }
    LOAD_FAILED
}

fn refused(error: &io::Error) -> u8 {
    error!("a worker cannot be forked ({error}); raise the limit on processes or open files, or free some memory");
    REFUSED
}

/// The exit code of a forkserver to which the system has refused something.
const REFUSED: u8 = 1;
