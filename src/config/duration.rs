//! Durations as TOML and the admin API spell them: `"250ms"`, `"30s"`, `"5m"`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// The duration spelled so; `None` if it is none. A bare number is none: it names no unit.
pub fn parse(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// The duration for people, such as `1m 30s`; [`parse`] reads it back.
pub fn text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// For `#[serde(with = "crate::config::duration")]`.
///
/// # Errors
/// If the text is no duration; says how one is written.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no duration; write one as \"250ms\", \"30s\" or \"5m\"")))
}

/// For `#[serde(default, with = "crate::config::duration::option")]`.
pub mod option {
    use super::{Deserialize, Deserializer, Duration};

    /// A duration, or `None` where there is none.
    ///
    /// # Errors
    /// As [`super::deserialize`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Spelled(#[serde(with = "super")] Duration);
        Ok(Option::<Spelled>::deserialize(deserializer)?.map(|Spelled(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Shape {
        #[serde(with = "super")]
        grace: Duration,
        #[serde(default, with = "super::option")]
        rest: Option<Duration>,
    }

    #[test]
    fn durations_are_read_with_their_unit_and_only_so() {
        let read = |text: &str| serde_json::from_str::<Shape>(text);
        assert_eq!(read(r#"{"grace":"1h"}"#).unwrap(), Shape { grace: Duration::from_secs(3600), rest: None });
        assert_eq!(read(r#"{"grace":"250ms","rest":"5m"}"#).unwrap().rest, Some(Duration::from_secs(300)));
        assert_eq!(read(r#"{"grace":"1s","rest":null}"#).unwrap().rest, None);
        assert!(read(r#"{"grace":"30"}"#).unwrap_err().to_string().contains(r#""30" is no duration; write one as "250ms""#));
    }

    #[test]
    fn durations_print_as_they_are_read() {
        for spelled in ["250ms", "30s", "5m", "1m 30s"] {
            assert_eq!(text(parse(spelled).unwrap()), spelled);
        }
    }
}
