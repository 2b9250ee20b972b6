//! Counts, sizes and durations as people write them.

use std::{ops::RangeInclusive, time::Duration};

use thiserror::Error;

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// Not a whole number in the range.
    #[error("`{text}` is not a count: write a whole number from {least} to {most}")]
    Count {
        /// What was written.
        text: String,
        /// The smallest count allowed.
        least: usize,
        /// The largest count allowed.
        most: usize,
    },
    /// Not a number of bytes.
    #[error("`{0}` is not a size: write bytes, or a number with k, m or g behind it, as in 256k")]
    Size(String),
    /// Not a duration.
    #[error("`{0}` is not a duration: write seconds, or a number with ms, s, m or h behind it, as in 500ms or 25s")]
    Duration(String),
    /// A duration of nothing would end every wait before it has begun.
    #[error("`{0}` leaves no time at all: write at least 1ms")]
    NoTime(String),
}

/// Reads a whole number within `range`.
///
/// # Errors
/// [`QuantityError::Count`] when it is no number or lies outside.
pub fn parse_count(text: &str, range: RangeInclusive<usize>) -> Result<usize, QuantityError> {
    let count = digits(text).and_then(|number| usize::try_from(number).ok());
    let outside = || QuantityError::Count { text: text.to_owned(), least: *range.start(), most: *range.end() };
    count.filter(|count| range.contains(count)).ok_or_else(outside)
}

/// Reads bytes: `262144`, `256k`, `10m`, `1g`; the suffixes are powers of 1024, in either case.
///
/// # Errors
/// [`QuantityError::Size`] when it is no such number or does not fit into memory's address space.
pub fn parse_size(text: &str) -> Result<usize, QuantityError> {
    let (number, unit) = split(text);
    let factor: Option<u64> = match unit.to_ascii_lowercase().as_str() {
        "" => Some(1),
        "k" => Some(1 << 10),
        "m" => Some(1 << 20),
        "g" => Some(1 << 30),
        _ => None,
    };
    let bytes = digits(number).zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| QuantityError::Size(text.to_owned()))
}

/// Reads a duration: plain seconds (`25`), or `500ms`, `25s`, `2m`, `1h`.
///
/// # Errors
/// [`QuantityError::Duration`] when it is none, [`QuantityError::NoTime`] when it is zero.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let (number, unit) = split(text);
    let milliseconds: Option<u64> = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let total = digits(number).zip(milliseconds).and_then(|(number, unit)| number.checked_mul(unit));
    match total.filter(|total| *total <= LONGEST) {
        Some(0) => Err(QuantityError::NoTime(text.to_owned())),
        Some(total) => Ok(Duration::from_millis(total)),
        None => Err(QuantityError::Duration(text.to_owned())),
    }
}

/// Reads a duration that `0` switches off.
///
/// # Errors
/// [`QuantityError::Duration`] when it is none.
pub fn parse_limit(text: &str) -> Result<Option<Duration>, QuantityError> {
    match parse_duration(text) {
        Err(QuantityError::NoTime(_)) => Ok(None),
        parsed => parsed.map(Some),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(end)
}

/// `str::parse` would also take a plus sign.
fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// A year in milliseconds: far beyond any sensible timeout, and safe to add to a clock.
const LONGEST: u64 = 365 * 24 * 3_600_000;

/// Whole seconds that are no shorter than `duration`, for programs that know no others.
#[must_use]
pub fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_seconds_as_their_plain_unit() {
        let parsed = |text| parse_duration(text).unwrap();
        assert_eq!(parsed("25"), Duration::from_secs(25));
        assert_eq!(parsed("25s"), Duration::from_secs(25));
        assert_eq!(parsed("500ms"), Duration::from_millis(500));
        assert_eq!(parsed("2m"), Duration::from_secs(120));
        assert_eq!(parsed("1h"), Duration::from_secs(3600));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for wrong in ["", "s", "-1", "+1", "1.5", "1 s", "1d", "1S", "99999999999999999999", "1000000h"] {
            assert_eq!(parse_duration(wrong), Err(QuantityError::Duration(wrong.to_owned())));
        }
        assert_eq!(parse_duration("0ms"), Err(QuantityError::NoTime("0ms".to_owned())));
    }

    #[test]
    fn a_limit_can_be_switched_off() {
        assert_eq!(parse_limit("55"), Ok(Some(Duration::from_secs(55))));
        assert_eq!(parse_limit("0"), Ok(None));
        assert_eq!(parse_limit("0s"), Ok(None));
        assert_eq!(parse_limit("off"), Err(QuantityError::Duration("off".to_owned())));
    }

    #[test]
    fn sizes_are_bytes_with_binary_suffixes() {
        let parsed = |text| parse_size(text).unwrap();
        assert_eq!(parsed("0"), 0);
        assert_eq!(parsed("262144"), 262_144);
        assert_eq!(parsed("256k"), 262_144);
        assert_eq!(parsed("10M"), 10_485_760);
        assert_eq!(parsed("1g"), 1_073_741_824);
        for wrong in ["", "k", "1kb", "1.5m", "-1", "99999999999999g"] {
            assert_eq!(parse_size(wrong), Err(QuantityError::Size(wrong.to_owned())));
        }
    }

    #[test]
    fn counts_stay_within_their_range() {
        assert_eq!(parse_count("1", 1..=8), Ok(1));
        assert_eq!(parse_count("8", 1..=8), Ok(8));
        for wrong in ["0", "9", "-1", "+1", "two", ""] {
            let expected = QuantityError::Count { text: wrong.to_owned(), least: 1, most: 8 };
            assert_eq!(parse_count(wrong, 1..=8), Err(expected));
        }
    }
}
