//! Durations in TOML and in the admin API: `"250ms"`, `"30s"`, `"5m"`.

use std::time::Duration;

/// Parses a duration; `None` if it is invalid. A number without a unit is invalid.
pub fn parse(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// Formats a duration such as `1m 30s`, which [`parse`] accepts.
pub fn text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit_and_only_so() {
        for (spelled, millis) in [("1h", Some(3_600_000)), ("250ms", Some(250)), ("5m", Some(300_000)), ("30", None), ("", None)] {
            assert_eq!(parse(spelled), millis.map(Duration::from_millis), "{spelled:?}");
        }
    }

    #[test]
    fn durations_print_as_they_are_read() {
        for spelled in ["250ms", "30s", "5m", "1m 30s"] {
            assert_eq!(text(parse(spelled).unwrap()), spelled);
        }
    }
}
