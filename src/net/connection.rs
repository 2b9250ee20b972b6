//! One accepted connection: its socket, what has been read of its request, and its response's way out.

use std::{
    io::{self, IoSlice},
    mem,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex, MutexGuard, RwLock, RwLockReadGuard, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::PollFlags,
    fs::sendfile,
    io::{Errno, retry_on_intr},
    net::{SendAncillaryBuffer, SendFlags, Shutdown, send, sendmsg, shutdown},
};

use crate::{
    config::Limits,
    net::{
        inflow::Inflow,
        peer,
        pull::Pull,
        waiting::{look, nap, wait},
    },
    request::{BodyError, Inbound, Request},
    response::{Exchange, Gone, Outbound, Part, Patience},
    room::Room,
};

/// How long a desk waits for a peer before it leaves the rest of a response to the lobby.
const BRIEF: Duration = Duration::from_millis(5);

/// How long a desk waits for the next bytes of a body before it leaves the connection to the lobby.
const PAUSE: Duration = Duration::from_micros(500);

/// How often the rest of a body is waited for in all, a nap each time, once the response is about to begin.
const SPOOL_NAPS: u32 = 100;

/// How long a wait for a peer goes on before it looks whether the exchange is over.
const SLICE: Duration = Duration::from_millis(100);

/// A connection in a desk's hands. One is reused for request after request unless the application kept hold of the last.
#[derive(Debug)]
pub struct Connection {
    socket: RwLock<Option<OwnedFd>>,
    inflow: Mutex<Inflow>,
    rest: Mutex<Vec<Part>>,
    has_rest: AtomicBool,
    /// The request's number in this process; 0 until something asks for it.
    number: AtomicU64,
    has_written: AtomicBool,
    /// Whether the exchange has ended: whoever still waits in it is to give up.
    is_over: AtomicBool,
    /// How many exchanges there have been on this connection, the one at hand included.
    exchanges: AtomicU64,
    limits: Limits,
}

/// Another thread uses the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse;

/// An exchange as it is when somebody else wants to end it.
#[derive(Debug)]
pub enum Seizure {
    /// It is over for the application.
    Seized {
        /// Its socket.
        socket: OwnedFd,
        /// Whether a part of a response has gone out.
        has_written: bool,
        /// Whether the response must have no body.
        is_head: bool,
    },
    /// The socket is being read or written, which may be a wait for the peer: try again.
    Busy,
    /// It has ended by itself.
    Over,
}

