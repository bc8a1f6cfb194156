//! Wall-clock time for the data plane, in one place.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds now; 0 before 1970.
pub fn unix_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or_default()
}
