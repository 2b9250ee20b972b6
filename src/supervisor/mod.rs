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

mod admin;
mod backoff;
mod ending;
mod exit;
mod fleet;
mod generation;
mod hearing;
mod life;
mod notify;
mod privileges;
mod signals;
mod sockets;
mod touch;
mod valve;
mod watch;
mod weight;

use std::{io, time::Instant};

use tracing::{error, warn};

pub use exit::Exit;

use crate::{
    channel::Channel,
    config::{Config, Owner},
    net::listener::Listener,
    observe::scoreboard::Scoreboard,
    supervisor::{
        admin::Admin,
        fleet::{Fleet, Plan},
        notify::Notify,
        signals::Signals,
        touch::Touch,
        valve::Valve,
        watch::{Equipment, Watch},
        weight::Scales,
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
/// SIGTERM and SIGINT stop gracefully, a second one and SIGQUIT at once; SIGHUP reloads. Reports what goes wrong to the log.
pub fn run(config: &Config, scoreboard: Scoreboard, fork: Forker<'_>) -> Ended {
    if let Err(refusal) = privileges::check(&config.privileges) {
        error!("{refusal}");
        return Ended::Exit(Exit::Misconfigured);
    }
    // Blocked before there is a socket file, so that no signal can leave one behind.
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(error) => return refused("signals cannot be read", &error.into()),
    };
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        warn!("orphans of workers cannot be adopted ({error}); the system's process 1 will collect them");
    }
    // Connected while we may still connect wherever we were told to.
    let mut notify = Notify::from_env();
    let mut listeners = match sockets::open(&config.listen, &mut notify) {
        Ok(listeners) => listeners,
        Err(error) => {
            error!("{error}");
            return Ended::Exit(Exit::Refused);
        }
    };
    let valve = Valve::new(&listeners, Instant::now());
    let equipment =
        equip(config, scoreboard, signals, notify, valve).and_then(|equipment| become_user(config).map(|()| equipment));
    match equipment {
        Ok(equipment) => Watch::new(Fleet::new(plan(config), Instant::now()), listeners, equipment).run(fork),
        Err(problem) => {
            sockets::remove_files(&mut listeners);
            error!("{problem}");
            Ended::Exit(Exit::Refused)
        }
    }
}

/// Gives up the privileges that opened the sockets.
fn become_user(config: &Config) -> Result<(), String> {
    let account = config.privileges.account.as_ref();
    account.map_or(Ok(()), privileges::become_account).map_err(|refusal| refusal.to_string())
}

/// Opens everything beside the listeners that the supervisor watches.
fn equip(
    config: &Config,
    scoreboard: Scoreboard,
    signals: Signals,
    notify: Notify,
    valve: Valve,
) -> Result<Equipment, String> {
    let supervision = &config.supervision;
    let touch = Touch::watch(&supervision.reload_on_touch).map_err(|error| {
        format!("--reload-on-touch: {error}; raise fs.inotify.max_user_instances or correct the path")
    })?;
    let owner = config.privileges.account.as_ref().map(Owner::from);
    let admin = Admin::open(&supervision.admin, owner)?;
    Ok(Equipment {
        scoreboard,
        signals,
        notify,
        touch,
        admin,
        scales: Scales::new(supervision.recycling, Instant::now()),
        valve,
    })
}

fn plan(config: &Config) -> Plan {
    Plan {
        workers: config.workers.range.least,
        range: config.workers.range,
        scale_down_after: config.workers.scale_down_after,
        threads: config.workers.threads,
        start_timeout: config.supervision.start_timeout,
        stop_timeout: config.workers.stop_timeout,
        leave_timeout: config.workers.leave_timeout(),
        recycling: config.supervision.recycling,
        application: config.app.target.to_string(),
    }
}

fn refused(what: &str, error: &io::Error) -> Ended {
    error!("{what} ({error}); raise the limit on open files");
    Ended::Exit(Exit::Refused)
}
