//! A peer that speaks the uwsgi protocol, well or badly, whole or in pieces.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
    thread,
    time::Duration,
};

use super::{
    DEADLINE,
    packet::Packet,
    reply::{End, Reply},
};

/// One connection to the daemon (or, to see what a client sees, to nginx).
pub(crate) struct Peer {
    stream: Stream,
    received: Vec<u8>,
}

impl Peer {
    pub(crate) fn unix(path: &Path) -> Self {
        Self::try_unix(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Connects if anybody is there.
    pub(crate) fn try_unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Ok(Self { stream: Stream::Unix(stream), received: Vec::new() })
    }

    pub(crate) fn tcp(address: &str) -> Self {
        Self::of_tcp(TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}")))
    }

    /// Whoever has made this connection.
    pub(crate) fn of_tcp(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: Stream::Tcp(stream), received: Vec::new() }
    }

    /// Sends the packet and its body whole.
    pub(crate) fn ask(mut self, packet: &Packet) -> Reply {
        self.send(packet.bytes());
        self.reply()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes.as_ref()).expect("the daemon takes what the peer sends");
        self
    }

    /// Sends, telling when the daemon no longer takes anything.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends `bytes` in pieces, each after a pause in which the daemon sees an incomplete request.
    pub(crate) fn send_in_pieces(&mut self, bytes: &[u8], size: usize, pause: Duration) -> &mut Self {
        for piece in bytes.chunks(size) {
            self.send(piece);
            // A byte that was only peeked at leaves no trace on this side, so nothing could be awaited.
            thread::sleep(pause);
        }
        self
    }

    /// Sends `bytes` while another thread already reads the reply.
    pub(crate) fn send_meanwhile(self, bytes: Vec<u8>) -> Reply {
        let mut sender = Self { stream: self.stream.try_clone(), received: Vec::new() };
        // An answer may come, and the daemon hang up, before everything was sent.
        let sending = thread::spawn(move || sender.try_send(&bytes).is_ok());
        let reply = self.reply();
        sending.join().unwrap();
        reply
    }

    /// Says that nothing more will come.
    pub(crate) fn shut_write(&mut self) -> &mut Self {
        self.stream.shut_write();
        self
    }

    /// Waits until `wanted` has arrived.
    pub(crate) fn await_bytes(&mut self, wanted: &str) -> &mut Self {
        while !contains(&self.received, wanted.as_bytes()) {
            let mut piece = [0; 4096];
            let count = self.stream.read(&mut piece).unwrap_or_else(|error| self.complain(wanted, &error.to_string()));
            if count == 0 {
                self.complain(wanted, "end of stream");
            }
            self.received.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
        self
    }

    /// Reads one reply to its end, clean or not.
    pub(crate) fn reply(mut self) -> Reply {
        let mut bytes = std::mem::take(&mut self.received);
        let end = match self.stream.read_to_end(&mut bytes) {
            Ok(_) => End::Clean,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => End::Reset,
            Err(error) => panic!("the reply does not end ({error}) after {:?}", Reply::new(bytes, End::Clean)),
        };
        Reply::new(bytes, end)
    }

    /// Nothing has arrived and nobody has hung up.
    pub(crate) fn is_waiting(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 0
    }

    fn complain(&self, wanted: &str, instead: &str) -> ! {
        panic!("{instead} instead of {wanted:?} after {:?}", Reply::new(self.received.clone(), End::Clean));
    }
}

/// Whether `bytes` holds `wanted` somewhere.
pub(crate) fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Either kind of socket.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn try_clone(&self) -> Self {
        match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone().unwrap()),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().unwrap()),
        }
    }

    fn shut_write(&self) {
        match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
