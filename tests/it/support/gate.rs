//! A gate at which the application waits, so that a test knows where it is and decides when it goes on.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{DEADLINE, scratch::Scratch};

/// The test's side; `tests/apps/gate.py` is the application's.
pub(crate) struct Gate {
    listener: UnixListener,
    path: PathBuf,
    _scratch: Scratch,
}

/// The application, standing at the gate until it is let through (or the arrival dropped).
pub(crate) struct Arrival {
    /// What the application had to say.
    pub(crate) note: String,
    stream: UnixStream,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new();
        let path = scratch.join("gate.sock");
        Self { listener: UnixListener::bind(&path).unwrap(), path, _scratch: scratch }
    }

    /// Where the application finds the gate: the value of its environment variable `GATE`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the application arrives.
    pub(crate) fn await_arrival(&self) -> Arrival {
        assert!(self.has_visitor(DEADLINE), "the application never came to the gate");
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut note = String::new();
        BufReader::new(&stream).read_line(&mut note).unwrap();
        Arrival { note: String::from(note.trim_end()), stream }
    }

    /// Nobody stands at the gate now.
    pub(crate) fn is_deserted(&self) -> bool {
        !self.has_visitor(Duration::ZERO)
    }

    fn has_visitor(&self, within: Duration) -> bool {
        let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
        let timeout = Timespec { tv_sec: i64::try_from(within.as_secs()).unwrap(), tv_nsec: 0 };
        poll(&mut fds, Some(&timeout)).unwrap() > 0
    }

    /// Waits until the application arrives and says `note`.
    pub(crate) fn await_note(&self, note: &str) -> Arrival {
        let arrival = self.await_arrival();
        assert_eq!(arrival.note, note);
        arrival
    }
}

impl Arrival {
    /// Lets the application go on.
    pub(crate) fn open(mut self) {
        // The application may have been killed at the gate.
        let _ = self.stream.write_all(b"!");
    }
}
