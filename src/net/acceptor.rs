//! Where desks get their next connection from: the lobby's finished ones first, then the listen queue.

use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    sync::{
        Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, Timespec, epoll, eventfd},
    io::Errno,
};

use crate::net::{
    inflow::Inflow,
    listener::Listener,
    place::{Held, Place},
};

/// How often the listener that was busy last is tried first before the others get their turn.
const TURN: usize = 16;

/// How long a worker that drains still accepts what waits in the listen queue.
pub const LAST_CALL: Duration = Duration::from_secs(1);

/// How long to leave the listen queue alone when there is no descriptor or memory for another connection.
const SHORTAGE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The process's one way to new connections.
///
/// One thread is kept hot. A desk that has finished a request takes the next one at once, past everyone who waits, and the desk
/// that took a connection last stands at the front: the kernel wakes it first, and only while it is busy the one behind it.
/// The rest wait for the place behind, and nobody wakes them before it is free.
#[derive(Debug)]
pub struct Acceptor {
    listeners: Vec<Listener>,
    front: OwnedFd,
    behind: OwnedFd,
    wake: OwnedFd,
    /// The desk that stands at the front; 0 for none.
    first: AtomicUsize,
    second: Place,
    /// Desks so far.
    desks: AtomicUsize,
    /// Which listener is tried first, times [`TURN`].
    turn: AtomicUsize,
    /// Whether there was no descriptor or memory for the last connection.
    is_short: AtomicBool,
    ready: Mutex<VecDeque<(OwnedFd, Inflow)>>,
    ready_len: AtomicUsize,
    /// Connections in the lobby that will become ready, or not.
    expected: AtomicUsize,
    is_draining: AtomicBool,
    drain_began: OnceLock<Instant>,
    is_handing_over: AtomicBool,
}

/// What a desk is to do next.
#[derive(Debug)]
pub enum Arrival {
    /// A connection straight from the listen queue, of which nothing has been read.
    New(OwnedFd),
    /// A connection whose request the lobby has completed.
    Ready(OwnedFd, Box<Inflow>),
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// There may be something to do.
    Work,
    /// A signal came: let Python run its handlers and come back.
    Signal,
}

/// A place to wait at, for the desk that has it.
#[derive(Debug)]
pub struct Watch<'a> {
    acceptor: &'a Acceptor,
    desk: usize,
    has_waited: bool,
    /// Only one desk at a time waits behind the first.
    behind: Option<Held<'a>>,
}

