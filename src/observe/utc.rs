//! A moment as people and log collectors read it.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// A moment displayed as RFC 3339 in UTC with milliseconds: `2026-11-21T00:00:00.123Z`.
#[derive(Clone, Copy)]
pub(super) struct Utc {
    milliseconds: u64,
}

impl Utc {
    /// This moment; a clock before 1970 reads as 1970.
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { milliseconds: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, milliseconds) = (self.milliseconds / 1000, self.milliseconds % 1000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
    }
}

/// The Gregorian date that many days after 1970-01-01, counted in years that begin in March so that a leap day comes last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (era, of_era) = (days / DAYS_IN_ERA, days % DAYS_IN_ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, months of 31 and 30 days alternate with a period of 153 days in five months.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    (year, if month < 10 { month + 3 } else { month - 9 }, day)
}

/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;
/// Four hundred years, after which the calendar repeats itself.
const DAYS_IN_ERA: u64 = 146_097;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> String {
        Utc { milliseconds: seconds * 1000 + 7 }.to_string()
    }

    #[test]
    fn known_moments_read_as_they_should() {
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(951_868_799), "2000-02-29T23:59:59.007Z");
        assert_eq!(at(951_868_800), "2000-03-01T00:00:00.007Z");
        assert_eq!(at(1_709_164_800), "2024-02-29T00:00:00.007Z");
        assert_eq!(at(1_795_219_200), "2026-11-21T00:00:00.007Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.007Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = date(0);
        for days in 1..200_000 {
            let next = date(days);
            let (year, month, day) = last;
            let is_next = next == (year, month, day + 1) || next == (year, month + 1, 1) || next == (year + 1, 1, 1);
            assert!(is_next && next.2 <= 31, "{last:?} is followed by {next:?}");
            last = next;
        }
        assert_eq!(last, (2517, 7, 31));
    }
}
