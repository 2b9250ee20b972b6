//! A worker process: desks that serve, a lobby for what has to wait, and the orders of the supervisor.

use std::{os::fd::OwnedFd, sync::Arc, thread};

use tokio::runtime;

use crate::{
    channel::{Channel, LOAD_FAILED, Message},
    config,
    net::{
        acceptor::Acceptor,
        listener::Listener,
        lobby::{Entry, Lobby},
    },
    observe::scoreboard::{Row, Scoreboard},
    python::{self, Application, Facts, Interrupter},
    worker::{
        desk::Desk,
        orders::Orders,
        watchdog::{Seat, Times, Watchdog},
        wear::Wear,
    },
};

mod desk;
mod orders;
mod signals;
mod warmup;
mod watchdog;
mod wear;

/// Exit code of a worker that the system refused something.
const REFUSED: u8 = 1;

/// What a worker needs to work.
#[derive(Debug)]
pub struct Work {
    /// What to load.
    pub app: config::App,
    /// The application, where the forkserver has loaded it already.
    pub loaded: Option<Application>,
    /// Where requests come from; shared with all other workers.
    pub listeners: Vec<Listener>,
    /// How many workers and threads there are.
    pub workers: config::Workers,
    /// Sizes and times.
    pub limits: config::Limits,
    /// When it is to be replaced.
    pub recycling: config::Recycling,
    /// What it answers to itself before it is ready.
    pub warmup: Vec<String>,
    /// Where desks say what they are doing.
    pub scoreboard: Scoreboard,
    /// The worker's number, from 1.
    pub slot: u32,
}

/// Runs the calling process as a worker until it has drained, and returns its exit code.
pub fn run(work: Work, channel: Channel) -> u8 {
    let signalled = match signals::take_over() {
        Ok(signalled) => signalled,
        Err(error) => return refused("signals", &error),
    };
    let application = match work.loaded {
        Some(application) => application,
        None => match python::load(&work.app) {
            Ok(application) => application,
            Err(failure) => {
                report(&channel, &Message::Failed { report: failure.to_string() });
                return LOAD_FAILED;
            }
        },
    };
    // After the application, whose own interval gives way to what the operator says.
    if let Err(error) = python::set_switch_interval(work.workers.switch_interval, work.workers.threads) {
        return refused("switch-interval", &error);
    }
    // The application may have set handlers of its own while it was imported.
    if let Err(error) = signals::install() {
        return refused("signals", &error);
    }
    let acceptor = match Acceptor::new(work.listeners) {
        Ok(acceptor) => Arc::new(acceptor),
        Err(error) => return refused("accept", &error),
    };
    let facts = Facts { multithread: work.workers.threads > 1, multiprocess: work.workers.range.most > 1 };
    let wear = match wear(work.recycling, &channel) {
        Ok(wear) => wear,
        Err(error) => return refused("channel", &error),
    };
    let watch = match Watch::new(work.scoreboard, &work.workers) {
        Ok(watch) => watch,
        Err(error) => return refused("watchdog", &error),
    };
    let floor = Floor { acceptor, application, facts, limits: work.limits, wear, warmup: work.warmup };
    let code = python::detached(|| floor.serve(&channel, &signalled, watch));
    python::finish();
    code
}

/// What the watchdog needs.
struct Watch {
    interrupter: Interrupter,
    /// One for each desk.
    rows: Vec<Row>,
    times: Times,
}

impl Watch {
    fn new(scoreboard: Scoreboard, workers: &config::Workers) -> Result<Self, String> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let claim = |scoreboard: Scoreboard| scoreboard.claim(pid, workers.request_timeout);
        // Where the common scoreboard is full the worker keeps one that only it can read.
        let own = || Scoreboard::new(1, workers.threads).ok().and_then(claim);
        let rows = claim(scoreboard).or_else(own).ok_or("out of memory: use fewer threads")?;
        let times = Times { request: workers.request_timeout, grace: workers.timeout_grace };
        Ok(Self { interrupter: Interrupter::new()?, rows, times })
    }
}

