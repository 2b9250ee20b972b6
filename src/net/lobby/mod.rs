//! The lobby: the asynchronous part of a worker, where every connection waits that no desk can serve right now.
//!
//! A head that dribbles in, a body that pauses, a response that its peer takes slowly, unread bytes that must be drained
//! before a close: none of them holds a thread that could run Python.

use std::{
    future::Future,
    os::fd::OwnedFd,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

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
    guests: Arc<AtomicUsize>,
}

/// The lobby, not yet running.
#[derive(Debug)]
pub struct Lobby {
    jobs: mpsc::UnboundedReceiver<Job>,
    acceptor: Arc<Acceptor>,
    limits: Limits,
    guests: Arc<AtomicUsize>,
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
    /// Connections in the lobby.
    guests: Arc<AtomicUsize>,
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

    /// Whether no connection is in the lobby.
    #[must_use]
    pub fn is_lobby_empty(&self) -> bool {
        self.guests.load(Ordering::Acquire) == 0
    }

    fn send(&self, job: Job) {
        self.guests.fetch_add(1, Ordering::AcqRel);
        // The lobby outlives every desk, so a refused job means that the process is going down anyway.
        drop(self.jobs.send(job));
    }
}

impl Lobby {
    /// A lobby beside `acceptor`, and the way into it.
    #[must_use]
    pub fn new(acceptor: Arc<Acceptor>, limits: Limits) -> (Entry, Self) {
        let (sender, jobs) = mpsc::unbounded_channel();
        let guests = Arc::new(AtomicUsize::new(0));
        let entry = Entry { jobs: sender, acceptor: Arc::clone(&acceptor), guests: Arc::clone(&guests) };
        (entry, Self { jobs, acceptor, limits, guests })
    }

    /// Serves connections until every [`Entry`] is gone and the last connection has left.
    /// When `drain` completes the worker begins to drain; it says whether what waits in the listen queue is still for us.
    pub async fn serve(mut self, drain: impl Future<Output = bool>) {
        let (close, closing) = watch::channel(false);
        let house = House { acceptor: Arc::clone(&self.acceptor), limits: self.limits, closing, guests: self.guests };
        let mut connections = JoinSet::new();
        let mut drain = pin!(drain);
        loop {
            tokio::select! {
                job = self.jobs.recv() => match job {
                    Some(job) => drop(connections.spawn(receive(house.clone(), job))),
                    None => break,
                },
                is_last = &mut drain, if !*close.borrow() => {
                    close.send_replace(true);
                    if is_last { self.acceptor.drain() } else { self.acceptor.hand_over() }
                }
                Some(_) = connections.join_next() => {}
            }
        }
        while connections.join_next().await.is_some() {}
    }
}

async fn receive(house: House, job: Job) {
    let guests = Arc::clone(&house.guests);
    match job {
        Job::Head(socket) => arriving::head(house, socket).await,
        Job::Body(socket, inflow) => arriving::body(house, socket, *inflow).await,
        Job::Leave(socket, rest) => leaving::write(&house.limits, socket, rest).await,
    }
    guests.fetch_sub(1, Ordering::AcqRel);
}
