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
    python::{self, Application, Facts},
    worker::{desk::Desk, orders::Orders},
};

mod desk;
mod orders;
mod signals;

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
    // The application may have set handlers of its own while it was imported.
    if let Err(error) = signals::install() {
        return refused("signals", &error);
    }
    let acceptor = match Acceptor::new(work.listeners) {
        Ok(acceptor) => Arc::new(acceptor),
        Err(error) => return refused("accept", &error),
    };
    let facts = Facts { multithread: work.workers.threads > 1, multiprocess: work.workers.count > 1 };
    let floor = Floor { acceptor, application, facts, limits: work.limits };
    let code = python::detached(|| floor.serve(&channel, &signalled, work.workers.threads));
    python::finish();
    code
}

/// What every desk of the worker shares.
struct Floor {
    acceptor: Arc<Acceptor>,
    application: Application,
    facts: Facts,
    limits: config::Limits,
}

impl Floor {
    /// Opens the desks and the lobby, reports ready, and returns when all have closed.
    fn serve(&self, channel: &Channel, signalled: &OwnedFd, threads: usize) -> u8 {
        // Everything the lobby needs is there before a desk accepts: later, descriptors may have run out.
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let (runtime, orders) =
            match runtime.and_then(|runtime| Ok((Orders::new(&runtime, channel, signalled)?, runtime))) {
                Ok((orders, runtime)) => (runtime, orders),
                Err(error) => return refused("lobby", &error),
            };
        let (entry, lobby) = Lobby::new(Arc::clone(&self.acceptor), self.limits.clone());
        report(channel, &Message::Ready);
        thread::scope(|scope| {
            let opened = named("lobby")
                .spawn_scoped(scope, move || runtime.block_on(lobby.serve(orders.until_drain())))
                .map(drop);
            let others = (2..=threads).try_for_each(|number| {
                let entry = entry.clone();
                named(&format!("desk-{number}")).spawn_scoped(scope, move || self.work(entry)).map(drop)
            });
            if let Err(error) = opened.and(others) {
                self.acceptor.drain();
                return refused("thread", &error);
            }
            self.work(entry);
            0
        })
    }

    /// One desk's life, on the thread that calls it.
    fn work(&self, entry: Entry) {
        match python::Desk::new(self.application.share(), self.facts) {
            Ok(python) => Desk::new(Arc::clone(&self.acceptor), entry, python, self.limits.clone()).run(),
            Err(error) => tracing::error!("desk: {error}"),
        }
    }
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