/// What every desk of the worker shares.
struct Floor {
    acceptor: Arc<Acceptor>,
    application: Application,
    facts: Facts,
    limits: config::Limits,
    wear: Option<Arc<Wear>>,
    warmup: Vec<String>,
}

impl Floor {
    /// Opens the desks and the lobby, reports ready, and returns when all have closed.
    fn serve(&self, channel: &Channel, signalled: &OwnedFd, watch: Watch) -> u8 {
        // Everything the lobby needs is there before a desk accepts: later, descriptors may have run out.
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let (runtime, orders) =
            match runtime.and_then(|runtime| Ok((Orders::new(&runtime, channel, signalled)?, runtime))) {
                Ok((orders, runtime)) => (runtime, orders),
                Err(error) => return refused("lobby", &error),
            };
        let (entry, lobby) = Lobby::new(Arc::clone(&self.acceptor), self.limits.clone());
        let (watchdog, seats) = Watchdog::new(&watch.rows, watch.interrupter, entry.clone(), watch.times);
        let mut seats = seats.into_iter();
        let Some(first) = seats.next() else {
            return refused("watchdog", &"a worker without threads");
        };
        let stuck = orders.stuck();
        thread::scope(|scope| {
            let opened = named("lobby")
                .spawn_scoped(scope, move || runtime.block_on(lobby.serve(orders.until_drain())))
                .map(drop);
            if let Err(cold) = self.warm_up(&entry, &first) {
                report(channel, &Message::Failed { report: cold });
                return LOAD_FAILED;
            }
            report(channel, &Message::Ready);
            let watched = named("watchdog").spawn_scoped(scope, move || watchdog.run(|| stuck.give_up())).map(drop);
            let others = seats.zip(2..).try_for_each(|(seat, number)| {
                let entry = entry.clone();
                named(&format!("desk-{number}")).spawn_scoped(scope, move || self.work(entry, seat)).map(drop)
            });
            if let Err(error) = opened.and(watched).and(others) {
                self.acceptor.drain();
                return refused("thread", &error);
            }
            self.work(entry, first);
            0
        })
    }

    /// Has the application answer what it is to have answered before anybody else asks.
    fn warm_up(&self, entry: &Entry, seat: &Arc<Seat>) -> Result<(), String> {
        if self.warmup.is_empty() {
            return Ok(());
        }
        let mut desk = self.desk(entry.clone(), Arc::clone(seat))?;
        let mut answers = self.warmup.iter().map(|path| warmup::ask(path, |socket| desk.answer(socket)));
        answers.try_for_each(|answer| answer.map_err(|cold| cold.to_string()))
    }

    /// One desk's life, on the thread that calls it.
    fn work(&self, entry: Entry, seat: Arc<Seat>) {
        match self.desk(entry, seat) {
            Ok(desk) => desk.with_wear(self.wear.clone()).run(),
            Err(error) => tracing::error!("desk: {error}"),
        }
    }

    /// A desk for the thread that calls it.
    fn desk(&self, entry: Entry, seat: Arc<Seat>) -> Result<Desk, String> {
        let python = python::Desk::new(self.application.share(), self.facts, seat.row())?;
        Ok(Desk::new(Arc::clone(&self.acceptor), entry, seat, python, self.limits.clone()))
    }
}

/// What counts requests, where they are limited.
fn wear(recycling: config::Recycling, channel: &Channel) -> std::io::Result<Option<Arc<Wear>>> {
    let most = i32::try_from(std::process::id()).ok().and_then(|pid| recycling.requests(pid));
    most.map(|most| Wear::new(most, channel).map(Arc::new)).transpose()
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(format!("rusgi-{name}"))
}

fn report(channel: &Channel, message: &Message) {
    // A supervisor that has died hears nothing; the worker notices by its channel's end.
    drop(channel.send(message));
}

fn refused(what: &str, error: &dyn std::fmt::Display) -> u8 {
    tracing::error!("{what}: {error}");
    REFUSED
}