impl Connection {
    /// A connection without a socket yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::over(Inflow::new(), limits)
    }

    /// Another one, of which nobody has a reference, in place of this one, whose exchange is over.
    ///
    /// It takes the buffer along: applications keep requests until garbage is collected, and shall not keep that as well.
    #[must_use]
    pub fn succeed(&self) -> Self {
        Self::over(lock(&self.inflow).succeed(), self.limits.clone())
    }

    fn over(inflow: Inflow, limits: Limits) -> Self {
        Self {
            socket: RwLock::new(None),
            inflow: Mutex::new(inflow),
            rest: Mutex::default(),
            has_rest: AtomicBool::new(false),
            number: AtomicU64::new(0),
            has_written: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            exchanges: AtomicU64::new(0),
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
        self.is_over.store(false, Ordering::Relaxed);
        self.has_rest.store(false, Ordering::Relaxed);
        self.number.store(0, Ordering::Relaxed);
        let mut place = self.socket.write().unwrap_or_else(|poison| poison.into_inner());
        self.exchanges.store(self.exchanges.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        *place = Some(socket);
    }

    /// Names the exchange at hand for [`seize`](Self::seize).
    #[must_use]
    pub fn exchange(&self) -> u64 {
        self.exchanges.load(Ordering::Relaxed)
    }

    /// Ends `exchange` over the head of the desk that has it: whatever the application still reads or writes fails. Never waits.
    pub fn seize(&self, exchange: u64) -> Seizure {
        let mut place = match self.socket.try_write() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(poison)) => poison.into_inner(),
            Err(TryLockError::WouldBlock) => return Seizure::Busy,
        };
        if self.exchange() != exchange {
            return Seizure::Over;
        }
        let Some(socket) = place.take() else {
            return Seizure::Over;
        };
        let is_head = lock(&self.inflow).request().is_some_and(|request| request.framing.is_head);
        Seizure::Seized { socket, has_written: self.has_written(), is_head }
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

    /// Reads on in the body until `limit` bytes of it are buffered, without waiting.
    ///
    /// # Errors
    /// Whatever `recv(2)` says.
    pub fn fill(&self, limit: usize) -> io::Result<Pull> {
        self.with_socket(|socket| lock(&self.inflow).fill(socket, limit))
    }

    /// Whether some of the body has been seen and `limit` bytes of it lie in the socket.
    #[must_use]
    pub fn has_body_waiting(&self, limit: usize) -> bool {
        self.with_socket(|socket| Ok(lock(&self.inflow).is_body_waiting(socket, limit))).unwrap_or(false)
    }

    /// Whether new bytes of the body come within a moment.
    #[must_use]
    pub fn await_more(&self, limit: usize) -> bool {
        if !lock(&self.inflow).is_holding() {
            return self.await_readable(PAUSE);
        }
        (0..3).any(|_| {
            nap();
            matches!(self.fill(limit), Ok(Pull::Some(_)))
        })
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

    /// Whether nobody waits for a response any more; false when that cannot be known.
    ///
    /// A TCP peer that has ended its own side alone cannot be told from one that has left.
    pub fn has_peer_left(&self) -> bool {
        let seen = self.with_socket(|socket| {
            let seen = look(socket, PollFlags::RDHUP)?;
            Ok((seen, seen.contains(PollFlags::RDHUP) && !peer::is_unix(socket)))
        });
        seen.is_ok_and(|(seen, is_half)| is_half || seen.intersects(PollFlags::HUP | PollFlags::ERR))
    }

    /// Ends the exchange for the application's objects and returns the socket and what is left to write; `None` when it has
    /// been ended already.
    ///
    /// # Errors
    /// [`InUse`]: another thread is reading or writing, and [`release`](Self::release) has to wait for it.
    pub fn try_release(&self) -> Result<Option<(OwnedFd, Vec<Part>)>, InUse> {
        let mut place = match self.socket.try_write() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(poison)) => poison.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(InUse),
        };
        self.is_over.store(true, Ordering::Relaxed);
        Ok(place.take().map(|socket| (socket, self.take_rest())))
    }

    /// The same, once no other thread reads or writes; whoever waits in a read is told that no more comes.
    pub fn release(&self) -> Option<(OwnedFd, Vec<Part>)> {
        self.is_over.store(true, Ordering::Relaxed);
        // A thread of the application may still be waiting in a read, and holds the lock until its wait ends.
        drop(self.with_socket(|socket| Ok(shutdown(socket, Shutdown::Read)?)));
        let socket = self.socket.write().unwrap_or_else(|poison| poison.into_inner()).take()?;
        Some((socket, self.take_rest()))
    }

    fn take_rest(&self) -> Vec<Part> {
        if self.has_rest.load(Ordering::Relaxed) { mem::take(&mut *lock(&self.rest)) } else { Vec::new() }
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

    fn read_body(&self, room: &mut Room<'_>) -> Result<bool, BodyError> {
        while room.left() > 0 && self.body_left() > 0 {
            match self.with_socket(|socket| lock(&self.inflow).read_on(socket, room)) {
                Ok(Pull::Some(0)) => return Err(BodyError::Sealed { missing: self.body_left() }),
                Ok(Pull::Some(_)) => {}
                Ok(Pull::Blocked) => return Ok(false),
                Ok(Pull::End) => return Err(BodyError::Closed { missing: self.body_left() }),
                Err(error) if error.raw_os_error() == Some(Errno::BADF.raw_os_error()) => {
                    return Err(BodyError::Over);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(BodyError::Closed { missing: self.body_left() });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn await_body(&self) -> Result<(), BodyError> {
        let timeout = self.limits.body_timeout;
        if self.with_socket(|socket| wait(socket, PollFlags::IN, timeout))? {
            return Ok(());
        }
        Err(BodyError::Stalled { missing: self.body_left(), within: timeout })
    }

    fn is_body_coming(&self) -> bool {
        lock(&self.inflow).body_unseen() > 0
    }

    fn seal_body(&self) {
        let limit = self.limits.body_buffer;
        // Under one lock: what another thread of the application reads in between would leave a gap in the buffer.
        let _ = self.with_socket(|socket| {
            let mut inflow = lock(&self.inflow);
            inflow.make_room();
            let mut naps = 0..if inflow.body_seen() > 0 { SPOOL_NAPS } else { 0 };
            while !inflow.is_full(limit) {
                match inflow.fill_last(socket, limit) {
                    Ok(Pull::Some(_)) => {}
                    // A body that was announced and never sent is not waited for, and no body for long.
                    Ok(Pull::Blocked) if naps.next().is_some() => nap(),
                    _ => break,
                }
            }
            inflow.seal();
            Ok(())
        });
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

    /// Notes that `sent` bytes went out, while the socket is still in use: who seizes it next knows.
    fn wrote(&self, sent: usize) -> usize {
        if sent > 0 {
            self.has_written.store(true, Ordering::Relaxed);
        }
        sent
    }
}

impl Outbound for Connection {
    fn try_write(&self, parts: &[IoSlice<'_>]) -> Result<usize, Gone> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = self.with_socket(|socket| {
            let sent = retry_on_intr(|| match parts {
                [only] => send(socket, only, flags),
                _ => sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), flags),
            });
            match sent {
                Err(Errno::AGAIN) => Ok(0),
                sent => Ok(self.wrote(sent?)),
            }
        });
        sent.map_err(|_| Gone::Closed)
    }

    fn await_writable(&self, patience: Patience) -> Result<bool, Gone> {
        let timeout = match patience {
            Patience::Brief => BRIEF,
            Patience::Full => self.limits.write_timeout,
        };
        let mut waited = Duration::ZERO;
        while waited < timeout {
            let slice = SLICE.min(timeout - waited);
            // The lock on the socket is free between two slices, for a desk that has finished without us.
            if self.with_socket(|socket| wait(socket, PollFlags::OUT, slice)).map_err(|_| Gone::Closed)? {
                return Ok(true);
            }
            if self.is_over.load(Ordering::Relaxed) {
                return Err(Gone::Closed);
            }
            waited += slice;
        }
        if patience == Patience::Full { Err(Gone::Stalled) } else { Ok(false) }
    }

    fn try_send_file(&self, file: BorrowedFd<'_>, offset: u64, count: u64) -> Result<Option<usize>, Gone> {
        let sent = self.with_socket(|socket| Ok(send_file(socket, file, offset, count)?.map(|sent| self.wrote(sent))));
        sent.map_err(|_| Gone::Closed)
    }

    fn hand_over(&self, rest: Vec<Part>) {
        *lock(&self.rest) = rest;
        self.has_rest.store(true, Ordering::Relaxed);
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
