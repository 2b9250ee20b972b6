//! The watchdog: a thread that looks at the desks' rows and ends requests that have had their time.
//!
//! Its worker may be stuck in any way, also with the GIL held for ever: it waits for no lock that another thread keeps.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    thread::{self, Thread},
    time::Duration,
};

use crate::{
    net::{
        connection::{Connection, Seizure},
        lobby::Entry,
        refusal::Refusal,
    },
    observe::scoreboard::{Row, Turn},
    python::{self, Interrupter, Overdue},
    request::Name,
    response::Exchange,
    worker::{desk::reset, signals},
};

/// How often a desk is looked at that cannot be left to itself.
const SOON: Duration = Duration::from_millis(50);

/// Watches over the desks of a worker.
#[derive(Debug)]
pub(super) struct Watchdog {
    watched: Vec<Watched>,
    interrupter: Interrupter,
    entry: Entry,
    times: Times,
    bell: Arc<OnceLock<Thread>>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// A request, unless the application has changed that.
    pub(super) request: Option<Duration>,
    /// An interrupted request, until it ends.
    pub(super) grace: Duration,
}

/// A desk's side of the watch. The watch over it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    row: Row,
    thread: OnceLock<python::Thread>,
    connection: Mutex<Option<Arc<Connection>>>,
    bell: Arc<OnceLock<Thread>>,
}

#[derive(Debug)]
struct Watched {
    seat: Weak<Seat>,
    state: State,
}

/// How a desk's request does.
///
/// ```text
///           out of time            grace over
///   Quiet ──────────────▶ Interrupted ──────────▶ Lost
///     ▲                        │                   │
///     └──── another request, or more time ─────────┘ another request
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet,
    /// The request with this serial was interrupted at this age.
    Interrupted {
        serial: u64,
        age: Duration,
    },
    /// The request with this serial has been answered without its desk, which is still at it.
    Lost {
        serial: u64,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing, for so long; `None` until something changes.
    Wait(Option<Duration>),
    /// Interrupt the request.
    Interrupt,
    /// Answer without the desk.
    Seize,
}

impl Seat {
    /// The desk's row.
    pub(super) fn row(&self) -> Row {
        self.row
    }

    /// The desk has opened, on this thread.
    pub(super) fn open(&self, thread: python::Thread) {
        // A seat is taken once.
        let _first = self.thread.set(thread);
    }

    /// From now on the desk serves its requests through `connection`.
    pub(super) fn use_connection(&self, connection: &Arc<Connection>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(connection));
    }

    /// Where the request of `turn` is answered, and which of the connection's exchanges it is; `None` when it has ended.
    fn exchange(&self, turn: Turn) -> Option<(Arc<Connection>, u64)> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let exchange = connection.exchange();
        // A desk that has gone on since may have put another exchange there.
        self.row.is_at(turn.serial).then_some((connection, exchange))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(watchdog) = self.bell.get() {
            watchdog.unpark();
        }
    }
}

impl Watchdog {
    /// A watchdog over desks with these rows, and a seat for each.
    pub(super) fn new(rows: &[Row], interrupter: Interrupter, entry: Entry, times: Times) -> (Self, Vec<Arc<Seat>>) {
        let bell = Arc::new(OnceLock::new());
        let seat = |row: &Row| Seat {
            row: *row,
            thread: OnceLock::new(),
            connection: Mutex::default(),
            bell: Arc::clone(&bell),
        };
        let seats: Vec<_> = rows.iter().map(|row| Arc::new(seat(row))).collect();
        let watched = seats.iter().map(|seat| Watched { seat: Arc::downgrade(seat), state: State::Quiet }).collect();
        (Self { watched, interrupter, entry, times, bell }, seats)
    }

    /// Watches until all seats are empty. Calls `lost` when a desk turns out to be stuck, and ends the process once all that
    /// are left are.
    pub(super) fn run(mut self, lost: impl Fn()) {
        // Whoever leaves before this is seen to have left below.
        let _first = self.bell.set(thread::current());
        python::unpark_on_change(thread::current());
        let mut is_lost = false;
        loop {
            self.watched.retain(|watched| watched.seat.strong_count() > 0);
            if self.watched.is_empty() {
                return;
            }
            let next = self.look();
            if !is_lost && self.watched.iter().any(Watched::is_lost) {
                is_lost = true;
                lost();
            }
            if self.watched.iter().all(Watched::is_lost) && self.entry.is_lobby_empty() {
                // No thread that is left can be made to return.
                signals::end();
            }
            match next {
                Some(time) => thread::park_timeout(time),
                None => thread::park(),
            }
        }
    }

    /// Looks at every desk; returns when to look again.
    fn look(&mut self) -> Option<Duration> {
        let Self { watched, interrupter, entry, times, .. } = self;
        let mut next = None;
        for watched in watched {
            let Some(seat) = watched.seat.upgrade() else {
                continue;
            };
            let turn = seat.row.turn();
            let step = watched.state.step(turn, *times);
            let wait = match (step, turn) {
                (Step::Interrupt, Some(turn)) => {
                    interrupt(interrupter, &seat, turn);
                    Some(SOON)
                }
                (Step::Seize, Some(turn)) => {
                    if seize(entry, &seat, turn, *times) {
                        watched.state = State::Lost { serial: turn.serial };
                    }
                    Some(SOON)
                }
                (Step::Wait(wait), _) => wait,
                _ => None,
            };
            next = [next, wait].into_iter().flatten().min();
        }
        next
    }
}

