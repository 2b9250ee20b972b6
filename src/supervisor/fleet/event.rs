//! What the supervisor learns, and what it is told to do.

use std::io;

use crate::supervisor::ending::Ending;

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The forkserver runs.
    ForkserverStarted { pid: i32 },
    /// The forkserver could not be forked.
    ForkserverRefused { error: io::Error },
    /// The forkserver can fork workers.
    Loaded,
    /// The forkserver has closed its channel.
    ForkserverHungUp,
    /// The forkserver has ended.
    ForkserverEnded { ending: Ending },
    /// The application could not be loaded, by the forkserver or by a worker.
    LoadFailed { report: String },
    /// The worker runs.
    Forked { slot: u32, pid: i32 },
    /// The forkserver could not be asked for this worker.
    RequestLost { slot: u32 },
    /// The worker accepts connections.
    Ready { slot: u32 },
    /// The worker accepts no more.
    Stopping { slot: u32 },
    /// The worker has closed its channel.
    HungUp { slot: u32 },
    /// Some process below us has ended.
    Ended { pid: i32, ending: Ending },
    /// We are to stop.
    Stop(Stop),
    /// Time has passed.
    Tick,
}

/// How soon to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Requests in flight finish; asked for a second time, they do not.
    Gracefully,
    /// Requests in flight are cut.
    AtOnce,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Fork a forkserver.
    StartForkserver { generation: u32 },
    /// Ask the forkserver for a worker.
    Fork { slot: u32 },
    /// Ask a worker to drain.
    Drain { slot: u32 },
    /// Let the forkserver go: close its channel.
    Retire,
    /// Send SIGKILL.
    Kill { pid: i32 },
}
