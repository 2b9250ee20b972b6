//! One socket of the admin's: who has come in by it, and what they may.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    net::{SocketFlags, accept_with},
};
use tracing::warn;

use crate::{
    net::listener::Listener,
    supervisor::{
        admin::{
            Order, View,
            http::Reply,
            route::{self, Awaited},
            visit::Visit,
        },
        fleet::{Fleet, Outcome, Upgraded},
    },
};

/// A listening socket, and those who have come to it.
pub(super) struct Door {
    /// None any more once a successor listens.
    listener: Option<Listener>,
    rights: Rights,
    visits: BTreeMap<u32, Visit>,
    next: u32,
    /// While there is no descriptor for another visitor, asking for one again and again would take all our time.
    shut_until: Option<Instant>,
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
        Self { listener: Some(listener), rights, visits: BTreeMap::new(), next: 0, shut_until: None }
    }

    /// What there is to wait for.
    pub(super) fn interests(&self) -> impl Iterator<Item = (Caller, PollFd<'_>)> {
        let has_room = self.visits.len() < MOST_VISITS || self.slowest().is_some();
        let listener = self.listener.iter().filter(move |_| has_room && self.shut_until.is_none());
        let newcomer = listener.map(|listener| (Caller::Newcomer, PollFd::new(listener, PollFlags::IN)));
        let visitors = self.visits.iter().map(|(number, visit)| (Caller::Visitor(*number), visit.interest()));
        newcomer.chain(visitors)
    }

    /// When the next visitor has been slow for too long, or the door opens again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.visits.values().filter_map(Visit::ends_at).chain(self.shut_until).min()
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
        let Some(listener) = &self.listener else { return };
        let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
            Err(error) => {
                self.shut_until = Some(Instant::now() + PAUSE);
                return warn!("{}: nobody can come in ({error}); raise the limit on open files", listener.address());
            }
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

    /// Tells those who wait what has become of it, and sees off who has left or is too slow.
    pub(super) fn answer_waiting(&mut self, fleet: &Fleet) {
        let now = Instant::now();
        self.shut_until = self.shut_until.filter(|until| now < *until);
        for visit in self.visits.values_mut() {
            let reply = visit.awaited().and_then(|awaited| end_of(awaited, fleet));
            reply.iter().for_each(|reply| visit.give(reply, now + PATIENCE));
        }
        self.visits.retain(|_, visit| !visit.is_over(now));
    }

    /// The socket, unless it has been left to a successor.
    pub(super) fn listener(&mut self) -> Option<&mut Listener> {
        self.listener.as_mut()
    }

    /// Lets nobody in any more: a successor does.
    pub(super) fn leave(&mut self) {
        self.listener = None;
    }

    /// Removes the socket's file, if it has one.
    pub(super) fn close(self) {
        let Some(mut listener) = self.listener else { return };
        if let Err(error) = listener.remove_file() {
            warn!("{}: the socket's file cannot be removed ({error}); remove it by hand", listener.address());
        }
    }
}

/// What is said when what is waited for has come to its end; nothing before.
fn end_of(awaited: Awaited, fleet: &Fleet) -> Option<Reply> {
    match awaited {
        Awaited::Reload(generation) => match fleet.outcome(generation) {
            Some(Outcome::Pending) => None,
            Some(Outcome::Served) => Some(Reply::json(200, format!("{{\"generation\":{generation}}}"))),
            Some(Outcome::Failed(failure)) => Some(Reply::text(500, failure.report.clone())),
            None => Some(Reply::text(503, fleet.farewell())),
        },
        Awaited::Upgrade(attempt) => match fleet.upgraded(attempt) {
            Upgraded::Pending => None,
            Upgraded::By(pid) => Some(Reply::json(200, format!("{{\"pid\":{pid}}}"))),
            Upgraded::Failed(reason) => Some(Reply::text(500, reason.to_owned())),
        },
    }
}

/// When one more comes, whoever has been slowest goes.
const MOST_VISITS: usize = 64;
/// How long a visitor may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nobody is let in once there was no descriptor for a visitor.
const PAUSE: Duration = Duration::from_secs(1);
