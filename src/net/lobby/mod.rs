//! The lobby: the asynchronous part of a worker, where every connection waits that no desk can serve right now.
//!
//! A head that dribbles in, a body that pauses, a response that its peer takes slowly, unread bytes that must be drained
//! before a close: none of them holds a thread that could run Python.

use std::{future::Future, os::fd::OwnedFd, pin::pin, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    config::Limits,
    net::{acceptor::Acceptor, inflow::Inflow, refusal::Refusal},
    response::Part,
};

mod arriving;
mod codec;
mod hold_back;
mod leaving;

pub use leaving::PONG;

/// The way into the lobby; every desk has one. When the last is dropped the lobby ends after its last connection.
#[derive(Clone, Debug)]
pub struct Entry {
    jobs: mpsc::UnboundedSender<Job>,
    acceptor: Arc<Acceptor>,
}

/// The lobby, not yet running.
#[derive(Debug)]
pub struct Lobby {
    jobs: mpsc::UnboundedReceiver<Job>,
    acceptor: Arc<Acceptor>,
    limits: Limits,
}

/// What a connection waits for.
#[derive(Debug)]
enum Job {
    /// The rest of its packet; nothing has been taken out of the socket.
    Head(OwnedFd),
    /// The rest of its body, as far as it is buffered.
    Body(OwnedFd, Box<Inflow>),
    /// Its response to be taken, then its close.
    Leave(OwnedFd, Vec<Part>),
}

/// What every task of the lobby knows.
#[derive(Clone, Debug)]
struct House {
    acceptor: Arc<Acceptor>,
    limits: Limits,
    closing: watch::Receiver<bool>,
}

impl Entry {
    /// Leaves a connection here until its packet is complete; it comes back through the acceptor.
    pub fn await_head(&self, socket: OwnedFd) {
        self.acceptor.expect();
        self.send(Job::Head(socket));
    }

    /// Leaves a connection here until its body is complete or fills its buffer; it comes back through the acceptor.
    pub fn await_body(&self, socket: OwnedFd, inflow: Inflow) {
        self.acceptor.expect();
        self.send(Job::Body(socket, Box::new(inflow)));
    }

    /// Leaves a connection here until its peer has taken `rest`, and for good.
    pub fn leave(&self, socket: OwnedFd, rest: Vec<Part>) {
        self.send(Job::Leave(socket, rest));
    }

    /// Answers `refusal` and says so in the log.
    pub fn refuse(&self, socket: OwnedFd, refusal: &Refusal) {
        leaving::log(&socket, refusal);
        self.leave(socket, vec![refusal.page(false).into()]);
    }

    fn send(&self, job: Job) {
        // The lobby outlives every desk, so a refused job means that the process is going down anyway.
        drop(self.jobs.send(job));
    }
}

impl Lobby {
    /// A lobby beside `acceptor`, and the way into it.
    #[must_use]
    pub fn new(acceptor: Arc<Acceptor>, limits: Limits) -> (Entry, Self) {
        let (sender, jobs) = mpsc::unbounded_channel();
        (Entry { jobs: sender, acceptor: Arc::clone(&acceptor) }, Self { jobs, acceptor, limits })
    }

    /// Serves connections until every [`Entry`] is gone and the last connection has left.
    /// When `drain` completes the worker begins to drain.
    pub async fn serve(mut self, drain: impl Future<Output = ()>) {
        let (close, closing) = watch::channel(false);
        let house = House { acceptor: Arc::clone(&self.acceptor), limits: self.limits, closing };
        let mut connections = JoinSet::new();
        let mut drain = pin!(drain);
        loop {
            tokio::select! {
                job = self.jobs.recv() => match job {
                    Some(job) => drop(connections.spawn(receive(house.clone(), job))),
                    None => break,
                },
                () = &mut drain, if !*close.borrow() => {
                    close.send_replace(true);
                    self.acceptor.drain();
                }
                Some(_) = connections.join_next() => {}
            }
        }
        while connections.join_next().await.is_some() {}
    }
}

async fn receive(house: House, job: Job) {
    match job {
        Job::Head(socket) => arriving::head(house, socket).await,
        Job::Body(socket, inflow) => arriving::body(house, socket, *inflow).await,
        Job::Leave(socket, rest) => leaving::write(&house.limits, socket, rest).await,
    }
}
