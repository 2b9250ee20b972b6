//! One accepted connection: its socket, what has been read of its request, and its response's way out.

use std::{
    io::{self, IoSlice},
    mem,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex, MutexGuard, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::sendfile,
    io::{Errno, retry_on_intr},
    net::{SendAncillaryBuffer, SendFlags, Shutdown, sendmsg, shutdown},
};

use crate::{
    config::Limits,
    net::inflow::{Inflow, Pull},
    request::{BodyError, Inbound, Request},
    response::{Exchange, Gone, Outbound, Part, Patience},
};

/// How long a desk waits for a peer before it leaves the rest of a response to the lobby.
const BRIEF: Duration = Duration::from_millis(5);

/// How long a pause in a body ends its spooling once the response is about to begin.
const SPOOL_PAUSE: Duration = Duration::from_millis(20);

/// A connection in a desk's hands. One is reused for request after request unless the application kept hold of the last.
#[derive(Debug)]
pub struct Connection {
    socket: RwLock<Option<OwnedFd>>,
    inflow: Mutex<Inflow>,
    rest: Mutex<Vec<Part>>,
    /// The request's number in this process; 0 until something asks for it.
    number: AtomicU64,
    has_written: AtomicBool,
    limits: Limits,
}

impl Connection {
    /// A connection without a socket yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            socket: RwLock::new(None),
            inflow: Mutex::new(Inflow::new()),
            rest: Mutex::default(),
            number: AtomicU64::new(0),
            has_written: AtomicBool::new(false),
            limits,
        }
    }

    /// Takes on an accepted socket of which nothing has been read.
    pub fn open(&self, socket: OwnedFd) {
        lock(&self.inflow).clear();
        self.adopt(socket);
    }

    /// Takes on a connection that the lobby has made ready.
    pub fn resume(&self, socket: OwnedFd, inflow: Inflow) {
        *lock(&self.inflow) = inflow;
        self.adopt(socket);
    }

    fn adopt(&self, socket: OwnedFd) {
        self.has_written.store(false, Ordering::Relaxed);
        self.number.store(0, Ordering::Relaxed);
        *self.socket.write().unwrap_or_else(|poison| poison.into_inner()) = Some(socket);
    }

    /// What has been read of the request.
    pub fn inflow(&self) -> MutexGuard<'_, Inflow> {
        lock(&self.inflow)
    }

    /// Looks at what has arrived of the head without taking it from the socket.
    ///
    /// # Errors
    /// Whatever `recv(2)` says.
    pub fn peek(&self) -> io::Result<Pull> {
        self.with_socket(|socket| lock(&self.inflow).peek(socket))
    }

    /// Reads on in the body as far as it may be buffered, without waiting.
    ///
    /// # Errors
    /// Whatever `recv(2)` says.
    pub fn fill(&self) -> io::Result<Pull> {
        self.with_socket(|socket| lock(&self.inflow).fill(socket, self.limits.body_buffer))
    }

    /// Waits a moment for the peer's first bytes; false when none came.
    pub fn await_readable(&self, patience: Duration) -> bool {
        self.with_socket(|socket| wait(socket, PollFlags::IN, patience)).unwrap_or(false)
    }

    /// Whether any byte of a response has gone out.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.has_written.load(Ordering::Relaxed)
    }

    /// Ends the exchange for the application's objects and returns the socket, what was read, and what is left to write.
    pub fn release(&self) -> Option<(OwnedFd, Vec<Part>)> {
        // A thread of the application may still be waiting in a read: end its wait before asking for the write lock.
        if self.socket.try_write().is_err() {
            drop(self.with_socket(|socket| Ok(shutdown(socket, Shutdown::Read)?)));
        }
        let socket = self.socket.write().unwrap_or_else(|poison| poison.into_inner()).take()?;
        Some((socket, mem::take(&mut *lock(&self.rest))))
    }

    /// Runs `act` on the socket, or fails once the exchange is over.
    fn with_socket<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        let guard: RwLockReadGuard<'_, _> = self.socket.read().unwrap_or_else(|poison| poison.into_inner());
        guard.as_ref().map_or_else(|| Err(Errno::BADF.into()), |socket| act(socket.as_fd()))
    }
}