impl Acceptor {
    /// Prepares to accept from `listeners`, which other processes may share.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new(listeners: Vec<Listener>) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // The kernel asks in the order of registration who wakes.
        let [front, behind] = [watching(&listeners, &wake)?, watching(&listeners, &wake)?];
        Ok(Self {
            listeners,
            front,
            behind,
            wake,
            first: AtomicUsize::new(0),
            second: Place::default(),
            desks: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            is_short: AtomicBool::new(false),
            ready: Mutex::default(),
            ready_len: AtomicUsize::new(0),
            expected: AtomicUsize::new(0),
            is_draining: AtomicBool::new(false),
            drain_began: OnceLock::new(),
            is_handing_over: AtomicBool::new(false),
        })
    }

    /// A number for one more desk.
    pub fn enrol(&self) -> usize {
        self.desks.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A place for this desk, when there is one: at the front if nobody else is, else behind. `None` when a signal came first.
    pub fn watch(&self, desk: usize) -> Option<Watch<'_>> {
        let claimed = self.first.compare_exchange(0, desk, Ordering::Relaxed, Ordering::Relaxed);
        let is_first = claimed.is_ok() || claimed == Err(desk);
        let behind = if is_first { None } else { Some(self.second.take()?) };
        Some(Watch { acceptor: self, desk, has_waited: false, behind })
    }

    /// Takes a desk off the list, and lets the others know that there may be nothing left.
    pub fn leave(&self, desk: usize) {
        // It may stand behind.
        let _ = self.first.compare_exchange(desk, 0, Ordering::Relaxed, Ordering::Relaxed);
        self.wake();
    }

    /// The next thing to do, if there is one. Never waits.
    ///
    /// # Errors
    /// When the listen queue can no longer be read at all.
    pub fn take(&self) -> io::Result<Option<Arrival>> {
        match self.take_ready() {
            None if !self.is_handing_over.load(Ordering::Acquire) => self.take_new(),
            ready => Ok(ready),
        }
    }

    /// Whether the worker drains and nothing comes back from the lobby: whoever finds nothing after this is done.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_draining() && self.expected.load(Ordering::Acquire) == 0
    }

    /// From now on desks are done once the listen queue and the lobby are empty.
    pub fn drain(&self) {
        let _ = self.drain_began.set(Instant::now());
        self.is_draining.store(true, Ordering::Release);
        self.wake();
    }

    /// From now on desks are done once the lobby is empty; what is in the listen queue is left to other processes.
    ///
    /// Without this a worker that is to go would stay for as long as the others cannot keep the queue empty.
    pub fn hand_over(&self) {
        self.is_handing_over.store(true, Ordering::Release);
        let places = [&self.front, &self.behind].into_iter();
        for (epoll, listener) in places.flat_map(|epoll| self.listeners.iter().map(move |listener| (epoll, listener))) {
            // The kernel wakes one process for a connection, and that has to be one that stays.
            if let Err(error) = epoll::delete(epoll, listener) {
                tracing::debug!("accept: {error}: connections may still come to this worker");
            }
        }
        self.drain();
    }

    /// Whether the worker has been told to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Announces a connection that goes to the lobby and may come back.
    pub fn expect(&self) {
        self.expected.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes back an announced connection: ready for a desk, or lost to everyone.
    pub fn settle(&self, connection: Option<(OwnedFd, Inflow)>) {
        if let Some(connection) = connection {
            lock(&self.ready).push_back(connection);
            self.ready_len.fetch_add(1, Ordering::AcqRel);
        }
        self.expected.fetch_sub(1, Ordering::AcqRel);
        self.wake();
    }

    /// Whether what waits in the listen queue has had its time: more may come for ever.
    fn is_closed(&self) -> bool {
        self.is_draining() && self.drain_began.get().is_some_and(|began| began.elapsed() > LAST_CALL)
    }

    fn take_ready(&self) -> Option<Arrival> {
        if self.ready_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let (socket, inflow) = lock(&self.ready).pop_front()?;
        if self.ready_len.fetch_sub(1, Ordering::AcqRel) > 1 {
            // Several may have come with one wake, and whoever read it takes only one.
            self.wake();
        }
        Some(Arrival::Ready(socket, Box::new(inflow)))
    }

    fn take_new(&self) -> io::Result<Option<Arrival>> {
        if self.is_closed() {
            return Ok(None);
        }
        let count = self.listeners.len();
        let turn = self.turn.load(Ordering::Relaxed);
        let first = turn / TURN;
        for index in first..first + count {
            let Some(listener) = self.listeners.get(index % count) else {
                break;
            };
            match listener.accept() {
                Ok(socket) => {
                    let next = if index == first { turn + 1 } else { index * TURN };
                    self.turn.store(next % (count * TURN), Ordering::Relaxed);
                    return Ok(Some(Arrival::New(socket)));
                }
                Err(error) if is_shortage(error) => self.is_short.store(true, Ordering::Relaxed),
                Err(error) => refused(error)?,
            }
        }
        Ok(None)
    }

    /// Waits for a connection or a wake.
    fn wait(&self, epoll: &OwnedFd) -> io::Result<Wake> {
        if self.is_short.swap(false, Ordering::Relaxed) {
            let _ = rustix::thread::nanosleep(&SHORTAGE);
        }
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 2];
        let (seen, _) = match epoll::wait(epoll, &mut events[..], None) {
            Ok(count) => events.split_at(count),
            Err(Errno::INTR) => return Ok(Wake::Signal),
            Err(error) => return Err(error.into()),
        };
        // When all is over the wake is for everybody, and stays.
        if seen.iter().any(|event| event.data.u64() == 1) && !self.is_over() {
            // EAGAIN: another desk has read it first.
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        Ok(Wake::Work)
    }

    /// Wakes the desks that wait at either place.
    fn wake(&self) {
        // EAGAIN: the counter is full, so it wakes already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl Watch<'_> {
    /// Waits until there may be something to take.
    ///
    /// # Errors
    /// When the listen queue can no longer be watched.
    pub fn wait(&mut self) -> io::Result<Wake> {
        self.has_waited = true;
        let acceptor = self.acceptor;
        acceptor.wait(if self.behind.is_some() { &acceptor.behind } else { &acceptor.front })
    }

    /// The next thing to do, if there is one; then the desk stands at the front, and the place behind is free. Never waits.
    ///
    /// # Errors
    /// When the listen queue can no longer be read at all.
    pub fn take(self) -> io::Result<Option<Arrival>> {
        let taken = match self.acceptor.take()? {
            // A wake that came to us came to nobody else, so it is answered even while handing over.
            None if self.has_waited => self.acceptor.take_new()?,
            taken => taken,
        };
        if taken.is_some() && self.behind.is_some() {
            self.acceptor.first.store(self.desk, Ordering::Relaxed);
        }
        Ok(taken)
    }
}

/// An epoll that tells of connections and wakes.
fn watching(listeners: &[Listener], wake: &OwnedFd) -> io::Result<OwnedFd> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for listener in listeners {
        // Exclusive: one thread of one worker wakes for a connection, not all of them.
        let events = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
        epoll::add(&epoll, listener, epoll::EventData::new_u64(0), events)?;
    }
    epoll::add(&epoll, wake, epoll::EventData::new_u64(1), epoll::EventFlags::IN)?;
    Ok(epoll)
}

