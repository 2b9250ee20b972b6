//! What packets of one origin have in common, byte by byte.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{Vars, vars::split_string};

/// A vars block with holes: everything but some of the values.
///
/// Most of what a web server sends is the same in every packet: all keys, and values such as
/// SERVER_NAME. Comparing a block with the last one in a few long stretches takes a fifth of
/// the instructions that looking at each var does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    /// The block without the values of the holes.
    fixed: Vec<u8>,
    /// Where in `fixed` there is a hole; in rising order.
    holes: Vec<usize>,
}

impl Pattern {
    /// A pattern that only the empty block fits.
    #[must_use]
    pub const fn new() -> Self {
        Self { fixed: Vec::new(), holes: Vec::new() }
    }

    /// Becomes the pattern of `vars`. `fixes` is asked for each of them whether its value is one that all have in common:
    /// by its place in the order sent, and by where the value will lie for [`fixed`](Self::fixed) if so.
    pub fn learn(&mut self, vars: &Vars<'_>, mut fixes: impl FnMut(usize, Range<usize>) -> bool) {
        self.fixed.clear();
        self.holes.clear();
        for (place, (key, value)) in vars.iter().enumerate() {
            self.push(key);
            let start = self.fixed.len().saturating_add(LENGTH);
            if fixes(place, start..start.saturating_add(value.len())) {
                self.push(value);
            } else {
                self.holes.push(self.fixed.len());
            }
        }
    }

    /// Tells `filled` the value in each hole, in order; false as soon as `vars` turn out not to fit, or it says so.
    pub fn fits<'a>(&self, vars: &Vars<'a>, mut filled: impl FnMut(&'a [u8]) -> bool) -> bool {
        let (mut rest, mut start) = (vars.as_bytes(), 0);
        for end in &self.holes {
            let fixed = self.fixed.get(start..*end).unwrap_or_default();
            match rest.strip_prefix(fixed).and_then(split_string) {
                Some((value, after)) if filled(value) => (rest, start) = (after, *end),
                _ => return false,
            }
        }
        self.fixed.get(start..) == Some(rest)
    }

    /// A stretch of what is common to all blocks that fit; `None` where there is none.
    #[must_use]
    pub fn fixed(&self, range: Range<usize>) -> Option<&[u8]> {
        self.fixed.get(range)
    }

    fn push(&mut self, string: &[u8]) {
        // No string of a checked block is longer.
        let length = u16::try_from(string.len()).unwrap_or(u16::MAX);
        self.fixed.extend_from_slice(&length.to_le_bytes());
        self.fixed.extend_from_slice(string);
    }
}

/// Bytes before each string that say how long it is.
const LENGTH: usize = 2;

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::Pattern;
    use crate::Vars;

    const BLOCK: &[u8] = b"\x01\0A\x01\0x\x01\0B\x02\0yz\x01\0C\0\0";

    fn pattern(is_hole: fn(usize) -> bool) -> Pattern {
        let mut pattern = Pattern::new();
        pattern.learn(&Vars::parse(BLOCK).unwrap(), |place, _| !is_hole(place));
        pattern
    }

    fn filled<'a>(pattern: &Pattern, block: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let mut values = Vec::new();
        let fits = pattern.fits(&Vars::parse(block).unwrap(), |value| {
            values.push(value);
            true
        });
        fits.then_some(values)
    }

    #[test]
    fn fits_what_it_was_learned_from() {
        for is_hole in [|_| false, |_| true, |place| place == 0, |place| place == 1, |place| place == 2] {
            let pattern = pattern(is_hole);
            assert!(filled(&pattern, BLOCK).is_some());
        }
    }

    #[test]
    fn holes_take_any_value_and_nothing_else_differs() {
        let pattern = pattern(|place| place == 1);
        assert_eq!(filled(&pattern, b"\x01\0A\x01\0x\x01\0B\0\0\x01\0C\0\0"), Some(vec![&b""[..]]));
        assert_eq!(filled(&pattern, b"\x01\0A\x01\0x\x01\0B\x03\0new\x01\0C\0\0"), Some(vec![&b"new"[..]]));
        // Another value, another key, one var less, one more.
        assert_eq!(filled(&pattern, b"\x01\0A\x01\0y\x01\0B\0\0\x01\0C\0\0"), None);
        assert_eq!(filled(&pattern, b"\x01\0A\x01\0x\x01\0D\0\0\x01\0C\0\0"), None);
        assert_eq!(filled(&pattern, b"\x01\0A\x01\0x\x01\0B\0\0"), None);
        assert_eq!(filled(&pattern, b"\x01\0A\x01\0x\x01\0B\0\0\x01\0C\0\0\x01\0D\0\0"), None);
    }

    #[test]
    fn a_hole_at_the_end_is_the_end() {
        let pattern = pattern(|place| place == 2);
        assert_eq!(filled(&pattern, b"\x01\0A\x01\0x\x01\0B\x02\0yz\x01\0C\x01\0!"), Some(vec![&b"!"[..]]));
        assert_eq!(filled(&pattern, b"\x01\0A\x01\0x\x01\0B\x02\0yz\x01\0C\x01\0!\x01\0D\0\0"), None);
    }

    #[test]
    fn a_fixed_value_lies_where_it_was_said() {
        let (mut pattern, mut ranges) = (Pattern::new(), Vec::new());
        pattern.learn(&Vars::parse(BLOCK).unwrap(), |place, range| {
            ranges.push(range);
            place != 0
        });
        assert_eq!(pattern.fixed(ranges[1].clone()), Some(&b"yz"[..]));
        assert_eq!(pattern.fixed(ranges[2].clone()), Some(&b""[..]));
    }

    #[test]
    fn whoever_is_told_a_value_may_refuse_it() {
        let pattern = pattern(|_| true);
        let mut told = 0;
        let fits = pattern.fits(&Vars::parse(BLOCK).unwrap(), |value| {
            told += 1;
            value != b"yz"
        });
        assert!(!fits);
        assert_eq!(told, 2);
    }

    #[test]
    fn a_new_one_fits_nothing_but_no_vars() {
        assert_eq!(filled(&Pattern::new(), b""), Some(vec![]));
        assert_eq!(filled(&Pattern::new(), BLOCK), None);
    }
}
