//! How many workers there may be: `4`, or as many from 2 to 8 as the load demands, `2..8`.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::config::quantity::{QuantityError, parse_count};

/// The fewest and the most workers; the same for a fixed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// There are never fewer; at least 1.
    pub least: usize,
    /// There are never more, at most 1024, but for those that are being replaced.
    pub most: usize,
}

/// Why a text is no number of workers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RangeError {
    /// One of the numbers is none.
    #[error(transparent)]
    Number(#[from] QuantityError),
    /// The first number is the larger one.
    #[error("`{0}` goes down: write the smaller number first, as in 2..8")]
    Backwards(String),
}

impl Range {
    /// That many, whatever the load; no less than one, no more than there can be.
    #[must_use]
    pub fn fixed(workers: usize) -> Self {
        let workers = workers.clamp(1, MOST_WORKERS);
        Self { least: workers, most: workers }
    }

    /// Whether the load has no say.
    #[must_use]
    pub fn is_fixed(self) -> bool {
        self.least == self.most
    }

    /// The number within the range that is nearest to `workers`.
    #[must_use]
    pub fn nearest(self, workers: usize) -> usize {
        workers.max(self.least).min(self.most)
    }
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let (least, most) = (parse_count(least, 1..=MOST_WORKERS)?, parse_count(most, 1..=MOST_WORKERS)?);
        if most < least { Err(RangeError::Backwards(text.to_owned())) } else { Ok(Self { least, most }) }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_fixed() { self.least.fmt(f) } else { write!(f, "{}..{}", self.least, self.most) }
    }
}

/// More processes than that help nobody.
const MOST_WORKERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_range_of_one() {
        assert_eq!("4".parse(), Ok(Range::fixed(4)));
        assert_eq!("2..8".parse(), Ok(Range { least: 2, most: 8 }));
        assert_eq!(
            ("3..3".parse::<Range>().unwrap().to_string(), "1..1024".parse::<Range>().unwrap().to_string()),
            ("3".to_owned(), "1..1024".to_owned())
        );
    }

    #[test]
    fn what_is_no_range_is_refused_with_a_remedy() {
        for text in ["0", "0..2", "1..1025", "..", "2..", "..2", "2...4", "2-4", "two", "-1", ""] {
            let problem = text.parse::<Range>().unwrap_err().to_string();
            assert!(problem.contains("whole number from 1 to 1024"), "{text}: {problem}");
        }
        let problem = "8..2".parse::<Range>().unwrap_err().to_string();
        assert_eq!(problem, "`8..2` goes down: write the smaller number first, as in 2..8");
    }

    #[test]
    fn the_nearest_is_within() {
        let range = Range { least: 2, most: 4 };
        assert_eq!([0, 2, 3, 4, 9].map(|workers| range.nearest(workers)), [2, 2, 3, 4, 4]);
        assert_eq!((Range::fixed(0), Range::fixed(5000)), (Range::fixed(1), Range::fixed(1024)));
    }
}
