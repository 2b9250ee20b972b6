//! The way of a response's bytes to the peer, with the GIL for as long as that is quicker than letting go of it.

use std::{
    io::IoSlice,
    os::fd::{AsFd as _, OwnedFd},
};

use bytes::Bytes;
use pyo3::{prelude::*, types::PyBytes};
use rusgi_proto::ResponseHead;
use smallvec::SmallVec;

use crate::{
    python::reply::Reply,
    response::{Gone, Part, Patience},
};

/// A response up to this size is sent with the GIL held: the kernel copies it faster than the GIL changes hands.
const TINY: usize = 16 * 1024;

/// Parts that together are no longer than this are copied into one piece: send(2) is quicker than sendmsg(2) by 0.2 µs.
const JOINED: usize = 4096;

impl Reply {
    /// Sends `parts` from where they lie. `rest` makes parts that outlive this call out of all but the first bytes.
    pub(super) fn transmit(
        &self,
        py: Python<'_>,
        parts: &[&[u8]],
        patience: Patience,
        rest: impl FnOnce(usize) -> Vec<Part>,
    ) -> Result<(), Gone> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut cursor = Cursor::default();
        cursor.advance(parts, 0);
        let is_tiny = total <= TINY;
        if is_tiny && total > 0 {
            cursor.advance(parts, self.try_write_tiny(parts, cursor, total)?);
        }
        if cursor.done < total {
            let done = py.detach(|| self.write_on(parts, cursor, patience, is_tiny))?;
            if done < total {
                self.exchange.hand_over(rest(done));
            }
        }
        Ok(())
    }

    /// Sends a piece of a file; returns how many bytes of it there turned out not to be.
    pub(super) fn transmit_file(&self, file: OwnedFd, mut offset: u64, mut left: u64) -> Result<u64, Gone> {
        while left > 0 {
            match self.exchange.try_send_file(file.as_fd(), offset, left)? {
                Some(0) => return Ok(left),
                Some(sent) => (offset, left) = (offset + sent as u64, left - sent as u64),
                None if self.exchange.await_writable(Patience::Brief)? => {}
                None => {
                    self.exchange.hand_over(vec![Part::File { file, offset, left }]);
                    return Ok(0);
                }
            }
        }
        Ok(0)
    }

    /// Writes all that is left, and waits wherever `is_full`, that is where the kernel takes no more; returns how many bytes
    /// have gone out in all, fewer than there are when patience has run out.
    fn write_on(
        &self,
        parts: &[&[u8]],
        mut cursor: Cursor,
        patience: Patience,
        mut is_full: bool,
    ) -> Result<usize, Gone> {
        while cursor.part < parts.len() {
            if is_full && !self.exchange.await_writable(patience)? {
                break;
            }
            cursor.advance(parts, self.try_write(parts, cursor)?);
            is_full = true;
        }
        Ok(cursor.done)
    }

    fn try_write_tiny(&self, parts: &[&[u8]], cursor: Cursor, total: usize) -> Result<usize, Gone> {
        if total > JOINED || cursor.part + 1 == parts.len() {
            return self.try_write(parts, cursor);
        }
        let mut joined = SmallVec::<[u8; JOINED]>::new();
        parts.iter().for_each(|part| joined.extend_from_slice(part));
        self.exchange.try_write(&[IoSlice::new(&joined)])
    }

    fn try_write(&self, parts: &[&[u8]], cursor: Cursor) -> Result<usize, Gone> {
        let mut slices = SmallVec::<[IoSlice<'_>; 16]>::new();
        let mut offset = cursor.offset;
        let left = parts.get(cursor.part..).unwrap_or_default();
        for part in left.iter().take(slices.inline_size()) {
            let rest = part.get(offset..).unwrap_or_default();
            if !rest.is_empty() {
                slices.push(IoSlice::new(rest));
            }
            offset = 0;
        }
        self.exchange.try_write(&slices)
    }
}

/// How far a list of parts has been sent.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// The part at hand.
    part: usize,
    /// Bytes of it that are sent.
    offset: usize,
    /// Bytes of all parts that are sent.
    done: usize,
}

impl Cursor {
    fn advance(&mut self, parts: &[&[u8]], count: usize) {
        self.done += count;
        self.offset += count;
        while let Some(part) = parts.get(self.part).filter(|part| part.len() <= self.offset) {
            self.offset -= part.len();
            self.part += 1;
        }
    }
}

/// All but the first `skip` bytes of `parts`, in pieces that keep what they lie in alive.
pub(super) fn keep(
    head: Option<&ResponseHead>,
    chunks: &[Bound<'_, PyBytes>],
    parts: &[&[u8]],
    mut skip: usize,
) -> Vec<Part> {
    let head = head.map(|head| Bytes::copy_from_slice(head.as_bytes())).unwrap_or_default();
    let bodies = chunks.iter().map(|chunk| chunk.extract::<Bytes>().unwrap_or_default());
    let mut kept = Vec::with_capacity(parts.len());
    for (whole, part) in std::iter::once(head).chain(bodies).zip(parts) {
        let start = skip.min(part.len());
        skip -= start;
        if start < part.len() {
            kept.push(Part::Bytes(whole.slice(start..part.len())));
        }
    }
    kept
}
