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
mod upgrade;
mod valve;
mod watch;
mod weight;

use std::{io, time::Instant};

use tracing::{error, warn};

pub use exit::Exit;
pub use upgrade::Predecessor;

use crate::{
    channel::Channel,
    config::{Config, Owner, Range},
    net::listener::Listener,
    observe::scoreboard::Scoreboard,
    supervisor::{
        admin::Admin,
        fleet::{Fleet, Plan},
        notify::Notify,
        signals::Signals,
        touch::Touch,
        upgrade::{CommandLine, Inheritance},
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
/// SIGTERM and SIGINT stop gracefully, a second one and SIGQUIT at once; SIGHUP reloads; SIGUSR2 has another process in its place.
/// With a `predecessor` it serves on the sockets of that one. Reports what goes wrong to the log, and to the predecessor.
pub fn run(config: &Config, scoreboard: Scoreboard, predecessor: Option<Predecessor>, fork: Forker<'_>) -> Ended {
    match prepare(config, scoreboard, predecessor.as_ref()) {
        Ok(watch) => watch.succeeding(predecessor).run(fork),
        Err((exit, problem)) => {
            error!("{problem}");
            predecessor.iter().for_each(|predecessor| predecessor.report(&problem));
            Ended::Exit(exit)
        }
    }
}

/// Opens everything and becomes who it is to be; if that cannot be, nothing is left behind.
fn prepare(
    config: &Config,
    scoreboard: Scoreboard,
    predecessor: Option<&Predecessor>,
) -> Result<Watch, (Exit, String)> {
    privileges::check(&config.privileges).map_err(|refusal| (Exit::Misconfigured, refusal.to_string()))?;
    // Blocked before there is a socket file, so that no signal can leave one behind.
    let signals = Signals::block()
        .map_err(|error| refused(format!("signals cannot be read ({error}); raise the limit on open files")))?;
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        warn!("orphans of workers cannot be adopted ({error}); the system's process 1 will collect them");
    }
    let inheritance = predecessor.map(Predecessor::inherit).transpose();
    let inheritance =
        inheritance.map_err(|error| refused(format!("nothing can be taken over ({error}); start anew")))?;
    // Connected while we may still connect wherever we were told to; a successor has nothing to say yet.
    let mut notify = if inheritance.is_some() { Notify::default() } else { Notify::from_env() };
    let Inheritance { listeners, admin, strength } = inheritance.unwrap_or_default();
    let mut listeners =
        sockets::open(&config.listen, &mut notify, listeners).map_err(|error| refused(error.to_string()))?;
    let desks = config.workers.range.least.saturating_mul(config.workers.threads);
    let valve = Valve::new(&listeners, desks, config.workers.queue_timeout, Instant::now());
    let equipment = equip(config, scoreboard, (signals, notify, valve), admin);
    match equipment.and_then(|equipment| become_user(config).map(|()| equipment)) {
        Ok(equipment) => Ok(Watch::new(fleet(config, strength), listeners, equipment)),
        Err(problem) => {
            sockets::remove_files(&mut listeners);
            Err(refused(problem))
        }
    }
}

fn refused(problem: String) -> (Exit, String) {
    (Exit::Refused, problem)
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
    (signals, notify, valve): (Signals, Notify, Valve),
    inherited: Vec<Listener>,
) -> Result<Equipment, String> {
    let supervision = &config.supervision;
    let touch = Touch::watch(&supervision.reload_on_touch).map_err(|error| {
        format!("--reload-on-touch: {error}; raise fs.inotify.max_user_instances or correct the path")
    })?;
    let owner = config.privileges.account.as_ref().map(Owner::from);
    let admin = Admin::open(&supervision.admin, owner, inherited)?;
    Ok(Equipment {
        scoreboard,
        signals,
        notify,
        touch,
        admin,
        scales: Scales::new(supervision.recycling, Instant::now()),
        valve,
        command: CommandLine::of_this_process(),
        predecessor: None,
    })
}

fn fleet(config: &Config, strength: Option<(usize, Option<Range>)>) -> Fleet {
    let now = Instant::now();
    let mut fleet = Fleet::new(plan(config), now);
    strength.into_iter().for_each(|strength| fleet.inherit(strength, now));
    fleet
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
        obstacle: upgrade::obstacle(),
        application: config.app.target.to_string(),
    }
}
