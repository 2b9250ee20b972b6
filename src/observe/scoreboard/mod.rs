//! What every desk is doing, in memory that all processes share: written without a lock, readable at any moment by any of them.
#![expect(unsafe_code, reason = "a mapping that several processes share has no safe form")]

use std::{
    io, ptr, slice,
    sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    time::Duration,
};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::observe::clock::lately;

/// How much of a packet's vars a row keeps, in bytes: with nginx's `uwsgi_params` enough for the method and most paths.
const KEPT: usize = 256;

/// A deadline that never comes.
const NEVER: u64 = u64::MAX;

/// The rows of all desks of all workers. It lies in a mapping that a fork shares and that stays until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Scoreboard {
    head: &'static Head,
    slots: &'static [Slot],
    /// Rows that belong to one worker.
    threads: usize,
}

/// What the mapping begins with. Zero bytes are a new one.
#[repr(C, align(64))]
#[derive(Debug)]
struct Head {
    /// Rows from the first on that have ever been claimed; nobody reads the others, whose pages do not exist.
    used: AtomicUsize,
    /// Whether those in front of the listen queue have waited for so long that their peers may have left.
    is_stale: AtomicBool,
}

/// What all desks together are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Desks of workers that run; of those that drain as well.
    pub desks: usize,
    /// Desks with a request.
    pub busy: usize,
    /// Requests that have begun since there is a scoreboard.
    pub begun: u64,
    /// Requests that were not begun because their peers had left.
    pub left: u64,
    /// Microseconds that desks which had been woken for a connection have waited for the GIL.
    pub gil_wait: u64,
}

/// One desk's row, for the desk to write and for its process to read.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    head: &'static Head,
    slot: &'static Slot,
    /// Milliseconds that a request may take.
    allowance: u64,
}

/// A row as it lies in the mapping. Zero bytes are a free one.
#[repr(C, align(64))]
#[derive(Debug)]
struct Slot {
    /// The worker; 0 while the row is free.
    pid: AtomicI32,
    /// Bytes of `vars` that mean something.
    kept: AtomicU32,
    /// Odd while a request is being served; two more with every request.
    serial: AtomicU64,
    /// When the request began, in milliseconds of CLOCK_MONOTONIC.
    began: AtomicU64,
    /// When it has had its time, on the same clock.
    deadline: AtomicU64,
    /// The serial of the request that was interrupted last.
    interrupted: AtomicU64,
    /// Requests whose peers had left.
    left: AtomicU64,
    /// Microseconds waited for the GIL.
    gil_wait: AtomicU64,
    /// How the request's vars begin.
    vars: [AtomicU64; KEPT / 8],
}

/// A request that a desk is serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its serial: no other request of the same desk has it.
    pub serial: u64,
    /// How long it has been served.
    pub age: Duration,
    /// How long it may still take, zero when that is over; `None` where there is no limit.
    pub left: Option<Duration>,
}

/// A request that was being served, as its worker left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// REQUEST_METHOD; empty where the peer sent none.
    pub method: String,
    /// REQUEST_URI without its query, else PATH_INFO; cut where the row had no more room.
    pub path: String,
    /// How long it had been served.
    pub age: Duration,
}