/// Decides what a failed `accept4(2)` means: nothing, or the end.
fn refused(error: Errno) -> io::Result<()> {
    match error {
        // The peer has gone, or another process was faster (accept(2), "Error handling").
        Errno::AGAIN | Errno::INTR | Errno::CONNABORTED | Errno::PERM | Errno::PROTO => Ok(()),
        // Errors of the new connection's network, which accept(2) hands on: as if there had been none.
        Errno::NETDOWN
        | Errno::NOPROTOOPT
        | Errno::HOSTDOWN
        | Errno::NONET
        | Errno::HOSTUNREACH
        | Errno::OPNOTSUPP
        | Errno::NETUNREACH
        | Errno::TIMEDOUT => Ok(()),
        error => Err(error.into()),
    }
}

/// Whether the system has no descriptor or memory for another connection; says so.
fn is_shortage(error: Errno) -> bool {
    let is_shortage = matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM);
    if is_shortage {
        complain(error);
    }
    is_shortage
}

/// Says so once a second at most: the shortage lasts, and the log has better uses.
fn complain(error: Errno) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = lock(&LAST);
    if last.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
        *last = Some(Instant::now());
        tracing::error!("accept: {error}: new connections wait in the listen queue; raise LimitNOFILE or memory");
    }
}

/// A lock whose holder panicked is still good: every change under it is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        thread,
    };

    use super::*;

    #[test]
    fn every_desk_hears_of_the_end_though_others_have_heard_it_before() {
        let acceptor = Arc::new(Acceptor::new(Vec::new()).unwrap());
        let (woken, wakes) = mpsc::channel();
        acceptor.drain();
        // Each is past its own look at whether all is over, as desks are that were asleep.
        for _ in 0..3 {
            let (acceptor, woken) = (Arc::clone(&acceptor), woken.clone());
            thread::spawn(move || woken.send(acceptor.watch(acceptor.enrol()).unwrap().wait().unwrap()).unwrap());
            assert_eq!(wakes.recv_timeout(Duration::from_secs(10)), Ok(Wake::Work));
        }
    }

    #[test]
    fn a_wake_wakes_once_while_something_is_expected() {
        let acceptor = Acceptor::new(Vec::new()).unwrap();
        acceptor.expect();
        acceptor.drain();
        assert_eq!(acceptor.watch(1).unwrap().wait().unwrap(), Wake::Work);
        assert_eq!(rustix::io::read(&acceptor.wake, &mut [0; 8]), Err(Errno::AGAIN));
        acceptor.settle(None);
        assert!(acceptor.is_over());
        assert_eq!(acceptor.watch(1).unwrap().wait().unwrap(), Wake::Work);
    }
}
