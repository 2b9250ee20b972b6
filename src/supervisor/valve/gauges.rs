//! The length of every listen queue, and what to say where the kernel does not tell.

use std::io;

use serde::Serialize;
use tracing::info;

use crate::net::listener::{
    Listener,
    queue::{Gauge, Queue},
};

/// A gauge for every listener that can be measured.
#[derive(Debug)]
pub(super) struct Gauges {
    gauges: Vec<Option<Gauge>>,
}

/// One listener's queue, for operators and their tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct QueueStatus {
    /// The listener's address.
    pub(crate) address: String,
    /// Connections that wait to be accepted; nothing where the kernel does not tell.
    pub(crate) length: Option<u32>,
    /// How many may wait before the kernel turns others away.
    pub(crate) limit: Option<u32>,
}

impl Gauges {
    /// Gauges for `listeners`; says once for which there can be none.
    pub(super) fn of(listeners: &[Listener]) -> Self {
        let gauge = |listener: &Listener| {
            let gauge = Gauge::of(listener).and_then(|gauge| gauge.read(listener).map(|_| gauge));
            gauge.map_err(|error| complain(listener, &error)).ok()
        };
        Self { gauges: listeners.iter().map(gauge).collect() }
    }

    /// The queues of `listeners`, which are those of [`Gauges::of`].
    pub(super) fn read(&mut self, listeners: &[Listener]) -> Vec<Option<Queue>> {
        let pairs = self.gauges.iter_mut().zip(listeners);
        pairs.map(|(gauge, listener)| read(gauge, listener)).collect()
    }
}

/// A gauge that fails is asked no more.
fn read(gauge: &mut Option<Gauge>, listener: &Listener) -> Option<Queue> {
    match gauge.as_ref()?.read(listener) {
        Ok(queue) => Some(queue),
        // The answer will come another time.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => {
            complain(listener, &error);
            *gauge = None;
            None
        }
    }
}

fn complain(listener: &Listener, error: &io::Error) {
    info!("{}: the length of the listen queue is not to be had ({error}): overload goes unseen", listener.address());
}

impl QueueStatus {
    /// What was read of the queue of `listener`.
    pub(super) fn new(listener: &Listener, queue: Option<Queue>) -> Self {
        let address = listener.address().to_owned();
        Self { address, length: queue.map(|queue| queue.length), limit: queue.map(|queue| queue.limit) }
    }
}
