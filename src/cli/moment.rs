//! Points in time as people type them: `30d` from now, `2026-08-01`, `2026-08-01T10:00:00Z`.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A point in time, fixed or as far from now as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// So long before or after now.
    Distance(Duration),
    /// Then.
    At(Timestamp),
}

impl Moment {
    /// Unix milliseconds; a distance counts backwards.
    pub fn before(self, now: Timestamp) -> i64 {
        self.resolve(now, |now, span| now.checked_sub(span))
    }

    /// Unix milliseconds; a distance counts forwards.
    pub fn after(self, now: Timestamp) -> i64 {
        self.resolve(now, |now, span| now.checked_add(span))
    }

    fn resolve(self, now: Timestamp, step: impl Fn(Timestamp, Span) -> Result<Timestamp, jiff::Error>) -> i64 {
        match self {
            Moment::At(then) => then.as_millisecond(),
            Moment::Distance(distance) => Span::try_from(distance).and_then(|span| step(now, span)).unwrap_or(now).as_millisecond(),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(distance) = humantime::parse_duration(text) {
            return match distance.as_secs() {
                0..=3_153_600_000 => Ok(Moment::Distance(distance)),
                _ => Err(String::from("more than a hundred years away")),
            };
        }
        if let Ok(then) = text.parse::<Timestamp>() {
            return Ok(Moment::At(then));
        }
        let local = text.parse::<DateTime>().ok().and_then(|local| local.to_zoned(TimeZone::system()).ok());
        local.map(|zoned| Moment::At(zoned.timestamp())).ok_or_else(|| {
            String::from("write a distance such as 12h or 30d, a date such as 2026-08-01 or a time such as 2026-08-01T10:00:00Z")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-08-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_distance_counts_backwards_for_since_and_forwards_for_expiry() {
        let hour: Moment = "1h".parse().unwrap();
        assert_eq!(hour.before(now()), now().as_millisecond() - 3_600_000);
        assert_eq!(hour.after(now()), now().as_millisecond() + 3_600_000);
    }

    #[test]
    fn a_written_time_is_that_time_whatever_now_is() {
        let then: Moment = "2026-07-01T10:00:00+02:00".parse().unwrap();
        assert_eq!(then.before(now()), "2026-07-01T08:00:00Z".parse::<Timestamp>().unwrap().as_millisecond());
        assert!("2026-07-01".parse::<Moment>().is_ok(), "a date is local midnight");
    }

    #[test]
    fn nonsense_and_eternity_are_refused_with_an_example() {
        assert!("yesterday".parse::<Moment>().unwrap_err().contains("30d"));
        assert!("99999y".parse::<Moment>().is_err());
    }
}
