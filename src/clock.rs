//! Wall-clock time, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the current time in Unix milliseconds; 0 before 1970.
pub fn unix_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or_default()
}

/// Returns the current time in whole Unix seconds; 0 before 1970.
pub fn unix_seconds() -> i64 {
    unix_millis() / 1_000
}