impl Scoreboard {
    /// A scoreboard for `workers` workers at a time, each with `threads` desks.
    ///
    /// # Errors
    /// When the system has no memory left.
    pub fn new(workers: usize, threads: usize) -> io::Result<Self> {
        let (workers, threads) = (workers.max(1), threads.max(1));
        let length = workers.checked_mul(threads).ok_or(io::ErrorKind::OutOfMemory)?;
        let rows = length.checked_mul(size_of::<Slot>());
        let bytes = rows.and_then(|rows| rows.checked_add(size_of::<Head>())).ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags) }?;
        // SAFETY: the mapping has room for a head and `length` slots, is aligned to a page (and the head's size to a slot),
        // zeroed (which is a valid head and slot), holds atomics only and is never unmapped, so it may be shared for as long as
        // the process lives; this function keeps all of that.
        let (head, slots) = unsafe {
            let slots = start.byte_add(size_of::<Head>()).cast::<Slot>();
            (&*start.cast::<Head>(), slice::from_raw_parts(slots, length))
        };
        Ok(Self { head, slots, threads })
    }

    /// Rows for the desks of worker `pid`, each of whose requests may take `allowance`; `None` when every row is taken.
    #[must_use]
    pub fn claim(&self, pid: i32, allowance: Option<Duration>) -> Option<Vec<Row>> {
        let is_free = |block: &&[Slot]| {
            let first = block.first().map(|slot| &slot.pid);
            first.is_some_and(|first| first.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Relaxed).is_ok())
        };
        let (number, block) = self.slots.chunks_exact(self.threads).enumerate().find(|(_, block)| is_free(block))?;
        self.head.used.fetch_max((number + 1) * self.threads, Ordering::AcqRel);
        let allowance = allowance.map_or(NEVER, milliseconds);
        Some(block.iter().map(|slot| slot.claim(self.head, pid, allowance)).collect())
    }

    /// Frees the rows of worker `pid`, which has ended, and tells what it left unfinished.
    #[must_use]
    pub fn release(&self, pid: i32) -> Vec<Unfinished> {
        let is_theirs = |block: &&[Slot]| block.first().is_some_and(|slot| slot.pid.load(Ordering::Acquire) == pid);
        let Some(block) = self.slots.chunks_exact(self.threads).find(is_theirs) else {
            return Vec::new();
        };
        let unfinished = block.iter().filter_map(Slot::unfinished).collect();
        // The first row goes last: it is the one that a new worker claims the block by.
        block.iter().rev().for_each(|slot| slot.pid.store(0, Ordering::Release));
        unfinished
    }
}

impl Scoreboard {
    /// Tells all desks whether those in front of the listen queue have waited for so long that their peers may have left.
    pub fn set_stale(&self, is_stale: bool) {
        self.head.is_stale.store(is_stale, Ordering::Relaxed);
    }

    /// What all desks together are doing now.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.used().iter().fold(Tally::default(), |tally, slot| {
            let serial = slot.serial.load(Ordering::Relaxed);
            let is_claimed = slot.pid.load(Ordering::Relaxed) != 0;
            Tally {
                desks: tally.desks + usize::from(is_claimed),
                busy: tally.busy + usize::from(is_claimed && serial % 2 == 1),
                begun: tally.begun.wrapping_add(serial.div_ceil(2)),
                left: tally.left.wrapping_add(slot.left.load(Ordering::Relaxed)),
                gil_wait: tally.gil_wait.wrapping_add(slot.gil_wait.load(Ordering::Relaxed)),
            }
        })
    }

    fn used(&self) -> &'static [Slot] {
        self.slots.get(..self.head.used.load(Ordering::Acquire)).unwrap_or(self.slots)
    }

    /// Every worker that has rows here, with the number of its desks that have a request.
    pub fn busy(&self) -> impl Iterator<Item = (i32, usize)> {
        let is_busy = |slot: &&Slot| slot.serial.load(Ordering::Relaxed) % 2 == 1;
        self.used().chunks_exact(self.threads).filter_map(move |block| {
            let pid = block.first()?.pid.load(Ordering::Acquire);
            (pid != 0).then(|| (pid, block.iter().filter(is_busy).count()))
        })
    }
}

impl Row {
    /// A request begins, of which these are the vars. Costs a look at a clock and some stores.
    pub fn begin(&self, vars: &[u8]) {
        let (slot, now) = (self.slot, now());
        let serial = slot.serial.load(Ordering::Relaxed);
        // Nobody may see what follows under the serial of the last request.
        fence(Ordering::Release);
        slot.keep(vars);
        slot.began.store(now, Ordering::Relaxed);
        slot.deadline.store(now.saturating_add(self.allowance), Ordering::Relaxed);
        // Also after a request that did not come to its end the serial is a new, odd one.
        slot.serial.store((serial + 1) | 1, Ordering::Release);
    }

    /// The desk has waited so long for the GIL.
    pub fn waited_for_gil(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or_default();
        self.slot.gil_wait.fetch_add(micros, Ordering::Relaxed);
    }

    /// The request has ended; true when it was interrupted.
    #[must_use]
    pub fn end(&self) -> bool {
        let serial = self.slot.serial.load(Ordering::Relaxed);
        self.slot.serial.store(serial + 1, Ordering::Release);
        self.slot.interrupted.load(Ordering::Relaxed) == serial
    }

