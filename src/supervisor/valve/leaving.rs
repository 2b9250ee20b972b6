//! Connections that are answered without being served, and then seen off.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt},
};

use crate::net::listener::Listener;

/// Answered connections, oldest first.
///
/// ```text
///   accepted ── answered, own side ended ──▶ leaving ── the peer has ended its side, or has had its time ──▶ closed
///       └── the peer has left ──▶ closed
/// ```
///
/// A close with something unread would take the answer back, so what the peer still sends is read, to a bound.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    connections: VecDeque<Connection>,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    until: Instant,
    /// Bytes that are still read.
    left: usize,
}

/// What has become of the one in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// It has its answer, or was reset.
    Away,
    /// It had left before.
    Gone,
    /// Nobody waits.
    Nobody,
    /// There is no descriptor or memory for another connection.
    Shortage(Errno),
}

impl Leaving {
    /// Accepts who has waited longest at `listener` and answers `page`.
    pub(super) fn turn_away(&mut self, listener: &Listener, page: &[u8], now: Instant) -> Turned {
        let socket = match accept(listener) {
            Ok(socket) => socket,
            Err(turned) => return turned,
        };
        // The first bytes on a new socket always find room.
        let is_sent = send(&socket, page, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) == Ok(page.len());
        if !is_sent || shutdown(&socket, Shutdown::Write).is_err() {
            return Turned::Gone;
        }
        if self.connections.len() >= MOST {
            self.connections.pop_front();
        }
        let mut connection = Connection { socket, until: now + LINGER, left: LINGER_BYTES };
        if !connection.has_left() {
            self.connections.push_back(connection);
        }
        Turned::Away
    }

    /// Accepts who has waited longest at `listener`, a TCP socket, and resets the connection.
    pub(super) fn reset(&mut self, listener: &Listener) -> Turned {
        match accept(listener) {
            // A close without lingering resets (socket(7), SO_LINGER).
            Ok(socket) if sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).is_ok() => Turned::Away,
            Ok(_) => Turned::Gone,
            Err(turned) => turned,
        }
    }

    /// Reads what has come, and closes who has left or has had its time.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.connections.retain_mut(|connection| now < connection.until && !connection.has_left());
    }

    /// Whether nobody is left to see off.
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}

fn accept(listener: &Listener) -> Result<OwnedFd, Turned> {
    listener.accept().map_err(|error| match error {
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Turned::Shortage(error),
        Errno::CONNABORTED => Turned::Gone,
        _ => Turned::Nobody,
    })
}

impl Connection {
    /// Reads what has come, a bounded part of it at a time; true when the connection can be closed.
    fn has_left(&mut self) -> bool {
        let mut scratch = [0; 16 * 1024];
        for _ in 0..READS {
            match recv(&self.socket, &mut scratch, RecvFlags::DONTWAIT) {
                Ok((_, count)) if count > 0 && self.left > 0 => self.left = self.left.saturating_sub(count),
                Err(Errno::AGAIN | Errno::INTR) => return false,
                _ => return true,
            }
        }
        false
    }
}

/// How long a peer may take to end its side once it has its answer.
const LINGER: Duration = Duration::from_secs(2);
/// How much of a request is read after its answer.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// Reads of one connection in one go.
const READS: usize = 16;
/// More than that are not seen off at once: the oldest is closed as it is.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
    };

    use super::*;
    use crate::config::{Address, Admission, Listen};

    const PAGE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\r\n";

    struct House {
        listener: Listener,
        path: std::path::PathBuf,
    }

    impl House {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rusgi-leaving-{}-{name}", std::process::id()));
            let address = Address::Unix(path.clone());
            let addresses = vec![address.clone()];
            let (admission, is_default) = (Admission::default(), false);
            let settings =
                Listen { addresses, is_default, socket_mode: 0o600, socket_owner: None, backlog: 1024, admission };
            Self { listener: Listener::bind(&address, &settings).unwrap(), path }
        }

        fn visitor(&self) -> UnixStream {
            UnixStream::connect(&self.path).unwrap()
        }
    }

    impl Drop for House {
        fn drop(&mut self) {
            let _gone = self.listener.remove_file();
        }
    }

    #[test]
    fn the_one_in_front_is_answered_and_closed_once_it_has_left() {
        let (house, now) = (House::new("front"), Instant::now());
        let mut leaving = Leaving::default();
        let (mut first, second) = (house.visitor(), house.visitor());
        first.write_all(&[b'x'; 100]).unwrap();
        assert_eq!(leaving.turn_away(&house.listener, PAGE, now), Turned::Away);
        let mut answer = vec![];
        first.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, PAGE);
        leaving.sweep(now);
        assert!(!leaving.is_empty());
        // More may come after the answer.
        first.write_all(b"the rest").unwrap();
        drop(first);
        leaving.sweep(now);
        assert!(leaving.is_empty());
        drop(second);
        assert_eq!(leaving.turn_away(&house.listener, PAGE, now), Turned::Gone);
        assert_eq!(leaving.turn_away(&house.listener, PAGE, now), Turned::Nobody);
    }

    #[test]
    fn a_reset_is_seen_as_one() {
        let tcp = "127.0.0.1:0".parse().unwrap();
        let settings = Listen {
            addresses: vec![Address::Tcp(tcp)],
            is_default: false,
            socket_mode: 0o600,
            socket_owner: None,
            backlog: 16,
            admission: Admission::default(),
        };
        let listener = Listener::bind(&Address::Tcp(tcp), &settings).unwrap();
        let mut visitor = std::net::TcpStream::connect(listener.address()).unwrap();
        visitor.write_all(b"a request").unwrap();
        let mut leaving = Leaving::default();
        // The kernel holds a connection back until its data has come.
        let turned = std::iter::from_fn(|| Some(leaving.reset(&listener))).find(|turned| *turned != Turned::Nobody);
        assert_eq!(turned, Some(Turned::Away));
        let error = visitor.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn nobody_stays_for_long_and_only_so_many_at_once() {
        let (house, now) = (House::new("stay"), Instant::now());
        let mut leaving = Leaving::default();
        let visitors: Vec<_> = (0..MOST + 10).map(|_| house.visitor()).collect();
        while leaving.turn_away(&house.listener, PAGE, now) == Turned::Away {}
        assert_eq!(leaving.connections.len(), MOST);
        leaving.sweep(now + LINGER - Duration::from_millis(1));
        assert_eq!(leaving.connections.len(), MOST);
        leaving.sweep(now + LINGER);
        assert!(leaving.is_empty());
        drop(visitors);
    }
}
