//! What has been read of one request, and how much of it still lies in the socket.

use std::{io, mem, os::fd::BorrowedFd};

use rusgi_proto::{Header, Modifier1, Packet, Parsed, Vars};
use rustix::{io::ioctl_fionread, net::RecvFlags};

use crate::{
    net::{
        pull::{Pull, discard, is_closed, receive, receive_into, take},
        refusal::Refusal,
    },
    request::{Framing, Request},
    room::Room,
};

/// How much of a head is looked at before its length is known: nearly every packet, and small forms with it.
const WINDOW: usize = 16 * 1024;

/// How far the buffer for a body grows ahead of its bytes.
const STEP: usize = 64 * 1024;

/// A buffer larger than this is given back after the request that needed it: the default body buffer behind a usual head is kept.
const KEPT: usize = 320 * 1024;

/// The bytes of one request.
///
/// A backend that dies with request bytes unread makes the kernel reset the peer, also on a Unix socket, so that nginx
/// sees a broken response instead of a short one. Therefore the last byte of a request is looked at but never taken
/// before the response is out: `consumed` stays below `seen` once `seen` has reached the end.
#[derive(Debug)]
pub struct Inflow {
    buffer: Vec<u8>,
    /// Bytes of the request at the front of `buffer`.
    filled: usize,
    /// Length of the packet; 0 until it is complete and has been parsed.
    head: usize,
    framing: Framing,
    /// Bytes of the request that have been seen, buffered or given to the application.
    seen: u64,
    /// Bytes that have been taken out of the socket.
    consumed: u64,
    /// Bytes of the body that the application has read.
    read: u64,
    /// Where in the body the bytes buffered behind the head begin.
    base: u64,
    /// Whether bytes that have not been seen are lost, because the response has begun.
    is_sealed: bool,
    /// Whether the last read took all there was, so that another at once would be in vain: the next one says so by itself, once.
    is_dry: bool,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Not a whole packet yet.
    Incomplete,
    /// A request's packet; its body may follow.
    Request,
    /// uwsgi's ping (modifier1 100).
    Ping,
}

