//! One visitor's connection: asks, waits for a reload or an upgrade perhaps, is answered, leaves.

use std::{os::fd::OwnedFd, time::Instant};

use rustix::{
    event::{PollFd, PollFlags},
    io::{Errno, read},
    net::{SendFlags, Shutdown, send, shutdown},
};

use crate::supervisor::admin::{
    http::{Parsed, Reply, Request, parse},
    route::{Answer, Awaited},
};

/// A connection to the admin socket.
///
/// ```text
///   asking ──▶ awaiting the end ──▶ answering ──▶ leaving ──▶ over
///      └──────────────────────────────▲                ▲
///                                  too slow, or gone ──┘
/// ```
pub(super) struct Visit {
    socket: OwnedFd,
    state: State,
    is_head: bool,
    ends_at: Instant,
}

enum State {
    Asking(Vec<u8>),
    Awaiting(Awaited),
    Answering(Vec<u8>),
    /// Everything is said; what the peer still sends is read, so that its end of the answer survives our close.
    Leaving,
    Over,
}

impl Visit {
    /// A visitor who has until `ends_at` to ask and to be answered.
    pub(super) fn new(socket: OwnedFd, ends_at: Instant) -> Self {
        Self { socket, state: State::Asking(Vec::new()), is_head: false, ends_at }
    }

    /// What is waited for.
    pub(super) fn interest(&self) -> PollFd<'_> {
        let flags = match self.state {
            State::Answering(_) => PollFlags::OUT,
            State::Awaiting(_) | State::Over => PollFlags::empty(),
            State::Asking(_) | State::Leaving => PollFlags::IN,
        };
        PollFd::new(&self.socket, flags)
    }

    /// When it is over, whatever happens; one who waits for a reload or an upgrade may wait as long as that takes.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        (!matches!(self.state, State::Awaiting(_))).then_some(self.ends_at)
    }

    /// Whether the visitor has left, or has been too slow.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        matches!(self.state, State::Over) || self.ends_at().is_some_and(|at| at <= now)
    }

    /// What is waited for.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        if let State::Awaiting(awaited) = self.state { Some(awaited) } else { None }
    }

    /// Goes on as far as it can; returns a request when one is complete.
    pub(super) fn attend(&mut self) -> Option<Request> {
        match &self.state {
            State::Asking(_) => return self.read_request(),
            State::Answering(_) => self.write(),
            State::Leaving => self.drain(),
            // Nothing is waited for here but the peer's going.
            State::Awaiting(_) | State::Over => self.state = State::Over,
        }
        None
    }

    fn read_request(&mut self) -> Option<Request> {
        let State::Asking(bytes) = &mut self.state else {
            return None;
        };
        let mut buffer = [0; 4096];
        match read(&self.socket, &mut buffer) {
            Ok(0) => self.state = State::Over,
            Ok(count) => bytes.extend(buffer.iter().take(count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.state = State::Over,
        }
        let State::Asking(bytes) = &self.state else {
            return None;
        };
        match parse(bytes) {
            Parsed::Incomplete => None,
            Parsed::Bad => {
                self.take(Answer::Now(Reply::text(
                    400,
                    "this socket speaks HTTP/1.1: see rusgi status --help".to_owned(),
                )));
                None
            }
            Parsed::Request(request) => {
                self.is_head = request.method == "HEAD";
                Some(request)
            }
        }
    }

    /// Takes the answer to the request, or the promise of one.
    pub(super) fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Now(reply) => self.give(&reply, self.ends_at),
            Answer::After(awaited) => self.state = State::Awaiting(awaited),
        }
    }

    /// Answers; the visitor has until `ends_at` to take it.
    pub(super) fn give(&mut self, reply: &Reply, ends_at: Instant) {
        self.ends_at = ends_at;
        self.state = State::Answering(reply.encode(self.is_head));
        self.write();
    }

    fn write(&mut self) {
        let State::Answering(rest) = &mut self.state else {
            return;
        };
        while !rest.is_empty() {
            match send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(count) => drop(rest.drain(..count.min(rest.len()))),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.state = State::Over,
            }
        }
        let is_told = shutdown(&self.socket, Shutdown::Write).is_ok();
        self.state = if is_told { State::Leaving } else { State::Over };
    }

    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        match read(&self.socket, &mut buffer) {
            Ok(count) if count > 0 => {}
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ => self.state = State::Over,
        }
    }
}
