//! One socket of the admin's: who has come in by it, and what they may.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    net::{SocketFlags, accept_with},
};
use tracing::warn;

use crate::{
    net::listener::Listener,
    supervisor::{
        admin::{Order, View, http::Reply, route, visit::Visit},
        fleet::{Fleet, Outcome},
    },
};

/// A listening socket, and those who have come to it.
pub(super) struct Door {
    listener: Listener,
    rights: Rights,
    visits: BTreeMap<u32, Visit>,
    next: u32,
}

/// What visitors may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// Ask, and give orders.
    All,
    /// Ask.
    Questions,
}

/// What has something to say at a door.
#[derive(Clone, Copy, Debug)]
pub(super) enum Caller {
    /// Somebody who wants to come in.
    Newcomer,
    /// Somebody inside, who says something or can be told the rest.
    Visitor(u32),
}

impl Door {
    /// A door at `listener`, whose visitors may what `rights` say.
    pub(super) fn new(listener: Listener, rights: Rights) -> Self {
        Self { listener, rights, visits: BTreeMap::new(), next: 0 }
    }

    /// What there is to wait for.
    pub(super) fn interests(&self) -> impl Iterator<Item = (Caller, PollFd<'_>)> {
        let has_room = self.visits.len() < MOST_VISITS || self.slowest().is_some();
        let newcomer = has_room.then(|| (Caller::Newcomer, PollFd::new(&self.listener, PollFlags::IN)));
        let visitors = self.visits.iter().map(|(number, visit)| (Caller::Visitor(*number), visit.interest()));
        newcomer.into_iter().chain(visitors)
    }

    /// When the next visitor has been slow for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.visits.values().filter_map(Visit::ends_at).min()
    }

    /// Sees to `caller`; returns what is to be done because of it.
    pub(super) fn attend(&mut self, caller: Caller, view: View<'_>) -> Option<Order> {
        match caller {
            Caller::Newcomer => self.let_in(),
            Caller::Visitor(number) => {
                let visit = self.visits.get_mut(&number)?;
                let request = visit.attend()?;
                let (reply, order) = route::answer(&request, self.rights, view, Instant::now());
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
        if self.visits.len() >= MOST_VISITS {
            // A probe must not be kept waiting by a crowd that says nothing.
            self.slowest().and_then(|slowest| self.visits.remove(&slowest));
        }
        self.next = self.next.wrapping_add(1);
        self.visits.insert(self.next, Visit::new(socket, Instant::now() + PATIENCE));
    }

    /// Whoever has been here longest without waiting for us.
    fn slowest(&self) -> Option<u32> {
        self.visits.iter().find(|(_, visit)| visit.awaited().is_none()).map(|(number, _)| *number)
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

    /// Removes the socket's file, if it has one.
    pub(super) fn close(mut self) {
        if let Err(error) = self.listener.remove_file() {
            warn!("{}: the socket's file cannot be removed ({error}); remove it by hand", self.listener.address());
        }
    }
}

/// When one more comes, whoever has been slowest goes.
const MOST_VISITS: usize = 64;
/// How long a visitor may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);
