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

/// Parts that go out in one call.
const GATHERED: usize = 16;

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
        let mut is_full = false;
        if total <= TINY && total > 0 {
            let start = cursor.part;
            cursor.advance(parts, self.try_write_tiny(parts, cursor, total)?);
            is_full = cursor.part < start + GATHERED;
        }
        if cursor.done < total {
            let done = py.detach(|| self.write_on(parts, cursor, patience, is_full))?;
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
            let start = cursor.part;
            cursor.advance(parts, self.try_write(parts, cursor)?);
            // A call that took all of its parts says nothing about the room there is for the next ones.
            is_full = cursor.part < start + GATHERED;
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
        let mut slices = SmallVec::<[IoSlice<'_>; GATHERED]>::new();
        let mut offset = cursor.offset;
        let left = parts.get(cursor.part..).unwrap_or_default();
        for part in left.iter().take(GATHERED) {
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

#[cfg(test)]
mod tests {
    use std::{
        os::fd::BorrowedFd,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::{
        request::{BodyError, Inbound, Request},
        response::{Exchange, Outbound},
        room::Room,
    };

    /// A peer that takes so many bytes and then no more, and how often it was waited for.
    struct Peer {
        room: Mutex<usize>,
        waits: Mutex<u32>,
    }

    impl Outbound for Peer {
        fn try_write(&self, parts: &[IoSlice<'_>]) -> Result<usize, Gone> {
            let mut room = self.room.lock().unwrap();
            let taken = parts.iter().map(|part| part.len()).sum::<usize>().min(*room);
            *room -= taken;
            Ok(taken)
        }

        fn await_writable(&self, _: Patience) -> Result<bool, Gone> {
            *self.waits.lock().unwrap() += 1;
            Ok(false)
        }

        fn try_send_file(&self, _: BorrowedFd<'_>, _: u64, _: u64) -> Result<Option<usize>, Gone> {
            Ok(None)
        }

        fn hand_over(&self, _: Vec<Part>) {}
    }

    impl Inbound for Peer {
        fn with_request(&self, _: &mut dyn FnMut(&Request<'_>)) {}

        fn body_left(&self) -> u64 {
            0
        }

        fn read_body(&self, _: &mut Room<'_>) -> Result<bool, BodyError> {
            Ok(false)
        }

        fn await_body(&self) -> Result<(), BodyError> {
            Ok(())
        }

        fn seal_body(&self) {}

        fn is_body_coming(&self) -> bool {
            false
        }

        fn request_id(&self) -> String {
            String::new()
        }

        fn is_peer_gone(&self) -> bool {
            false
        }
    }

    impl Exchange for Peer {}

    /// Bytes sent of a hundred parts of ten bytes, and waits for a peer with so much room.
    fn sent(room: usize) -> (usize, u32) {
        let peer = Arc::new(Peer { room: Mutex::new(room), waits: Mutex::default() });
        let reply = Reply::new(Arc::clone(&peer) as _);
        let done = reply.write_on(&[&[b'x'; 10][..]; 100], Cursor::default(), Patience::Brief, false);
        let waits = *peer.waits.lock().unwrap();
        (done.unwrap(), waits)
    }

    #[test]
    fn nobody_is_waited_for_who_takes_every_part() {
        assert_eq!(sent(1000), (1000, 0));
    }

    #[test]
    fn a_peer_that_takes_no_more_is_waited_for() {
        assert_eq!([sent(165), sent(160), sent(0)], [(165, 1), (160, 1), (0, 1)]);
    }
}
