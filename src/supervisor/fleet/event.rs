//! What the supervisor learns, and what it is told to do.

use std::io;

use crate::{
    config::Range,
    supervisor::{ending::Ending, fleet::Demand},
};

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A generation's forkserver runs.
    ForkserverStarted { generation: u32, pid: i32 },
    /// A generation's forkserver could not be forked.
    ForkserverRefused { generation: u32, error: io::Error },
    /// A generation's forkserver can fork workers.
    Loaded { generation: u32 },
    /// A generation's forkserver has closed its channel.
    ForkserverHungUp { generation: u32 },
    /// A generation's forkserver has ended.
    ForkserverEnded { generation: u32, ending: Ending },
    /// A generation's application could not be loaded, by its forkserver or by a worker.
    LoadFailed { generation: u32, report: String },
    /// The worker runs.
    Forked { generation: u32, slot: u32, pid: i32 },
    /// The forkserver could not be asked for this worker.
    RequestLost { slot: u32 },
    /// The worker accepts connections.
    Ready { slot: u32 },
    /// The worker asks to be replaced, or has to be.
    Worn { slot: u32, reason: String },
    /// The worker is too large to be left alive.
    Oversized { slot: u32, reason: String },
    /// The worker accepts no more.
    Stopping { slot: u32 },
    /// The worker has closed its channel.
    HungUp { slot: u32 },
    /// Some process below us has ended.
    Ended { pid: i32, ending: Ending },
    /// A new generation is to take over.
    Reload,
    /// More or fewer workers are wanted.
    Scale(Scale),
    /// This is what the workers are doing.
    Demand(Demand),
    /// This process is to be replaced by another.
    Upgrade,
    /// The process that is to replace this one runs.
    SuccessorStarted { pid: i32 },
    /// All workers of the successor are ready.
    SuccessorReady,
    /// There is no successor, or it cannot serve.
    SuccessorFailed { report: String },
    /// The successor has all that was ours.
    HandedOver,
    /// The successor has ended.
    SuccessorEnded { ending: Ending },
    /// We are to stop.
    Stop(Stop),
    /// Time has passed.
    Tick,
}

/// How many workers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// One more.
    Up,
    /// One less, but never none.
    Down,
    /// That many, or as many within that range as the load demands.
    To(Range),
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
    /// Ask the generation's forkserver for a worker.
    Fork { generation: u32, slot: u32 },
    /// Ask a worker to drain; `is_last` when nobody else accepts any more.
    Drain { slot: u32, is_last: bool },
    /// Let the generation's forkserver go: close its channel.
    Retire { generation: u32 },
    /// Start the process that is to replace this one.
    StartSuccessor,
    /// Have the successor take over.
    HandOver { pid: i32 },
    /// Send SIGTERM.
    Terminate { pid: i32 },
    /// Send SIGKILL.
    Kill { pid: i32 },
}
