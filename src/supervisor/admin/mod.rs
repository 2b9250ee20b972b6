//! A little HTTP on sockets of our own, answered from what the supervisor knows anyway: a Unix socket for the operator, who may
//! give orders, and a TCP address for probes, which may ask.
//!
//! Nothing here waits: not for a worker, and not for a visitor who is slow to ask or to read.

mod door;
mod http;
mod route;
mod visit;

use std::{net::SocketAddr, path::Path, time::Instant};

use rustix::event::PollFd;
use tracing::info;

use crate::{
    config::{self, Address, Admission, Listen, Owner, Range},
    net::listener::{BindError, Listener},
    supervisor::{
        admin::door::{Caller, Door, Rights},
        fleet::Fleet,
        valve::LoadStatus,
    },
};

/// What visitors are told of.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// The processes.
    pub(super) fleet: &'a Fleet,
    /// The listen queues and what is being served.
    pub(super) load: &'a LoadStatus,
}

/// The sockets and those who have come to them.
pub(super) struct Admin {
    doors: Vec<Door>,
}

/// A descriptor of the admin's that has something to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    door: usize,
    caller: Caller,
}

/// What a visitor wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Load new code.
    Reload,
    /// Replace this process.
    Upgrade,
    /// Have that many workers, or as many within that range as the load demands.
    Scale(Range),
    /// Stop gracefully.
    Stop,
}

impl Admin {
    /// Listens where `settings` say, on what is inherited or on sockets of our own; a Unix socket is for its owner alone.
    ///
    /// # Errors
    /// What cannot be bound although it was asked for, with the option that asked; then nothing is left behind.
    pub(super) fn open(
        settings: &config::Admin,
        owner: Option<Owner>,
        mut inherited: Vec<Listener>,
    ) -> Result<Self, String> {
        // The address first: it leaves no file behind.
        let probes = settings.address.map(|address| listen_for_probes(address, &mut inherited));
        let probes = probes.transpose().map_err(|error| format!("--admin: {error}"))?;
        let mut doors: Vec<_> = probes.into_iter().collect();
        match settings.socket.as_deref().map(|path| listen_for_orders(path, owner, &mut inherited)) {
            Some(Ok(door)) => doors.push(door),
            Some(Err(error)) if settings.is_default => info!("no admin socket: {error}"),
            Some(Err(error)) => return Err(format!("--admin-socket: {error}")),
            None => {}
        }
        Ok(Self { doors })
    }

    /// What there is to wait for.
    pub(super) fn interests(&self) -> impl Iterator<Item = (Source, PollFd<'_>)> {
        let doors = self.doors.iter().enumerate();
        doors.flat_map(|(door, one)| one.interests().map(move |(caller, poll)| (Source { door, caller }, poll)))
    }

    /// When the next visitor has been slow for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.doors.iter().filter_map(Door::deadline).min()
    }

    /// Sees to `source`; returns what is to be done because of it.
    pub(super) fn attend(&mut self, source: Source, view: View<'_>) -> Option<Order> {
        self.doors.get_mut(source.door)?.attend(source.caller, view)
    }

    /// Tells those who wait what has become of it, and sees off who has left or is too slow.
    pub(super) fn answer_waiting(&mut self, fleet: &Fleet) {
        self.doors.iter_mut().for_each(|door| door.answer_waiting(fleet));
    }

    /// The sockets it listens on.
    pub(super) fn listeners(&mut self) -> impl Iterator<Item = &mut Listener> {
        self.doors.iter_mut().filter_map(Door::listener)
    }

    /// Lets nobody in any more, because a successor does; who is in is served.
    pub(super) fn leave(&mut self) {
        self.doors.iter_mut().for_each(Door::leave);
    }

    /// Removes the Unix socket's file.
    pub(super) fn close(self) {
        self.doors.into_iter().for_each(Door::close);
    }
}

fn listen_for_orders(path: &Path, owner: Option<Owner>, inherited: &mut Vec<Listener>) -> Result<Door, BindError> {
    let listener = listen(&Address::Unix(path.to_owned()), owner, inherited)?;
    info!("admin socket: {}", listener.address());
    Ok(Door::new(listener, Rights::All))
}

fn listen_for_probes(address: SocketAddr, inherited: &mut Vec<Listener>) -> Result<Door, BindError> {
    let address = Address::Tcp(address);
    let listener = listen(&address, None, inherited)?;
    let audience = if address.is_local() { "this machine" } else { "whoever can connect" };
    info!("admin address: {}, answers {audience} and takes no orders", listener.address());
    Ok(Door::new(listener, Rights::Questions))
}

fn listen(address: &Address, owner: Option<Owner>, inherited: &mut Vec<Listener>) -> Result<Listener, BindError> {
    let found = inherited.iter().position(|listener| address.admits(listener.address()));
    found.map_or_else(|| Listener::bind(address, &settings(owner)), |found| Ok(inherited.swap_remove(found)))
}

fn settings(socket_owner: Option<Owner>) -> Listen {
    Listen {
        addresses: Vec::new(),
        is_default: false,
        socket_mode: 0o600,
        socket_owner,
        backlog: BACKLOG,
        admission: Admission::default(),
    }
}

const BACKLOG: i32 = 64;
