//! One Python thread's loop: accept, read, call, write, and again.

use std::{
    io::{self, IoSlice},
    mem,
    os::fd::{AsFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_linger;

use crate::{
    config::Limits,
    net::{
        acceptor::{Acceptor, Arrival, Wake, Watch},
        connection::{Connection, InUse},
        inflow::Head,
        lobby::{Entry, PONG},
        peer,
        pull::Pull,
        refusal::Refusal,
    },
    observe::clock::lately,
    python,
    response::{Exchange, Outbound as _, Outcome, Part},
    worker::{watchdog::Seat, wear::Wear},
};

/// How long a desk waits for bytes that are probably on their way before it leaves the connection to the lobby.
const MOMENT: Duration = Duration::from_millis(1);

/// Which part of the body buffer a peer fills in one go before a body that does not fit is begun.
const QUICK: usize = 4;

/// How long a desk stays with a body that comes in bits before it leaves the rest to the lobby.
const STAY: Duration = Duration::from_millis(5);

/// How long a desk goes on with the GIL at most; longer than the 5 ms after which CPython itself gives waiting threads their turn,
/// because each letting go begins those anew.
const SHIFT: Duration = Duration::from_millis(20);

/// A thread that serves requests one after another.
pub(super) struct Desk {
    acceptor: Arc<Acceptor>,
    entry: Entry,
    seat: Arc<Seat>,
    connection: Arc<Connection>,
    /// The connection as Python sees it, kept because a reference made for each request costs two atomic operations.
    exchange: Arc<dyn Exchange>,
    python: python::Desk,
    limits: Limits,
    wear: Option<Arc<Wear>>,
}

/// Why a desk lets go of the GIL between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shift {
    /// There is nothing to do.
    Quiet,
    /// It has had the GIL for long enough.
    Long,
}

/// What is to be done with a connection that has just been accepted.
enum Verdict {
    Serve,
    AwaitHead,
    AwaitBody,
    Pong,
    Refuse(Refusal),
    Gone,
}

impl Desk {
    pub(super) fn new(
        acceptor: Arc<Acceptor>,
        entry: Entry,
        seat: Arc<Seat>,
        python: python::Desk,
        limits: Limits,
    ) -> Self {
        let connection = Arc::new(Connection::new(limits.clone()));
        seat.open(python.thread());
        seat.use_connection(&connection);
        let exchange = Arc::clone(&connection) as _;
        Self { acceptor, entry, seat, connection, exchange, python, limits, wear: None }
    }

    /// The same desk, counting what it serves.
    pub(super) fn with_wear(self, wear: Option<Arc<Wear>>) -> Self {
        Self { wear, ..self }
    }

    /// Serves until the worker has drained.
    pub(super) fn run(mut self) {
        if let Err(error) = self.serve_all() {
            tracing::error!("accept: {error}: this worker stops accepting");
            self.acceptor.drain();
        }
    }

    fn serve_all(&mut self) -> io::Result<()> {
        let acceptor = Arc::clone(&self.acceptor);
        let desk = acceptor.enrol();
        let mut shift = Shift::Quiet;
        loop {
            let Some(mut watch) = acceptor.watch(desk) else {
                python::run_signal_handlers();
                continue;
            };
            // Before the last look, so that nothing can come between.
            let is_over = acceptor.is_over();
            if shift == Shift::Quiet && !is_over && watch.wait()? == Wake::Signal {
                drop(watch);
                python::run_signal_handlers();
                continue;
            }
            // The GIL comes before the connection: what nobody can serve yet stays in the listen queue, where others see it.
            let asked = Instant::now();
            shift = python::attached(|| {
                self.seat.row().waited_for_gil(asked.elapsed());
                self.serve_shift(watch)
            })?;
            if shift == Shift::Quiet && is_over {
                acceptor.leave(desk);
                return Ok(());
            }
        }
    }

    /// Serves, with the GIL, one arrival after another.
    fn serve_shift(&mut self, watch: Watch<'_>) -> io::Result<Shift> {
        let mut arrival = watch.take()?;
        let began = lately();
        while let Some(next) = arrival {
            self.take(next);
            if lately().saturating_sub(began) > SHIFT {
                return Ok(Shift::Long);
            }
            arrival = self.acceptor.take()?;
        }
        Ok(Shift::Quiet)
    }

    /// Serves one connection that did not come in by a listener.
    pub(super) fn answer(&mut self, socket: OwnedFd) {
        self.take(Arrival::New(socket));
    }

    /// Serves one arrival; a panic costs that one.
    fn take(&mut self, arrival: Arrival) {
        if catch_unwind(AssertUnwindSafe(|| self.serve(arrival))).is_ok() {
            return;
        }
        let outcome = if self.connection.has_written() { Outcome::Broken } else { Outcome::Failed };
        self.finish(outcome);
        self.renew();
    }

    /// A connection of which nobody has a reference.
    fn renew(&mut self) {
        self.connection = Arc::new(self.connection.succeed());
        self.exchange = Arc::clone(&self.connection) as _;
        self.seat.use_connection(&self.connection);
    }

    fn serve(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::New(socket) => self.connection.open(socket),
            Arrival::Ready(socket, inflow) => {
                self.connection.resume(socket, *inflow);
                return self.respond();
            }
        }
        let verdict = self.judge();
        if matches!(verdict, Verdict::Serve) {
            return self.respond();
        }
        let inflow = matches!(verdict, Verdict::AwaitBody).then(|| mem::take(&mut *self.connection.inflow()));
        let Some((socket, _)) = self.release() else {
            return;
        };
        match (verdict, inflow) {
            (Verdict::AwaitHead, _) => self.entry.await_head(socket),
            (Verdict::AwaitBody, Some(inflow)) => self.entry.await_body(socket, inflow),
            (Verdict::Pong, _) => self.entry.leave(socket, vec![Vec::from(PONG).into()]),
            (Verdict::Refuse(refusal), _) => self.entry.refuse(socket, &refusal),
            // Connected and left, as health checks do.
            _ => drop(socket),
        }
    }

    /// Reads what is there and decides.
    fn judge(&self) -> Verdict {
        let connection = &self.connection;
        let mut pulled = connection.peek();
        if matches!(pulled, Ok(Pull::Blocked)) && python::detached(|| connection.await_readable(MOMENT)) {
            pulled = connection.peek();
        }
        match pulled {
            Ok(Pull::Some(_)) => {}
            Ok(Pull::Blocked) => return Verdict::AwaitHead,
            Ok(Pull::End) | Err(_) => return Verdict::Gone,
        }
        let head = connection.inflow().parse(self.limits.max_body);
        match head {
            Ok(Head::Request) => self.judge_body(),
            Ok(Head::Incomplete) => Verdict::AwaitHead,
            Ok(Head::Ping) => Verdict::Pong,
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// Reads on while bytes of the body keep coming.
    fn judge_body(&self) -> Verdict {
        let connection = &self.connection;
        let limit = self.enough();
        if self.is_rest_there(limit) {
            return Verdict::Serve;
        }
        let mut paused = None;
        while !connection.inflow().is_full(limit) {
            match connection.fill(limit) {
                Ok(Pull::Some(_)) => {}
                Ok(Pull::Blocked)
                    if paused.get_or_insert_with(Instant::now).elapsed() < STAY
                        && python::detached(|| connection.await_more(limit)) => {}
                Ok(Pull::Blocked) => return Verdict::AwaitBody,
                Ok(Pull::End) | Err(_) => return Verdict::Gone,
            }
        }
        Verdict::Serve
    }

    /// Whether as much of a body that does not fit the buffer lies in the socket, from where it is read without a copy in between.
    fn is_rest_there(&self, limit: usize) -> bool {
        limit < self.limits.body_buffer && self.connection.has_body_waiting(limit)
    }

    /// How much of the body is gathered here. Of one that does not fit the buffer a part is enough if it comes without a pause:
    /// that peer is quick, and the rest has to be waited for in any case.
    fn enough(&self) -> usize {
        let buffer = self.limits.body_buffer;
        let length = self.connection.inflow().request().map_or(0, |request| request.framing.content_length);
        if length > buffer as u64 { buffer.div_ceil(QUICK) } else { buffer }
    }

    fn respond(&mut self) {
        if self.seat.row().is_stale() && self.connection.has_peer_left() {
            return self.pass_over();
        }
        let outcome = self.python.serve(&self.exchange);
        self.finish(outcome);
        if let Some(wear) = &self.wear {
            wear.count();
        }
        if !self.python.has_let_go() {
            self.renew();
        }
    }

    /// The peer has given up, and what it asked for would be work for nobody.
    fn pass_over(&self) {
        self.seat.row().pass_over();
        // One that has only ended its own side reads this.
        let page = Refusal::Overloaded { retry_after: 1 }.page(false);
        let _ = self.connection.try_write(&[IoSlice::new(&page)]);
        self.finish(Outcome::Complete);
    }

    /// Ends the exchange as its outcome demands.
    fn finish(&self, outcome: Outcome) {
        let is_head = || self.connection.inflow().request().is_some_and(|request| request.framing.is_head);
        let Some((socket, rest)) = self.release() else {
            return;
        };
        match outcome {
            Outcome::Complete if rest.is_empty() && self.connection.inflow().drain(socket.as_fd()) => drop(socket),
            Outcome::Complete => self.entry.leave(socket, rest),
            Outcome::Failed => self.entry.leave(socket, vec![Refusal::Application.page(is_head()).into()]),
            Outcome::TimedOut => self.entry.leave(socket, vec![Refusal::RequestTimeout.page(is_head()).into()]),
            Outcome::Broken => reset(socket),
            Outcome::PeerGone => {
                tracing::debug!(peer = %peer::name(&socket), "client closed the connection before its response was complete")
            }
        }
    }

    fn release(&self) -> Option<(OwnedFd, Vec<Part>)> {
        let connection = &self.connection;
        // A thread that the application has left in a read or a write is waited for without the GIL.
        connection.try_release().unwrap_or_else(|InUse| python::detached(|| connection.release()))
    }
}

/// Closes so that the peer sees an error and not an end: on TCP by SO_LINGER 0, on a Unix socket by the request's unread last byte.
pub(super) fn reset(socket: OwnedFd) {
    if !peer::is_unix(&socket) {
        // If it fails the unread byte still does its work.
        let _ = set_socket_linger(&socket, Some(Duration::ZERO));
    }
    drop(socket);
}
