//! Memory that is filled from its front.

use std::mem::MaybeUninit;

/// Memory for bytes to come, which need not have been written before: only what has been written counts.
#[derive(Debug)]
pub struct Room<'a> {
    place: &'a mut [MaybeUninit<u8>],
    filled: usize,
}

impl<'a> Room<'a> {
    /// A room that holds nothing yet.
    pub fn new(place: &'a mut [MaybeUninit<u8>]) -> Self {
        Self { place, filled: 0 }
    }

    /// Bytes that have been written, from the front.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Bytes that can still be written.
    #[must_use]
    pub fn left(&self) -> usize {
        self.place.len() - self.filled
    }

    /// Where the memory begins, for who has lent it to know it again.
    #[must_use]
    pub fn start(&self) -> *const MaybeUninit<u8> {
        self.place.as_ptr()
    }

    /// Copies in as many of `bytes` as fit and returns how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.left());
        let free = self.place.get_mut(self.filled..).unwrap_or_default();
        for (to, from) in free.iter_mut().zip(bytes) {
            to.write(*from);
        }
        self.filled += count;
        count
    }

    /// Has `read` write at most `most` bytes and returns how many it wrote: those it returns, from where it was told to begin.
    ///
    /// # Errors
    /// Whatever `read` says.
    pub fn fill<E>(
        &mut self,
        most: usize,
        read: impl for<'r> FnOnce(&'r mut [MaybeUninit<u8>]) -> Result<&'r mut [u8], E>,
    ) -> Result<usize, E> {
        let end = self.filled.saturating_add(most).min(self.place.len());
        let free = self.place.get_mut(self.filled..end).unwrap_or_default();
        let (start, free_len) = (free.as_ptr().cast::<u8>(), free.len());
        let written = read(free)?;
        // Bytes from elsewhere say nothing about these.
        let count = if written.as_ptr() == start { written.len().min(free_len) } else { 0 };
        self.filled += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, mem::MaybeUninit, os::unix::net::UnixStream};

    use rustix::io::read;

    use super::Room;

    #[test]
    fn a_room_counts_what_was_written_and_no_more() {
        let mut place = [MaybeUninit::uninit(); 8];
        let mut room = Room::new(&mut place);
        assert_eq!(room.push(b"abc"), 3);
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        sender.write_all(b"defghijk").unwrap();
        assert_eq!(room.fill(2, |free| read(&receiver, free).map(|(bytes, _)| bytes)), Ok(2));
        assert_eq!((room.filled(), room.left()), (5, 3));
        assert_eq!(room.push(b"fghi"), 3);
        assert_eq!((room.filled(), room.left()), (8, 0));
    }

    #[test]
    fn bytes_from_elsewhere_do_not_fill_a_room() {
        let mut place = [MaybeUninit::uninit(); 8];
        let mut room = Room::new(&mut place);
        assert_eq!(room.fill::<()>(8, |_| Ok(Box::leak(Box::new([1; 8])))), Ok(0));
        assert_eq!(room.fill(8, |_| Err("failed")), Err("failed"));
        assert_eq!((room.filled(), room.left()), (0, 8));
    }
}
