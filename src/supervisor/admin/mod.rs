//! The admin socket: a little HTTP on a Unix socket of our own, answered from what the supervisor knows anyway.
//!
//! Nothing here waits: not for a worker, and not for a visitor who is slow to ask or to read.

mod http;
mod route;
mod visit;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    net::{SocketFlags, accept_with},
};
use tracing::warn;

use crate::{
    config::{Address, Listen, Owner},
    net::listener::{BindError, Listener},
    supervisor::{
        admin::{http::Reply, visit::Visit},
        fleet::{Fleet, Outcome},
    },
};

/// The socket and those who have come to it.
pub(super) struct Admin {
    listener: Listener,
    visits: BTreeMap<u32, Visit>,
    next: u32,
}

/// A descriptor of the admin socket's that has something to say.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// Somebody wants to come in.
    Door,
    /// Somebody inside says something, or can be told the rest.
    Visit(u32),
}

/// What a visitor wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Load new code.
    Reload,
    /// Have that many workers.
    Scale(usize),
    /// Stop gracefully.
    Stop,
}

impl Admin {
    /// Listens at `path`, for its owner alone.
    ///
    /// # Errors
    /// When the path cannot be bound, or a live socket is there.
    pub(super) fn bind(path: &Path, socket_owner: Option<Owner>) -> Result<Self, BindError> {
        let (addresses, is_default) = (Vec::new(), false);
        let settings = Listen { addresses, is_default, socket_mode: 0o600, socket_owner, backlog: BACKLOG };
        let listener = Listener::bind(&Address::Unix(path.to_owned()), &settings)?;
        Ok(Self { listener, visits: BTreeMap::new(), next: 0 })
    }

    /// What there is to wait for.
    pub(super) fn interests(&self) -> impl Iterator<Item = (Source, PollFd<'_>)> {
        let door =
            (self.visits.len() < MOST_VISITS).then(|| (Source::Door, PollFd::new(&self.listener, PollFlags::IN)));
        let visits = self.visits.iter().map(|(number, visit)| (Source::Visit(*number), visit.interest()));
        door.into_iter().chain(visits)
    }

    /// When the next visitor has been slow for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.visits.values().filter_map(Visit::ends_at).min()
    }

    /// Sees to `source`; returns what is to be done because of it.
    pub(super) fn attend(&mut self, source: Source, fleet: &Fleet) -> Option<Order> {
        match source {
            Source::Door => self.let_in(),
            Source::Visit(number) => {
                let visit = self.visits.get_mut(&number)?;
                let request = visit.attend()?;
                let (reply, order) = route::answer(&request, fleet, Instant::now());
                visit.take(reply);
                return order;
            }
        }
        None
    }

    fn let_in(&mut self) {
        let socket = match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
            Err(error) => return warn!("{}: {error}; raise the limit on open files", self.listener.address()),
        };
        self.next = self.next.wrapping_add(1);
        self.visits.insert(self.next, Visit::new(socket, Instant::now() + PATIENCE));
    }

    /// Tells those who wait for a reload what has become of it, and sees off who has left or is too slow.
    pub(super) fn answer_reloads(&mut self, fleet: &Fleet) {
        let now = Instant::now();
        for visit in self.visits.values_mut() {
            let Some(generation) = visit.awaited() else { continue };
            let reply = match fleet.outcome(generation) {
                Some(Outcome::Pending) => continue,
                Some(Outcome::Served) => Reply::json(200, format!("{{\"generation\":{generation}}}")),
                Some(Outcome::Failed(failure)) => Reply::text(500, failure.report.clone()),
                None => Reply::text(503, "rusgi is stopping".to_owned()),
            };
            visit.give(&reply, now + PATIENCE);
        }
        self.visits.retain(|_, visit| !visit.is_over(now));
    }

    /// Removes the socket's file.
    pub(super) fn close(mut self) {
        if let Err(error) = self.listener.remove_file() {
            warn!("{}: the socket's file cannot be removed ({error}); remove it by hand", self.listener.address());
        }
    }
}

/// More do not get in before others have left.
const MOST_VISITS: usize = 64;
const BACKLOG: i32 = 64;
/// How long a visitor may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);
