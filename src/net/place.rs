//! A place that one thread has at a time; whoever waits for it still notices signals, which a mutex would sleep through.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::{
    io::Errno,
    thread::futex::{Flags, wait, wake},
};

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const AWAITED: u32 = 2;

/// The place.
#[derive(Debug, Default)]
pub(super) struct Place(AtomicU32);

/// Having the place, until this is dropped.
#[derive(Debug)]
pub(super) struct Held<'a>(&'a Place);

impl Place {
    /// Waits for the place and takes it; `None` when a signal came first.
    pub(super) fn take(&self) -> Option<Held<'_>> {
        if self.0.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return Some(Held(self));
        }
        while self.0.swap(AWAITED, Ordering::Acquire) != FREE {
            // EAGAIN: the place has become free meanwhile.
            if wait(&self.0, Flags::PRIVATE, AWAITED, None) == Err(Errno::INTR) {
                return None;
            }
        }
        Some(Held(self))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.0.0.swap(FREE, Ordering::Release) == AWAITED {
            // It cannot fail: the word is ours and alive.
            let _ = wake(&self.0.0, Flags::PRIVATE, 1);
        }
    }
}