impl Watched {
    fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost { .. })
    }
}

impl State {
    /// Takes notice of what the desk is doing now.
    fn step(&mut self, turn: Option<Turn>, times: Times) -> Step {
        let Some(turn) = turn else {
            *self = Self::Quiet;
            // A request that begins right now has all of its time.
            return Step::Wait(times.request);
        };
        let is_over = turn.left == Some(Duration::ZERO);
        match *self {
            Self::Lost { serial } if serial == turn.serial => Step::Wait(Some(SOON)),
            Self::Interrupted { serial, age } if serial == turn.serial && is_over => {
                let left = (age + times.grace).saturating_sub(turn.age);
                if left.is_zero() { Step::Seize } else { Step::Wait(Some(left)) }
            }
            _ if is_over => {
                *self = Self::Interrupted { serial: turn.serial, age: turn.age };
                Step::Interrupt
            }
            _ => {
                *self = Self::Quiet;
                Step::Wait([turn.left, times.request].into_iter().flatten().min())
            }
        }
    }
}

fn interrupt(interrupter: &Interrupter, seat: &Seat, turn: Turn) {
    if let (Some((connection, _)), Some(thread)) = (seat.exchange(turn), seat.thread.get()) {
        let exchange: Arc<dyn Exchange> = connection;
        interrupter.interrupt(Overdue { exchange, row: seat.row, turn, thread: *thread });
    }
}

/// Answers a request without its desk; false when that cannot be done yet.
fn seize(entry: &Entry, seat: &Seat, turn: Turn, times: Times) -> bool {
    let Some((connection, exchange)) = seat.exchange(turn) else {
        return false;
    };
    // Before its desk, set free, may go on to another request.
    let Name { method, path, request_id } = Name::of(connection.as_ref());
    let Seizure::Seized { socket, has_written, is_head } = connection.seize(exchange) else {
        return false;
    };
    let (age, answer) = (turn.age, if has_written { "its response is cut" } else { "it is answered with 504" });
    tracing::error!(
        method,
        path,
        request_id,
        ?age,
        "request timeout: the request has not ended {:?} after it was interrupted: {answer}, its worker is replaced",
        times.grace
    );
    if has_written {
        reset(socket);
    } else {
        entry.leave(socket, vec![Refusal::RequestTimeout.page(is_head).into()]);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times { request: Some(Duration::from_secs(10)), grace: Duration::from_secs(5) };

    fn turn(serial: u64, age: u64, left: Option<u64>) -> Option<Turn> {
        Some(Turn { serial, age: Duration::from_secs(age), left: left.map(Duration::from_secs) })
    }

    fn wait(seconds: u64) -> Step {
        Step::Wait(Some(Duration::from_secs(seconds)))
    }

    #[test]
    fn a_request_that_does_not_end_is_interrupted_once_and_then_seized() {
        let mut state = State::Quiet;
        assert_eq!(state.step(None, TIMES), wait(10));
        assert_eq!(state.step(turn(1, 4, Some(6)), TIMES), wait(6));
        assert_eq!(state.step(turn(1, 10, Some(0)), TIMES), Step::Interrupt);
        assert_eq!(state.step(turn(1, 10, Some(0)), TIMES), wait(5));
        assert_eq!(state.step(turn(1, 14, Some(0)), TIMES), wait(1));
        assert_eq!(state.step(turn(1, 15, Some(0)), TIMES), Step::Seize);
        // Until it could be seized.
        assert_eq!(state.step(turn(1, 16, Some(0)), TIMES), Step::Seize);
    }

    #[test]
    fn the_next_request_has_its_own_time() {
        for before in [State::Interrupted { serial: 1, age: Duration::from_secs(10) }, State::Lost { serial: 1 }] {
            let mut state = before;
            assert_eq!(state.step(turn(3, 1, Some(9)), TIMES), wait(9));
            assert_eq!(state, State::Quiet);
            let mut state = before;
            assert_eq!(state.step(turn(3, 10, Some(0)), TIMES), Step::Interrupt);
            let mut state = before;
            assert_eq!(state.step(None, TIMES), wait(10));
            assert_eq!(state, State::Quiet);
        }
    }

    #[test]
    fn an_interrupted_request_may_get_more_time() {
        let mut state = State::Interrupted { serial: 1, age: Duration::from_secs(10) };
        assert_eq!(state.step(turn(1, 12, Some(3)), TIMES), wait(3));
        assert_eq!(state.step(turn(1, 15, Some(0)), TIMES), Step::Interrupt);
    }

    #[test]
    fn a_desk_without_limits_waits_for_a_change() {
        let times = Times { request: None, ..TIMES };
        assert_eq!(State::Quiet.step(None, times), Step::Wait(None));
        assert_eq!(State::Quiet.step(turn(1, 100, None), times), Step::Wait(None));
        // One that has more time than usual is looked at as often: the next may begin at any moment.
        assert_eq!(State::Quiet.step(turn(1, 0, Some(100)), TIMES), wait(10));
        assert_eq!(State::Quiet.step(turn(1, 100, None), TIMES), wait(10));
    }
}