    /// Whether a peer may have left before its request begins: the listen queue has been waited in for long.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.head.is_stale.load(Ordering::Relaxed)
    }

    /// A request is not begun, because its peer has left.
    pub fn pass_over(&self) {
        self.slot.left.fetch_add(1, Ordering::Relaxed);
    }

    /// The request at hand, if there is one.
    #[must_use]
    pub fn turn(&self) -> Option<Turn> {
        let serial = self.slot.serial.load(Ordering::Acquire);
        let (began, deadline) = (self.slot.began.load(Ordering::Relaxed), self.slot.deadline.load(Ordering::Relaxed));
        let now = now();
        let left = (deadline != NEVER).then(|| Duration::from_millis(deadline.saturating_sub(now)));
        let turn = Turn { serial, age: Duration::from_millis(now.saturating_sub(began)), left };
        fence(Ordering::Acquire);
        (serial % 2 == 1 && self.is_at(serial)).then_some(turn)
    }

    /// Whether the request with this serial is still being served.
    #[must_use]
    pub fn is_at(&self, serial: u64) -> bool {
        self.slot.serial.load(Ordering::Acquire) == serial
    }

    /// Gives the request at hand `time` from now on, `None` for as much as it likes; false when there is none.
    pub fn allow(&self, time: Option<Duration>) -> bool {
        let deadline = time.map_or(NEVER, |time| now().saturating_add(milliseconds(time)));
        self.slot.deadline.store(deadline, Ordering::Relaxed);
        self.slot.serial.load(Ordering::Relaxed) % 2 == 1
    }

    /// Marks the request with this serial as interrupted.
    pub fn interrupt(&self, serial: u64) {
        self.slot.interrupted.store(serial, Ordering::Release);
    }

    /// Whether the request at hand has been marked and not been told yet; says so once.
    #[must_use]
    pub fn take_interrupt(&self) -> bool {
        let serial = self.slot.serial.load(Ordering::Relaxed);
        let is_marked = serial % 2 == 1 && self.slot.interrupted.load(Ordering::Acquire) == serial;
        if is_marked {
            self.slot.interrupted.store(0, Ordering::Relaxed);
        }
        is_marked
    }
}

impl Slot {
    fn claim(&'static self, head: &'static Head, pid: i32, allowance: u64) -> Row {
        self.pid.store(pid, Ordering::Release);
        // Serials go on from the worker before; an even one is idle.
        let serial = self.serial.load(Ordering::Relaxed);
        self.serial.store((serial + 1) & !1, Ordering::Release);
        Row { head, slot: self, allowance }
    }

    fn keep(&self, vars: &[u8]) {
        // A length known beforehand makes a straight line of stores out of the usual case.
        if let Some(first) = vars.first_chunk::<KEPT>() {
            return self.store(first);
        }
        let mut padded = [0; KEPT];
        padded.iter_mut().zip(vars).for_each(|(to, from)| *to = *from);
        self.store(&padded);
        self.kept.store(vars.len() as u32, Ordering::Relaxed);
    }

    fn store(&self, bytes: &[u8; KEPT]) {
        self.kept.store(KEPT as u32, Ordering::Relaxed);
        for (word, bytes) in self.vars.iter().zip(bytes.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
    }

    fn unfinished(&self) -> Option<Unfinished> {
        let serial = self.serial.load(Ordering::Acquire);
        let bytes: Vec<u8> = self.vars.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        let age = Duration::from_millis(now().saturating_sub(self.began.load(Ordering::Relaxed)));
        let vars = bytes.get(..self.kept.load(Ordering::Relaxed) as usize).unwrap_or(&bytes);
        let method = value(vars, b"REQUEST_METHOD").unwrap_or_default();
        let uri = value(vars, b"REQUEST_URI").or_else(|| value(vars, b"PATH_INFO")).unwrap_or_default();
        let path = uri.split(|byte| *byte == b'?').next().unwrap_or_default();
        let unfinished =
            Unfinished { method: method.escape_ascii().to_string(), path: path.escape_ascii().to_string(), age };
        (serial % 2 == 1).then_some(unfinished)
    }
}

/// The value of a var in a block that may have been cut anywhere: what is left of it.
fn value<'v>(mut vars: &'v [u8], name: &[u8]) -> Option<&'v [u8]> {
    loop {
        let (key, rest) = string(vars)?;
        let (value, rest) = string(rest)?;
        if key == name {
            return Some(value);
        }
        vars = rest;
    }
}

/// A string with its length in front, as far as there is one.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    Some(rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len())))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER)
}

fn now() -> u64 {
    milliseconds(lately())
}

#[cfg(test)]
mod tests;
