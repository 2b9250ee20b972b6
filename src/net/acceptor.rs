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

use crate::net::{inflow::Inflow, listener::Listener};

/// How often the listener that was busy last is tried first before the others get their turn.
const TURN: usize = 16;

/// How long a worker that drains still accepts what waits in the listen queue.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long to leave the listen queue alone when there is no descriptor or memory for another connection.
const SHORTAGE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The process's one way to new connections.
///
/// The accept lock is a plain mutex, and unfair on purpose: under load the desk that has just finished a request takes
/// the next one at once, without waking another thread. Whoever holds it while there is nothing to accept waits for all.
#[derive(Debug)]
pub struct Acceptor {
    listeners: Vec<Listener>,
    epoll: OwnedFd,
    wake: OwnedFd,
    turn: Mutex<usize>,
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
    /// A signal interrupted the wait: let Python run its handlers and come back.
    Signal,
}

impl Acceptor {
    /// Prepares to accept from `listeners`, which other processes may share.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new(listeners: Vec<Listener>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        for listener in &listeners {
            // Exclusive: one idle worker wakes for a connection, not all of them.
            let events = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
            epoll::add(&epoll, listener, epoll::EventData::new_u64(0), events)?;
        }
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(1), epoll::EventFlags::IN)?;
        Ok(Self {
            listeners,
            epoll,
            wake,
            turn: Mutex::new(0),
            ready: Mutex::default(),
            ready_len: AtomicUsize::new(0),
            expected: AtomicUsize::new(0),
            is_draining: AtomicBool::new(false),
            drain_began: OnceLock::new(),
            is_handing_over: AtomicBool::new(false),
        })
    }

    /// The next thing to do; waits for it. `None` once the worker drains and nothing is left.
    ///
    /// # Errors
    /// When the listen queue can no longer be read at all.
    pub fn next(&self) -> io::Result<Option<Arrival>> {
        let mut has_waited = false;
        loop {
            if let Some(arrival) = self.next_ready() {
                return Ok(Some(arrival));
            }
            let mut turn = lock(&self.turn);
            // A connection may have become ready while this desk stood in line.
            if self.ready_len.load(Ordering::Acquire) > 0 {
                continue;
            }
            // A wake that came to us came to nobody else, so it is answered even while handing over.
            if (has_waited || !self.is_handing_over.load(Ordering::Acquire))
                && !self.is_closed()
                && let Some(socket) = self.accept(&mut turn)?
            {
                return Ok(Some(Arrival::New(socket)));
            }
            if self.is_draining() && self.expected.load(Ordering::Acquire) == 0 {
                // The others are to come to the same conclusion.
                self.wake();
                return Ok(self.next_ready());
            }
            if self.wait()? {
                return Ok(Some(Arrival::Signal));
            }
            has_waited = true;
        }
    }

    /// From now on `next` ends once the listen queue and the lobby are empty.
    pub fn drain(&self) {
        let _ = self.drain_began.set(Instant::now());
        self.is_draining.store(true, Ordering::Release);
        self.wake();
    }

    /// From now on `next` ends once the lobby is empty; what is in the listen queue is left to other processes.
    ///
    /// Without this a worker that is to go would stay for as long as the others cannot keep the queue empty.
    pub fn hand_over(&self) {
        self.is_handing_over.store(true, Ordering::Release);
        for listener in &self.listeners {
            // The kernel wakes one process for a connection, and that has to be one that stays.
            if let Err(error) = epoll::delete(&self.epoll, listener) {
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

    fn next_ready(&self) -> Option<Arrival> {
        if self.ready_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let (socket, inflow) = lock(&self.ready).pop_front()?;
        self.ready_len.fetch_sub(1, Ordering::AcqRel);
        Some(Arrival::Ready(socket, Box::new(inflow)))
    }

    fn accept(&self, turn: &mut usize) -> io::Result<Option<OwnedFd>> {
        let count = self.listeners.len();
        let first = *turn / TURN;
        for index in first..first + count {
            let Some(listener) = self.listeners.get(index % count) else {
                break;
            };
            match listener.accept() {
                Ok(socket) => {
                    *turn = if index == first { *turn + 1 } else { index * TURN } % (count * TURN);
                    return Ok(Some(socket));
                }
                Err(error) => refused(error)?,
            }
        }
        Ok(None)
    }

    /// Waits for a connection or a wake; true when a signal came instead.
    fn wait(&self) -> io::Result<bool> {
        let mut events = Vec::with_capacity(2);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        if events.iter().any(|event| event.data.u64() == 1) {
            // EAGAIN: another desk has read it first.
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        Ok(false)
    }

    /// Wakes the desk that waits for all.
    fn wake(&self) {
        // EAGAIN: the counter is full, so it wakes already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// Decides what a failed `accept4(2)` means: nothing, a pause, or the end.
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
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => {
            complain(error);
            let _ = rustix::thread::nanosleep(&SHORTAGE);
            Ok(())
        }
        error => Err(error.into()),
    }
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
