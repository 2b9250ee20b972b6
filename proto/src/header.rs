//! The four bytes every packet begins with.

use nom::{
    Parser,
    number::complete::{le_u16, u8},
};

use crate::Modifier1;

/// A packet's first four bytes: modifier1, the length of its vars block as little-endian u16,
/// modifier2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Header {
    /// What kind of packet this is.
    pub modifier1: Modifier1,
    /// Length of the vars block in bytes; neither these four bytes nor a body are counted.
    pub datasize: u16,
    /// A refinement of `modifier1`; WSGI requests do not use it.
    pub modifier2: u8,
}

impl Header {
    /// Length of a header in bytes.
    pub const LEN: usize = 4;

    /// Reads the header at the front of `input`; `None` when there are fewer than four bytes.
    #[must_use]
    pub fn parse(input: &[u8]) -> Option<Self> {
        let (_, (modifier1, datasize, modifier2)) = (u8::<_, ()>, le_u16, u8).parse(input).ok()?;
        Some(Self { modifier1: Modifier1(modifier1), datasize, modifier2 })
    }

    /// The four bytes that [`Header::parse`] reads.
    #[must_use]
    pub const fn encode(self) -> [u8; Self::LEN] {
        let [low, high] = self.datasize.to_le_bytes();
        [self.modifier1.0, low, high, self.modifier2]
    }

    /// Length of the whole packet in bytes: this header and its vars block, 4 to 65 539.
    #[must_use]
    pub fn packet_len(self) -> usize {
        usize::from(self.datasize).saturating_add(Self::LEN)
    }

    /// Whether these four bytes are the start of an HTTP request line (`GET `, `POST`, `PUT `, …)
    /// sent to a uwsgi port.
    ///
    /// No packet for a WSGI application looks like that: its modifier1 is not a letter.
    #[must_use]
    pub fn is_http(self) -> bool {
        let [first, rest @ ..] = self.encode();
        first.is_ascii_uppercase() && rest.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b' ')
    }
}

#[cfg(test)]
mod tests {
    use super::Header;
    use crate::Modifier1;

    #[test]
    fn datasize_is_little_endian() {
        let header = Header::parse(&[30, 0x34, 0x12, 7]);
        assert_eq!(header, Some(Header { modifier1: Modifier1(30), datasize: 0x1234, modifier2: 7 }));
    }

    #[test]
    fn three_bytes_are_no_header() {
        for len in 0..Header::LEN {
            assert_eq!(Header::parse(&[0; 3][..len]), None);
        }
    }

    #[test]
    fn encode_is_the_inverse_of_parse() {
        for bytes in [[0, 0, 0, 0], [100, 0, 0, 1], [255, 255, 255, 255], [1, 2, 3, 4]] {
            assert_eq!(Header::parse(&bytes).map(Header::encode), Some(bytes));
        }
    }

    #[test]
    fn the_longest_packet_has_65539_bytes() {
        let header = Header { datasize: u16::MAX, ..Header::default() };
        assert_eq!(header.packet_len(), 65_539);
    }

    #[test]
    fn an_http_request_line_is_told_from_a_packet() {
        for line in [b"GET /", b"POST ", b"PUT /", b"DELET", b"OPTIO", b"PRI *"] {
            assert!(Header::parse(line).is_some_and(Header::is_http), "{}", line.escape_ascii());
        }
        for packet in [[0, b'E', b'T', b' '], [30, 65, 65, 65], [100, 0, 0, 0], [b'G', 0, 0, 0]] {
            assert!(!Header::parse(&packet).is_some_and(Header::is_http), "{packet:?}");
        }
    }
}
