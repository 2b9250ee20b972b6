//! One request on a connection of its own, and its answer, without waiting.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with,
    },
};

use crate::{
    cli::{
        answer::{Answer, AnswerError},
        asked::Request,
    },
    config::Address,
};

/// A request under way.
pub(super) struct Exchange {
    socket: OwnedFd,
    /// When it was due.
    pub(super) due: Instant,
    sent: usize,
    /// Bytes received.
    pub(super) received: u64,
    answer: Answer,
}

/// Why there is no whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// Nobody listens.
    Refused,
    /// The listen queue of a Unix socket is full.
    QueueFull,
    /// The server may not be connected to, or the connection failed otherwise.
    Unreachable,
    /// Closed or reset before the first byte.
    Unanswered,
    /// Closed or reset in the middle of the response.
    Cut,
    /// Something else than a response.
    NotHttp,
    /// No whole response in time.
    TimedOut,
    /// Due, but every connection was in use until the end.
    NeverSent,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::QueueFull => "listen queue full",
            Self::Unreachable => "unreachable",
            Self::Unanswered => "no answer",
            Self::Cut => "cut response",
            Self::NotHttp => "not HTTP",
            Self::TimedOut => "timed out",
            Self::NeverSent => "never sent",
        })
    }
}

impl Exchange {
    /// Connects and sends as much as there is room for.
    ///
    /// # Errors
    /// When the system has no socket left; `Err` within: the server cannot be reached.
    pub(super) fn begin(request: &Request, due: Instant) -> io::Result<Result<Self, Failure>> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let family = match &request.address {
            Address::Unix(_) => AddressFamily::UNIX,
            Address::Tcp(tcp) if tcp.is_ipv4() => AddressFamily::INET,
            Address::Tcp(_) => AddressFamily::INET6,
        };
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        let connected = match &request.address {
            Address::Unix(path) => connect(&socket, &SocketAddrUnix::new(path)?),
            Address::Tcp(tcp) => connect(&socket, tcp),
        };
        let mut exchange = Self { socket, due, sent: 0, received: 0, answer: Answer::default() };
        Ok(match connected {
            Ok(()) => exchange.send(&request.bytes).map(|()| exchange),
            Err(Errno::INPROGRESS) => Ok(exchange),
            Err(Errno::AGAIN) => Err(Failure::QueueFull),
            Err(error) => Err(unconnected(error)),
        })
    }

    /// Whether all of the request has been sent.
    pub(super) fn is_sent(&self, request: &Request) -> bool {
        self.sent == request.bytes.len()
    }

    /// Goes on as far as possible; the status once the response is whole.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn advance(&mut self, request: &Request, buffer: &mut [u8]) -> Result<Option<u16>, Failure> {
        self.send(&request.bytes)?;
        loop {
            match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((_, 0)) => return self.end().map(Some),
                Ok((_, count)) => self.take(buffer.get(..count).unwrap_or_default(), request)?,
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(_) => return Err(self.lost()),
            }
            if self.answer.is_whole() {
                return self.end().map(Some);
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let unsent = bytes.get(self.sent..).unwrap_or_default();
        if unsent.is_empty() {
            return Ok(());
        }
        match send(&self.socket, unsent, SendFlags::NOSIGNAL) {
            Ok(sent) => self.sent += sent,
            // Not connected yet, or no room.
            Err(Errno::AGAIN | Errno::NOTCONN) => {}
            // Whoever takes no more may have answered.
            Err(Errno::PIPE | Errno::CONNRESET) => self.sent = bytes.len(),
            Err(error) => return Err(unconnected(error)),
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], request: &Request) -> Result<(), Failure> {
        self.received += bytes.len() as u64;
        self.answer.take(bytes, request.outgoing.method != "HEAD").map(drop).map_err(|error| kind(&error))
    }

    fn end(&self) -> Result<u16, Failure> {
        self.answer.end().map_err(|error| kind(&error))?;
        self.answer.head().map(|head| head.status).ok_or(Failure::Unanswered)
    }

    fn lost(&self) -> Failure {
        if self.received == 0 { Failure::Unanswered } else { Failure::Cut }
    }
}

impl AsFd for Exchange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn unconnected(error: Errno) -> Failure {
    match error {
        Errno::CONNREFUSED | Errno::NOENT => Failure::Refused,
        _ => Failure::Unreachable,
    }
}

fn kind(error: &AnswerError) -> Failure {
    match error {
        AnswerError::Nothing => Failure::Unanswered,
        AnswerError::HeadCut | AnswerError::BodyCut { .. } => Failure::Cut,
        AnswerError::NotHttp(_) | AnswerError::Length | AnswerError::TooLong => Failure::NotHttp,
    }
}
