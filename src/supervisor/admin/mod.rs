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
    /// Have that many workers, or as many within that range as the load demands.
    Scale(Range),
    /// Stop gracefully.
    Stop,
}

impl Admin {
    /// Listens where `settings` say; a Unix socket is for its owner alone.
    ///
    /// # Errors
    /// What cannot be bound although it was asked for, with the option that asked; then nothing is left behind.
    pub(super) fn open(settings: &config::Admin, owner: Option<Owner>) -> Result<Self, String> {
        // The address first: it leaves no file behind.
        let probes =
            settings.address.map(|address| listen_for_probes(address).map_err(|error| format!("--admin: {error}")));
        let mut doors: Vec<_> = probes.transpose()?.into_iter().collect();
        match settings.socket.as_deref().map(|path| listen_for_orders(path, owner)) {
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

    /// Tells those who wait for a reload what has become of it, and sees off who has left or is too slow.
    pub(super) fn answer_reloads(&mut self, fleet: &Fleet) {
        self.doors.iter_mut().for_each(|door| door.answer_reloads(fleet));
    }

    /// Removes the Unix socket's file.
    pub(super) fn close(self) {
        self.doors.into_iter().for_each(Door::close);
    }
}

fn listen_for_orders(path: &Path, owner: Option<Owner>) -> Result<Door, BindError> {
    let listener = Listener::bind(&Address::Unix(path.to_owned()), &settings(owner))?;
    info!("admin socket: {}", listener.address());
    Ok(Door::new(listener, Rights::All))
}

fn listen_for_probes(address: SocketAddr) -> Result<Door, BindError> {
    let address = Address::Tcp(address);
    let listener = Listener::bind(&address, &settings(None))?;
    let audience = if address.is_local() { "this machine" } else { "whoever can connect" };
    info!("admin address: {}, answers {audience} and takes no orders", listener.address());
    Ok(Door::new(listener, Rights::Questions))
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