impl Inflow {
    /// An inflow that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::over(vec![0; WINDOW])
    }

    /// An inflow that the lobby has begun: `bytes` have been seen, all but the last `pending` have left the socket.
    #[must_use]
    pub fn begun(bytes: Vec<u8>, pending: usize) -> Self {
        let filled = bytes.len();
        let seen = filled as u64;
        let consumed = seen.saturating_sub(pending as u64);
        Self { filled, seen, consumed, ..Self::over(bytes) }
    }

    /// Forgets the last request.
    pub fn clear(&mut self) {
        let mut buffer = mem::take(&mut self.buffer);
        if buffer.len() > KEPT {
            buffer = vec![0; WINDOW];
        } else if buffer.len() < WINDOW {
            // The lobby's are as long as what they hold.
            buffer.resize(WINDOW, 0);
        }
        *self = Self::over(buffer);
    }

    /// An inflow over the memory of this one, which keeps its counts and loses its bytes.
    pub fn succeed(&mut self) -> Self {
        Self::over(mem::take(&mut self.buffer))
    }

    fn over(buffer: Vec<u8>) -> Self {
        Self {
            buffer,
            filled: 0,
            head: 0,
            framing: Framing::default(),
            seen: 0,
            consumed: 0,
            read: 0,
            base: 0,
            is_sealed: false,
            is_dry: false,
        }
    }

    /// Looks at what has arrived of the head.
    ///
    /// # Errors
    /// Whatever `recv(2)` says, but for `EAGAIN`.
    pub fn peek(&mut self, socket: BorrowedFd<'_>) -> io::Result<Pull> {
        // No further than the head needs: what is looked at stays in the socket, and a peer that finds no room there sends no more.
        let mut reach = self.buffer.len().min(WINDOW);
        loop {
            let room = self.buffer.get_mut(..reach).unwrap_or_default();
            let arrived = match receive(socket, room, RecvFlags::PEEK)? {
                Pull::Some(count) => count,
                other => return Ok(other),
            };
            let new = arrived.saturating_sub(self.filled);
            (self.filled, self.seen) = (arrived, arrived as u64);
            let wanted = Header::parse(self.seen_bytes()).map_or(0, |header| header.packet_len());
            if arrived < reach || wanted <= reach {
                return Ok(if new == 0 { Pull::Blocked } else { Pull::Some(new) });
            }
            reach = wanted;
            self.buffer.resize(self.buffer.len().max(wanted), 0);
        }
    }

    /// Parses the head as far as it has been seen.
    ///
    /// # Errors
    /// The refusal that the peer is owed when this is no request that rusgi serves.
    pub fn parse(&mut self, max_body: Option<u64>) -> Result<Head, Refusal> {
        if self.head > 0 {
            return Ok(Head::Request);
        }
        Refusal::of_first_bytes(self.seen_bytes())?;
        let Parsed::Complete { packet, .. } = Packet::parse(self.seen_bytes())? else {
            return Ok(Head::Incomplete);
        };
        if packet.header.modifier1 == Modifier1::PING {
            return Ok(Head::Ping);
        }
        let (framing, head) = (Framing::new(&packet)?, packet.header.packet_len());
        let length = framing.content_length;
        if let Some(limit) = max_body.filter(|limit| length > *limit) {
            return Err(Refusal::TooLarge { length, limit });
        }
        (self.framing, self.head) = (framing, head);
        // What lies beyond the request is no part of it: drained, never read.
        self.seen = self.seen.min(self.total());
        self.filled = usize::try_from(self.seen).unwrap_or(self.filled).min(self.filled);
        Ok(Head::Request)
    }

    /// The request, once its head has been parsed.
    #[must_use]
    pub fn request(&self) -> Option<Request<'_>> {
        let block = self.buffer.get(Header::LEN..self.head)?;
        Some(Request { vars: Vars::checked(block), framing: self.framing })
    }

    /// Reads on in the body until `limit` bytes of it are buffered or it is complete. The head stays in the socket until some of
    /// the body has come, and so does the last byte of all that is wanted, so that the response can be broken visibly.
    ///
    /// # Errors
    /// Whatever `recv(2)` says, but for `EAGAIN`.
    pub fn fill(&mut self, socket: BorrowedFd<'_>, limit: usize) -> io::Result<Pull> {
        self.fill_to(socket, limit, false)
    }

    /// The same for the last time before the response: the last byte seen stays in the socket whatever follows it.
    ///
    /// Only now: a byte held back in the middle of a body can keep a TCP window shut for good.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub fn fill_last(&mut self, socket: BorrowedFd<'_>, limit: usize) -> io::Result<Pull> {
        self.fill_to(socket, limit, true)
    }

    fn fill_to(&mut self, socket: BorrowedFd<'_>, limit: usize, is_last: bool) -> io::Result<Pull> {
        let goal = self.head.saturating_add(usize::try_from(self.framing.content_length).unwrap_or(limit).min(limit));
        // Memory follows the bytes that come, not those that were announced.
        let room = goal.min(self.filled.saturating_add(STEP).max(self.buffer.len()));
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let mut buffer = mem::take(&mut self.buffer);
        let pulled = if is_last || self.body_seen() == 0 {
            let hold_at = if is_last { 0 } else { goal - self.filled };
            self.pull_keeping(socket, buffer.get_mut(self.filled..room).unwrap_or_default(), hold_at)
        } else {
            self.pull_again(socket, buffer.get_mut(..room).unwrap_or_default(), goal)
        };
        self.buffer = buffer;
        if let Ok(Pull::Some(count)) = pulled {
            self.filled += count;
        }
        pulled
    }

    /// Whether [`fill`](Self::fill) with this limit has nothing left to do.
    #[must_use]
    pub fn is_full(&self, limit: usize) -> bool {
        self.seen >= self.total() || self.filled - self.head >= limit
    }

    /// Whether the packet and `limit` bytes of the body lie in the socket, and some of those have been seen.
    pub fn is_body_waiting(&self, socket: BorrowedFd<'_>, limit: usize) -> bool {
        let is_untouched = self.consumed == 0 && self.body_seen() > 0;
        is_untouched && ioctl_fionread(socket).is_ok_and(|waiting| waiting >= (self.head + limit) as u64)
    }

    /// Whether bytes that have been seen lie in the socket, which then cannot tell by itself whether more have come.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.consumed < self.seen
    }

    /// Copies buffered body bytes into `room` and returns how many.
    fn take_body(&mut self, room: &mut Room<'_>) -> usize {
        let start =
            self.read.checked_sub(self.base).and_then(|skip| self.head.checked_add(usize::try_from(skip).ok()?));
        let at_hand = start.and_then(|start| self.buffer.get(start..self.filled)).unwrap_or_default();
        let count = room.push(at_hand);
        self.read += count as u64;
        count
    }

    /// The next body bytes: buffered ones, else straight from the socket. `Some(0)`: the rest is lost, for the body is sealed.
    ///
    /// # Errors
    /// Whatever `recv(2)` says, but for `EAGAIN`.
    pub fn read_on(&mut self, socket: BorrowedFd<'_>, room: &mut Room<'_>) -> io::Result<Pull> {
        let buffered = self.take_body(room);
        if room.left() == 0 || self.is_sealed {
            return Ok(Pull::Some(buffered));
        }
        match self.pull(socket, room) {
            Ok(Pull::Some(count)) => {
                self.read += count as u64;
                Ok(Pull::Some(buffered + count))
            }
            // Whatever it is comes again.
            _ if buffered > 0 => Ok(Pull::Some(buffered)),
            other => other,
        }
    }

    /// Bytes of the body that the application has not read.
    #[must_use]
    pub fn body_left(&self) -> u64 {
        self.framing.content_length.saturating_sub(self.read)
    }

    /// Bytes of the body that are buffered and not read.
    #[must_use]
    pub fn body_at_hand(&self) -> u64 {
        (self.base + (self.filled - self.head) as u64).saturating_sub(self.read)
    }

    /// Forgets buffered body bytes that have been read, so that [`fill`](Self::fill) has room behind the head again.
    pub fn make_room(&mut self) {
        if self.body_at_hand() == 0 {
            (self.filled, self.base) = (self.head, self.seen.saturating_sub(self.head as u64));
        }
    }

    /// Gives up whatever has not been seen.
    pub fn seal(&mut self) {
        self.is_sealed = true;
    }

    /// Bytes of the body that have been seen, read or not.
    #[must_use]
    pub fn body_seen(&self) -> u64 {
        self.seen.saturating_sub(self.head as u64)
    }

    /// Bytes of the body that have not been seen.
    #[must_use]
    pub fn body_unseen(&self) -> u64 {
        self.total().saturating_sub(self.seen)
    }

    /// Takes what has been seen out of the socket. True when that was the whole request and nothing lies behind it,
    /// so that the socket can be closed without a reset; false when more may come.
    pub fn drain(&mut self, socket: BorrowedFd<'_>) -> bool {
        let pending = self.seen.saturating_sub(self.consumed);
        let (Ok(pending), true) = (usize::try_from(pending), self.head > 0 && self.seen >= self.total()) else {
            return false;
        };
        if self.buffer.len() <= pending {
            self.buffer.resize(pending + 1, 0);
        }
        // One byte of room more than is expected shows whether anything lies behind the request.
        let room = self.buffer.get_mut(..=pending).unwrap_or_default();
        matches!(receive(socket, room, RecvFlags::empty()), Ok(Pull::Some(count)) if count == pending)
    }

    fn total(&self) -> u64 {
        (self.head as u64).saturating_add(self.framing.content_length)
    }

    fn seen_bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// Reads the bytes that follow those already seen, as far as there is room, and leaves the request's last one in the socket.
    fn pull(&mut self, socket: BorrowedFd<'_>, room: &mut Room<'_>) -> io::Result<Pull> {
        let left = self.total().saturating_sub(self.seen);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(room.left());
        if wanted == 0 {
            return Ok(Pull::Some(0));
        }
        self.discard_pending(socket)?;
        if left == 1 {
            let mut last = [0];
            let pulled = self.pull_last(socket, &mut last)?;
            room.push(last.get(..usize::from(pulled == Pull::Some(1))).unwrap_or_default());
            return Ok(pulled);
        }
        let most = if wanted as u64 == left { wanted - 1 } else { wanted };
        let pulled = self.take_out(most, || receive_into(socket, room, most))?;
        self.seen = self.consumed;
        Ok(pulled)
    }

    /// Reads on behind what is buffered, up to `goal`, and what of that still lies in the socket again, into its place.
    fn pull_again(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8], goal: usize) -> io::Result<Pull> {
        let pending = usize::try_from(self.seen - self.consumed).unwrap_or_default();
        if self.filled + 1 >= goal {
            self.discard_pending(socket)?;
            return self.pull_last(socket, buffer.get_mut(self.filled..goal).unwrap_or_default());
        }
        let end = buffer.len().min(goal - 1);
        let again = buffer.get_mut(self.filled.saturating_sub(pending)..end).unwrap_or_default();
        let pulled = self.take_out(again.len(), || receive(socket, again, RecvFlags::empty()))?;
        self.seen = self.seen.max(self.consumed);
        match pulled {
            Pull::Some(count) if count > pending => Ok(Pull::Some(count - pending)),
            Pull::Some(_) => {
                self.is_dry = false;
                Ok(Pull::Blocked)
            }
            other => Ok(other),
        }
    }

    /// Looks at one more byte, which stays where it is.
    fn pull_last(&mut self, socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<Pull> {
        self.is_dry = false;
        let Some(last) = into.get_mut(..1) else {
            return Ok(Pull::Some(0));
        };
        let pulled = receive(socket, last, RecvFlags::PEEK)?;
        self.seen += u64::from(pulled == Pull::Some(1));
        Ok(pulled)
    }

    /// Counts what `read` takes out of the socket, at most `most` bytes.
    fn take_out(&mut self, most: usize, read: impl FnOnce() -> io::Result<Pull>) -> io::Result<Pull> {
        if mem::take(&mut self.is_dry) {
            return Ok(Pull::Blocked);
        }
        let pulled = read()?;
        if let Pull::Some(count) = pulled {
            self.is_dry = count < most;
            self.consumed += count as u64;
        }
        Ok(pulled)
    }

    /// The same as [`pull`](Self::pull), but nothing is taken before there is something new, and of `hold_at` bytes or more the last one stays.
    fn pull_keeping(&mut self, socket: BorrowedFd<'_>, into: &mut [u8], hold_at: usize) -> io::Result<Pull> {
        let left = self.total().saturating_sub(self.seen);
        let wanted = left.min(into.len() as u64);
        if wanted == 0 {
            return Ok(Pull::Some(0));
        }
        let new = ioctl_fionread(socket)?.saturating_sub(self.seen - self.consumed);
        let count = usize::try_from(new.min(wanted)).unwrap_or(into.len());
        if count == 0 {
            return Ok(if is_closed(socket)? { Pull::End } else { Pull::Blocked });
        }
        self.discard_pending(socket)?;
        let holds = count >= hold_at || count as u64 == left;
        let taken = take(socket, into.get_mut(..count - usize::from(holds)).unwrap_or_default())?;
        let held = match into.get_mut(taken..count) {
            Some(last) if holds => receive(socket, last, RecvFlags::PEEK)? == Pull::Some(1),
            _ => false,
        };
        self.consumed += taken as u64;
        self.seen = self.consumed + u64::from(held);
        Ok(Pull::Some(taken + usize::from(held)))
    }

    /// Takes out of the socket what has been seen but not taken, to reach what lies behind it.
    fn discard_pending(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        if self.consumed < self.seen {
            discard(socket, self.seen - self.consumed)?;
            self.consumed = self.seen;
        }
        Ok(())
    }
}

impl Default for Inflow {
    fn default() -> Self {
        Self::new()
    }
}
