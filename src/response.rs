//! A response in the words that `net` and `python` share: where it is written to, and how it ended.

use std::{
    io::IoSlice,
    os::fd::{BorrowedFd, OwnedFd},
};

use bytes::Bytes;

use crate::request::Inbound;

/// Where a response goes. Nothing is copied: parts are sent from where they lie.
pub trait Outbound: Send + Sync {
    /// Sends as much of `parts` as the kernel takes at once and returns the number of bytes. Never waits.
    ///
    /// # Errors
    /// [`Gone`] when the peer no longer reads, or the exchange is over.
    fn try_write(&self, parts: &[IoSlice<'_>]) -> Result<usize, Gone>;

    /// Waits until more can be written. Call it without the GIL.
    ///
    /// # Errors
    /// [`Gone`] when the peer has left, or took nothing for the time that `patience` allows.
    fn await_writable(&self, patience: Patience) -> Result<bool, Gone>;

    /// Sends up to `count` bytes of a regular file from `offset` on, without copying them through this process. Never waits
    /// for the peer. `None`: it takes nothing for now; 0: the file has ended.
    ///
    /// # Errors
    /// [`Gone`] as for [`try_write`](Self::try_write), and when the file cannot be read.
    fn try_send_file(&self, file: BorrowedFd<'_>, offset: u64, count: u64) -> Result<Option<usize>, Gone>;

    /// Leaves the rest of a finished response to the lobby; nothing may be written after it.
    fn hand_over(&self, rest: Vec<Part>);
}

/// A piece of a response that outlives the application's call.
#[derive(Debug)]
pub enum Part {
    /// Bytes, and whatever keeps them alive.
    Bytes(Bytes),
    /// A piece of a regular file.
    File {
        /// The file, a descriptor of our own.
        file: OwnedFd,
        /// Where the piece begins.
        offset: u64,
        /// How many bytes it has.
        left: u64,
    },
}

impl From<Vec<u8>> for Part {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// How long to wait for a peer that takes no more bytes for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A moment: for a rest that the lobby can write as well.
    Brief,
    /// The write timeout: the application cannot go on before the kernel has taken the bytes.
    Full,
}

/// Why no more can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// The peer no longer reads, or the exchange is over.
    #[error("client closed the connection before it had read the response")]
    Closed,
    /// The peer is there and took nothing for the write timeout.
    #[error("client took nothing of the response for the write timeout")]
    Stalled,
}

/// Both directions of one request.
pub trait Exchange: Inbound + Outbound {}

/// How the application's part of an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole response has been written or handed over.
    Complete,
    /// Nothing has been written and the application has no response: the peer is owed a 500.
    Failed,
    /// Nothing has been written, for the request has had its time: the peer is owed a 504.
    TimedOut,
    /// A head has been written and the rest cannot be: the peer must see that the response is broken.
    Broken,
    /// The peer left first.
    PeerGone,
}
