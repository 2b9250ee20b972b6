//! The vars block: `u16le length, key, u16le length, value`, again and again.

use core::{fmt, iter::FusedIterator};

use nom::{bytes::complete::take, number::complete::le_u16};

use crate::{Fault, Header, ParseError};

/// A vars block that has been checked: iterating it can no longer fail, and copies nothing.
///
/// Keys are never empty, values may be; both are bytes in whatever encoding the peer chose. Order
/// and duplicates are kept.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Vars<'a>(&'a [u8]);

impl<'a> Vars<'a> {
    /// The longest block a header can announce, in bytes.
    pub const MAX_LEN: usize = 65_535;

    /// Checks a whole block once.
    ///
    /// # Errors
    /// A [`ParseError`] at the first var that is not one. Its offset counts from the packet's first
    /// byte, so the block begins at 4.
    pub fn parse(block: &'a [u8]) -> Result<Self, ParseError> {
        let length = block.len();
        if length > Self::MAX_LEN {
            let offset = Header::LEN.saturating_add(Self::MAX_LEN);
            return Err(ParseError { what: Fault::BlockTooLong { length }, offset });
        }
        let mut rest = block;
        while !rest.is_empty() {
            rest = after_var(rest).map_err(|flaw| flaw.within(length))?;
        }
        Ok(Self(block))
    }

    /// A block that came out of [`Vars::parse`] before: a kept packet need not be checked again.
    ///
    /// Over any other block, iterating ends early, at the first var that is not one.
    #[must_use]
    pub const fn checked(block: &'a [u8]) -> Self {
        Self(block)
    }

    /// Key and value of every var in the order sent.
    #[must_use]
    pub const fn iter(&self) -> Iter<'a> {
        Iter { rest: self.0 }
    }

    /// The value of the last var named `key`, the one that wins where a packet names it twice.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&'a [u8]> {
        self.iter().filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    /// Whether there is no var at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The block as it was sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> IntoIterator for Vars<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Vars<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| alloc::format!("{}", bytes.escape_ascii());
        f.debug_map().entries(self.iter().map(|(key, value)| (text(key), text(value)))).finish()
    }
}

/// Iterates key and value of the vars in a checked block.
#[derive(Clone, Debug, Default)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = split_string(self.rest)?;
        let (value, rest) = split_string(rest)?;
        self.rest = rest;
        Some((key, value))
    }
}

impl FusedIterator for Iter<'_> {}

/// A fault and how many bytes of the block were left where it lies.
struct Flaw {
    what: Fault,
    left: usize,
}

impl Flaw {
    fn within(self, block_len: usize) -> ParseError {
        let offset = block_len.saturating_sub(self.left).saturating_add(Header::LEN);
        ParseError { what: self.what, offset }
    }
}

/// What follows the var at the front of `input`.
fn after_var(input: &[u8]) -> Result<&[u8], Flaw> {
    let at = |input: &[u8], what| Flaw { what, left: input.len() };
    let (rest, key) = string(input).map_err(|short| match short {
        Short::Length { .. } => at(input, Fault::StrayByte),
        Short::Bytes { length, left } => at(input, Fault::KeyOverrun { length, left }),
    })?;
    if key.is_empty() {
        return Err(at(input, Fault::EmptyKey));
    }
    let (rest, _) = string(rest).map_err(|short| match short {
        Short::Length { left } => at(input, Fault::NoValue { left }),
        Short::Bytes { length, left } => at(rest, Fault::ValueOverrun { length, left }),
    })?;
    Ok(rest)
}

/// The two ways in which a string can be cut short.
enum Short {
    Length { left: usize },
    Bytes { length: u16, left: usize },
}

/// `u16le length, bytes`: the string at the front of `input` and, first, what follows it.
#[inline]
fn string(input: &[u8]) -> Result<(&[u8], &[u8]), Short> {
    let Ok((after, length)) = le_u16::<_, ()>(input) else {
        return Err(Short::Length { left: input.len() });
    };
    take::<_, _, ()>(length)(after).map_err(|_| Short::Bytes { length, left: after.len() })
}

/// The string at the front of a checked block and what follows it.
#[inline]
pub(crate) fn split_string(block: &[u8]) -> Option<(&[u8], &[u8])> {
    // A third fewer instructions than `string`: nothing here has to say what was wrong.
    let (length, rest) = block.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec::Vec};

    use super::Vars;

    const BLOCK: &[u8] = b"\x01\0A\x01\0x\x01\0B\0\0\x01\0A\x01\0y";

    #[test]
    fn are_yielded_in_the_order_sent() {
        let vars = Vars::parse(BLOCK).unwrap();
        let all: Vec<_> = vars.iter().collect();
        assert_eq!(all, [(&b"A"[..], &b"x"[..]), (b"B", b""), (b"A", b"y")]);
        assert_eq!(vars.as_bytes(), BLOCK);
    }

    #[test]
    fn the_last_of_two_wins() {
        let vars = Vars::parse(BLOCK).unwrap();
        assert_eq!(vars.get(b"A"), Some(&b"y"[..]));
        assert_eq!(vars.get(b"B"), Some(&b""[..]));
        assert_eq!(vars.get(b"C"), None);
    }

    #[test]
    fn an_empty_block_holds_none() {
        let vars = Vars::parse(b"").unwrap();
        assert!(vars.is_empty());
        assert_eq!(vars.iter().next(), None);
    }

    #[test]
    fn are_printed_escaped() {
        let vars = Vars::parse(b"\x01\0K\x02\0\r\xff").unwrap();
        assert_eq!(format!("{vars:?}"), r#"{"K": "\\r\\xff"}"#);
    }
}
