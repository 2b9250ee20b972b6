//! A packet out of bytes that arrive in any split.

use bytes::{Buf, Bytes, BytesMut};

use crate::{Header, Packet, ParseError, Vars};

/// Takes bytes as they come and yields a packet once it is whole.
///
/// ```text
///            4 bytes                 datasize bytes, well formed
///  Header ───────────▶ Vars(header) ────────────────────────────▶ packet, and back to Header
///                           │
///                           │ datasize bytes, malformed
///                           ▼
///                      Failed(error)   every later call repeats the error
/// ```
///
/// A peer that announces 64 KiB and sends nothing costs nothing: the buffer is the caller's and is
/// never grown here.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Header,
    Vars(Header),
    Failed(ParseError),
}

impl Decoder {
    /// A decoder that waits for a header.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes from `src` what belongs to the packet and leaves what follows it; `None` until the
    /// packet is whole.
    ///
    /// A body is not framed: only the caller knows that what is left in `src` is one, and not the
    /// next packet.
    ///
    /// # Errors
    /// The [`ParseError`] of [`Vars::parse`], then and at every later call; the malformed block
    /// stays in `src`.
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<OwnedPacket>, ParseError> {
        match self.state {
            State::Header => self.on_header(src),
            State::Vars(header) => self.on_vars(header, src),
            State::Failed(error) => Err(error),
        }
    }

    /// The header of the packet whose vars are still missing: enough to refuse it before 64 KiB
    /// have been waited for.
    #[must_use]
    pub const fn header(&self) -> Option<Header> {
        match self.state {
            State::Vars(header) => Some(header),
            State::Header | State::Failed(_) => None,
        }
    }

    fn on_header(&mut self, src: &mut BytesMut) -> Result<Option<OwnedPacket>, ParseError> {
        let Some(header) = Header::parse(src) else {
            return Ok(None);
        };
        src.advance(Header::LEN);
        self.state = State::Vars(header);
        self.on_vars(header, src)
    }

    fn on_vars(&mut self, header: Header, src: &mut BytesMut) -> Result<Option<OwnedPacket>, ParseError> {
        let datasize = usize::from(header.datasize);
        let Some(block) = src.get(..datasize) else {
            return Ok(None);
        };
        if let Err(error) = Vars::parse(block) {
            self.state = State::Failed(error);
            return Err(error);
        }
        self.state = State::Header;
        Ok(Some(OwnedPacket { header, block: src.split_to(datasize).freeze() }))
    }
}

/// A packet that owns its bytes, shared with the buffer they arrived in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedPacket {
    header: Header,
    block: Bytes,
}

impl OwnedPacket {
    /// The packet, borrowed; nothing is checked again.
    #[must_use]
    pub fn packet(&self) -> Packet<'_> {
        Packet::checked(self.header, &self.block)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::Decoder;
    use crate::{Fault, Header, Modifier1, PacketBuilder, ParseError};

    #[test]
    fn the_header_is_known_before_the_vars_are() {
        let mut decoder = Decoder::new();
        let mut src = BytesMut::from(&[17, 5, 0, 9, 1][..]);
        assert_eq!(decoder.header(), None);
        assert_eq!(decoder.decode(&mut src), Ok(None));
        assert_eq!(decoder.header(), Some(Header { modifier1: Modifier1::SPOOL, datasize: 5, modifier2: 9 }));
    }

    #[test]
    fn what_follows_a_packet_stays() {
        let mut src = BytesMut::from(&PacketBuilder::new(Modifier1::WSGI).var(b"K", b"v").unwrap().encode()[..]);
        src.extend_from_slice(b"body");
        let packet = Decoder::new().decode(&mut src).unwrap().unwrap();
        assert_eq!(packet.packet().vars.get(b"K"), Some(&b"v"[..]));
        assert_eq!(src, &b"body"[..]);
    }

    #[test]
    fn a_malformed_packet_is_refused_for_good() {
        let mut decoder = Decoder::new();
        let mut src = BytesMut::from(&[0, 2, 0, 0, 0, 0][..]);
        let refused = Err(ParseError { what: Fault::EmptyKey, offset: 4 });
        assert_eq!(decoder.decode(&mut src), refused);
        let mut sound = BytesMut::from(&[100, 0, 0, 0][..]);
        assert_eq!(decoder.decode(&mut sound), refused);
    }
}
