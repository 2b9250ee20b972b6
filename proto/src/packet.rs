//! A whole packet: header and vars, read and written.

use alloc::vec::Vec;

use crate::{EncodeError, Header, Modifier1, ParseError, Vars};

/// A header and the vars it announced, borrowed from the bytes they were parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet<'a> {
    /// The first four bytes; its `datasize` is the length of `vars`.
    pub header: Header,
    /// The checked vars.
    pub vars: Vars<'a>,
}

/// What [`Packet::parse`] found at the front of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A packet.
    Complete {
        /// The packet.
        packet: Packet<'a>,
        /// What follows it: the beginning of the request body.
        rest: &'a [u8],
    },
    /// Only the beginning of one.
    NeedMore {
        /// The packet's length in bytes, known once its header is there.
        total: Option<usize>,
    },
}

impl<'a> Packet<'a> {
    /// Parses the packet at the front of `input`. Vars are looked at only once all of them are
    /// there.
    ///
    /// # Errors
    /// A [`ParseError`] when the vars block is malformed.
    pub fn parse(input: &'a [u8]) -> Result<Parsed<'a>, ParseError> {
        let Some(header) = Header::parse(input) else {
            return Ok(Parsed::NeedMore { total: None });
        };
        let Some((packet, rest)) = input.split_at_checked(header.packet_len()) else {
            return Ok(Parsed::NeedMore { total: Some(header.packet_len()) });
        };
        let vars = Vars::parse(packet.get(Header::LEN..).unwrap_or_default())?;
        Ok(Parsed::Complete { packet: Self { header, vars }, rest })
    }

    /// The bytes that [`Packet::parse`] reads.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&self.header.encode(), self.vars.as_bytes()].concat()
    }

    pub(crate) const fn checked(header: Header, block: &'a [u8]) -> Self {
        Self { header, vars: Vars::checked(block) }
    }
}

/// A packet being written, var by var.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketBuilder {
    modifier1: Modifier1,
    datasize: u16,
    modifier2: u8,
    block: Vec<u8>,
}

impl PacketBuilder {
    /// A packet without vars and with modifier2 = 0.
    #[must_use]
    pub fn new(modifier1: Modifier1) -> Self {
        Self { modifier1, ..Self::default() }
    }

    /// Sets modifier2.
    #[must_use]
    pub fn modifier2(mut self, modifier2: u8) -> Self {
        self.modifier2 = modifier2;
        self
    }

    /// Adds a var after those already there; one of the same name stays.
    ///
    /// # Errors
    /// [`EncodeError::EmptyKey`], and [`EncodeError::TooLong`] when the block would exceed 65 535
    /// bytes.
    pub fn var(mut self, key: &[u8], value: &[u8]) -> Result<Self, EncodeError> {
        if key.is_empty() {
            return Err(EncodeError::EmptyKey);
        }
        let length = [self.block.len(), 2, key.len(), 2, value.len()].into_iter().fold(0, usize::saturating_add);
        let too_long = |_| EncodeError::TooLong { length };
        self.datasize = u16::try_from(length).map_err(too_long)?;
        for string in [key, value] {
            self.block.extend(u16::try_from(string.len()).map_err(too_long)?.to_le_bytes());
            self.block.extend(string);
        }
        Ok(self)
    }

    /// The packet's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let header = Header { modifier1: self.modifier1, datasize: self.datasize, modifier2: self.modifier2 };
        [&header.encode(), self.block.as_slice()].concat()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::{Packet, PacketBuilder, Parsed};
    use crate::{EncodeError, Modifier1, Vars};

    #[test]
    fn what_follows_is_left_alone() {
        let mut bytes = PacketBuilder::new(Modifier1::WSGI).var(b"K", b"v").unwrap().encode();
        bytes.extend(b"body");
        let Ok(Parsed::Complete { packet, rest }) = Packet::parse(&bytes) else { panic!("no packet") };
        assert_eq!(packet.vars.get(b"K"), Some(&b"v"[..]));
        assert_eq!(rest, b"body");
    }

    #[test]
    fn a_short_input_says_how_much_is_needed() {
        let bytes = PacketBuilder::new(Modifier1::WSGI).var(b"K", b"v").unwrap().encode();
        assert_eq!(Packet::parse(&bytes[..3]), Ok(Parsed::NeedMore { total: None }));
        assert_eq!(Packet::parse(&bytes[..9]), Ok(Parsed::NeedMore { total: Some(10) }));
    }

    #[test]
    fn a_ping_and_its_answer_are_headers_alone() {
        assert_eq!(PacketBuilder::new(Modifier1::PING).encode(), [100, 0, 0, 0]);
        assert_eq!(PacketBuilder::new(Modifier1::PING).modifier2(1).encode(), [100, 0, 0, 1]);
    }

    #[test]
    fn a_block_of_65535_bytes_is_the_longest() {
        let fits = vec![b'v'; Vars::MAX_LEN - 5];
        let bytes = PacketBuilder::new(Modifier1::WSGI).var(b"K", &fits).unwrap().encode();
        assert!(matches!(Packet::parse(&bytes), Ok(Parsed::Complete { .. })));

        let exceeds = vec![b'v'; Vars::MAX_LEN - 4];
        let refused = PacketBuilder::new(Modifier1::WSGI).var(b"K", &exceeds);
        assert_eq!(refused, Err(EncodeError::TooLong { length: 65_536 }));
    }

    #[test]
    fn an_empty_key_is_refused() {
        assert_eq!(PacketBuilder::new(Modifier1::WSGI).var(b"", b"v"), Err(EncodeError::EmptyKey));
    }
}
