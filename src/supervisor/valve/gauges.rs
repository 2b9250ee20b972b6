//! The length of every listen queue, and what to say where the kernel does not tell.

use std::{io, mem};

use rustix::io::Errno;
use serde::Serialize;
use tracing::info;

use crate::net::listener::{
    Listener,
    queue::{Gauge, Queue},
};

/// A gauge for every listener that can be measured.
#[derive(Debug)]
pub(super) struct Gauges {
    ways: Vec<Way>,
}

/// The way to the length of one queue.
#[derive(Debug)]
enum Way {
    /// To be found at the next look.
    Sought,
    /// By this gauge.
    Found(Gauge),
    /// There is none.
    Barred,
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
        let mut gauges = Self { ways: listeners.iter().map(|_| Way::Sought).collect() };
        gauges.read(listeners);
        gauges
    }

    /// The queues of `listeners`, which are those of [`Gauges::of`].
    pub(super) fn read(&mut self, listeners: &[Listener]) -> Vec<Option<Queue>> {
        self.ways.iter_mut().zip(listeners).map(|(way, listener)| way.read(listener)).collect()
    }
}

impl Way {
    /// The queue of `listener`; a gauge that fails is made anew at the next look, unless that would be in vain.
    fn read(&mut self, listener: &Listener) -> Option<Queue> {
        let gauge = match mem::replace(self, Self::Sought) {
            Self::Sought => Gauge::of(listener),
            Self::Found(gauge) => Ok(gauge),
            Self::Barred => {
                *self = Self::Barred;
                return None;
            }
        };
        match gauge.and_then(|gauge| gauge.read(listener).map(|queue| (gauge, queue))) {
            Ok((gauge, queue)) => {
                *self = Self::Found(gauge);
                Some(queue)
            }
            Err(error) if is_passing(&error) => None,
            Err(error) => {
                complain(listener, &error);
                *self = Self::Barred;
                None
            }
        }
    }
}

/// Whether the next look may have an answer: the kernel was short of something, or had none yet.
fn is_passing(error: &io::Error) -> bool {
    let passing = [Errno::AGAIN, Errno::INTR, Errno::NOBUFS, Errno::NOMEM, Errno::MFILE, Errno::NFILE];
    Errno::from_io_error(error).is_some_and(|error| passing.contains(&error))
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;
    use crate::config::{Address, Admission, Listen};

    /// A listener with one connection in its queue.
    fn listener(name: &str) -> (Listener, UnixStream) {
        let path = std::env::temp_dir().join(format!("rusgi-gauges-{}-{name}", std::process::id()));
        let address = Address::Unix(path.clone());
        let (addresses, admission, is_default) = (vec![address.clone()], Admission::default(), false);
        let settings = Listen { addresses, is_default, socket_mode: 0o600, socket_owner: None, backlog: 64, admission };
        let mut listener = Listener::bind(&address, &settings).unwrap();
        let waiting = UnixStream::connect(path).unwrap();
        listener.remove_file().unwrap();
        (listener, waiting)
    }

    /// Gauges whose next answer from the kernel is this error (`nlmsghdr` and `nlmsgerr` of `linux/netlink.h`).
    fn failing(error: Errno) -> (Gauges, UnixDatagram) {
        let (ours, kernel) = UnixDatagram::pair().unwrap();
        let (length, kind, code) = (36_u32.to_ne_bytes(), 2_u16.to_ne_bytes(), (-error.raw_os_error()).to_ne_bytes());
        kernel.send(&[&length[..], &kind, &[0; 10], &code].concat()).unwrap();
        (Gauges { ways: vec![Way::Found(Gauge::Unix { diagnosis: ours.into(), inode: 0 })] }, kernel)
    }

    #[test]
    fn a_failure_that_passes_costs_one_look() {
        let (listener, _waiting) = listener("passes");
        let listeners = [listener];
        for error in [Errno::NOBUFS, Errno::NOMEM, Errno::AGAIN, Errno::INTR] {
            let (mut gauges, _kernel) = failing(error);
            assert_eq!(gauges.read(&listeners), [None]);
            let lengths = [(); 2].map(|()| gauges.read(&listeners)[0].map(|queue| queue.length));
            assert_eq!(lengths, [Some(1); 2], "{error}");
        }
    }

    #[test]
    fn where_the_kernel_knows_nothing_it_is_asked_no_more() {
        let (listener, _waiting) = listener("nothing");
        let (mut gauges, _kernel) = failing(Errno::NOENT);
        let listeners = [listener];
        assert_eq!([(); 2].map(|()| gauges.read(&listeners)), [[None], [None]]);
    }
}