impl Inbound for Connection {
    fn with_request(&self, see: &mut dyn FnMut(&Request<'_>)) {
        if let Some(request) = lock(&self.inflow).request() {
            see(&request);
        }
    }

    fn body_left(&self) -> u64 {
        lock(&self.inflow).body_left()
    }

    fn body_at_hand(&self) -> u64 {
        lock(&self.inflow).body_at_hand()
    }

    fn read_body(&self, into: &mut [u8]) -> Result<usize, BodyError> {
        let mut done = lock(&self.inflow).take_body(into);
        while done < into.len() && self.body_left() > 0 {
            let rest = into.get_mut(done..).unwrap_or_default();
            match self.with_socket(|socket| lock(&self.inflow).read_body(socket, rest)) {
                Ok(Pull::Some(count)) => done += count,
                Ok(Pull::Blocked) if lock(&self.inflow).is_sealed() => {
                    return Err(BodyError::Sealed { missing: self.body_left() });
                }
                Ok(Pull::Blocked) => self.await_body()?,
                Ok(Pull::End) => {
                    return Err(BodyError::Closed { missing: self.body_left() });
                }
                Err(error) if error.raw_os_error() == Some(Errno::BADF.raw_os_error()) => {
                    return Err(BodyError::Over);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(BodyError::Closed { missing: self.body_left() });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    fn is_body_coming(&self) -> bool {
        lock(&self.inflow).body_unseen() > 0
    }

    fn seal_body(&self) {
        let limit = self.limits.body_buffer;
        let has_begun = lock(&self.inflow).body_seen() > 0;
        lock(&self.inflow).make_room();
        while !lock(&self.inflow).is_full(limit) {
            match self.fill() {
                Ok(Pull::Some(_)) => {}
                // A body that was announced and never sent is not waited for.
                Ok(Pull::Blocked) if has_begun && self.await_readable(SPOOL_PAUSE) => {}
                _ => break,
            }
        }
        lock(&self.inflow).seal();
    }

    fn request_id(&self) -> String {
        let given = lock(&self.inflow).request().and_then(|request| request.given_id().map(String::from));
        given.unwrap_or_else(|| format!("{:x}-{:x}", std::process::id(), self.number()))
    }

    fn is_peer_gone(&self) -> bool {
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        self.with_socket(|socket| wait(socket, gone, Duration::ZERO)).unwrap_or(true)
    }
}

impl Connection {
    /// The request's number, given to it when first asked for: most requests are never named.
    fn number(&self) -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        match self.number.load(Ordering::Relaxed) {
            0 => {
                let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
                self.number
                    .compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed)
                    .map_or_else(|other| other, |_| number)
            }
            number => number,
        }
    }

    fn await_body(&self) -> Result<(), BodyError> {
        let timeout = self.limits.body_timeout;
        if self.with_socket(|socket| wait(socket, PollFlags::IN, timeout))? {
            return Ok(());
        }
        Err(BodyError::Stalled { missing: self.body_left(), within: timeout })
    }
}

impl Outbound for Connection {
    fn try_write(&self, parts: &[IoSlice<'_>]) -> Result<usize, Gone> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = self.with_socket(|socket| {
            match retry_on_intr(|| sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), flags)) {
                Err(Errno::AGAIN) => Ok(0),
                sent => Ok(sent?),
            }
        });
        let sent = sent.map_err(|_| Gone)?;
        if sent > 0 {
            self.has_written.store(true, Ordering::Relaxed);
        }
        Ok(sent)
    }

    fn await_writable(&self, patience: Patience) -> Result<bool, Gone> {
        let timeout = match patience {
            Patience::Brief => BRIEF,
            Patience::Full => self.limits.write_timeout,
        };
        let ready = self.with_socket(|socket| wait(socket, PollFlags::OUT, timeout)).map_err(|_| Gone)?;
        if !ready && patience == Patience::Full {
            return Err(Gone);
        }
        Ok(ready)
    }

    fn try_send_file(&self, file: BorrowedFd<'_>, offset: u64, count: u64) -> Result<Option<usize>, Gone> {
        let sent = self.with_socket(|socket| send_file(socket, file, offset, count)).map_err(|_| Gone)?;
        if sent.is_some_and(|sent| sent > 0) {
            self.has_written.store(true, Ordering::Relaxed);
        }
        Ok(sent)
    }

    fn hand_over(&self, rest: Vec<Part>) {
        *lock(&self.rest) = rest;
    }
}

impl Exchange for Connection {}

/// One `sendfile(2)`; `None` when the peer takes nothing for now.
pub(super) fn send_file(
    socket: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    count: u64,
) -> io::Result<Option<usize>> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut offset = offset;
    match retry_on_intr(|| sendfile(socket, file, Some(&mut offset), count)) {
        Ok(sent) => Ok(Some(sent)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A lock whose holder panicked is still good: every change under it is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// Waits until the socket is ready for one of `events`; false when `patience` ran out.
fn wait(socket: BorrowedFd<'_>, events: PollFlags, patience: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(patience).map_err(|_| Errno::INVAL)?;
    let mut fds = [PollFd::from_borrowed_fd(socket, events)];
    Ok(retry_on_intr(|| poll(&mut fds, Some(&timeout)))? > 0)
}
