//! Times as command-line arguments: `30d` from now, `2026-08-01`, `2026-08-01T10:00:00Z`.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A point in time, absolute or relative to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeArgument {
    /// This long before or after now.
    Relative(Duration),
    /// This point in time.
    Absolute(Timestamp),
}

impl TimeArgument {
    /// Returns Unix milliseconds; a relative time is before `now`.
    pub fn before(self, now: Timestamp) -> i64 {
        self.resolve(now, |now, span| now.checked_sub(span))
    }

    /// Returns Unix milliseconds; a relative time is after `now`.
    pub fn after(self, now: Timestamp) -> i64 {
        self.resolve(now, |now, span| now.checked_add(span))
    }

    fn resolve(self, now: Timestamp, step: impl Fn(Timestamp, Span) -> Result<Timestamp, jiff::Error>) -> i64 {
        match self {
            TimeArgument::Absolute(then) => then.as_millisecond(),
            TimeArgument::Relative(duration) => Span::try_from(duration).and_then(|span| step(now, span)).unwrap_or(now).as_millisecond(),
        }
    }
}

impl FromStr for TimeArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(duration) = humantime::parse_duration(text) {
            return match duration.as_secs() {
                0..=3_153_600_000 => Ok(TimeArgument::Relative(duration)),
                _ => Err(String::from("must be within a hundred years")),
            };
        }
        if let Ok(then) = text.parse::<Timestamp>() {
            return Ok(TimeArgument::Absolute(then));
        }
        let local = text.parse::<DateTime>().ok().and_then(|local| local.to_zoned(TimeZone::system()).ok());
        local.map(|zoned| TimeArgument::Absolute(zoned.timestamp())).ok_or_else(|| {
            String::from("write a duration such as 12h or 30d, a date such as 2026-08-01 or a time such as 2026-08-01T10:00:00Z")
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
    fn a_duration_is_before_now_for_since_and_after_now_for_expiry() {
        let hour: TimeArgument = "1h".parse().unwrap();
        assert_eq!(hour.before(now()), now().as_millisecond() - 3_600_000);
        assert_eq!(hour.after(now()), now().as_millisecond() + 3_600_000);
    }

    #[test]
    fn an_absolute_time_does_not_depend_on_now() {
        let then: TimeArgument = "2026-07-01T10:00:00+02:00".parse().unwrap();
        assert_eq!(then.before(now()), "2026-07-01T08:00:00Z".parse::<Timestamp>().unwrap().as_millisecond());
        assert!("2026-07-01".parse::<TimeArgument>().is_ok(), "a date is local midnight");
    }

    #[test]
    fn invalid_and_distant_times_are_refused_with_an_example() {
        assert!("yesterday".parse::<TimeArgument>().unwrap_err().contains("30d"));
        assert!("99999y".parse::<TimeArgument>().is_err());
    }
}
