//! Retry decisions: the class of a failure and the pause before the next call. Pure; nothing here
//! sleeps.

use std::time::{Duration, SystemTime};

use crate::config::RetryPolicy;

/// Consequence of a failed call for the chain (DESIGN.md section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryClass {
    /// Retry the same provider, then the next.
    Transient,
    /// Go to the next provider at once.
    Local,
    /// The request is invalid: relay the answer to the client.
    Fault,
}

/// RetryClass of an upstream status outside 200-299.
pub fn class_of_status(status: u16) -> RetryClass {
    match status {
        408 | 425 | 429 | 500 | 502 | 503 | 504 | 520..=529 => RetryClass::Transient,
        401..=404 => RetryClass::Local,
        400..=499 => RetryClass::Fault,
        // Informational answers, redirects and other server errors are specific to the provider.
        _ => RetryClass::Local,
    }
}

/// Name of a failure by status in the ledger.
pub fn name_of_status(status: u16) -> &'static str {
    match status {
        300..=399 => "redirect",
        401..=403 => "auth",
        404 => "not_found",
        408 | 504 => "timeout",
        429 => "rate_limited",
        400..=499 => "client_error",
        _ => "server_error",
    }
}

/// Pause before the next call to the same provider; `None` means to go to the next provider.
///
/// `attempts_made` calls were made; `chance` is uniform in 0..1 (full jitter). A `retry_after` of
/// at most `max_backoff` is honored.
pub fn pause(policy: &RetryPolicy, attempts_made: u32, retry_after: Option<Duration>, chance: f64) -> Option<Duration> {
    if attempts_made >= policy.attempts || retry_after.is_some_and(|wait| wait > policy.max_backoff) {
        return None;
    }
    let ceiling = policy.backoff.saturating_mul(1 << attempts_made.saturating_sub(1).min(20)).min(policy.max_backoff);
    Some(retry_after.unwrap_or(ceiling.mul_f64(chance)))
}

/// Parses a `retry-after` header: seconds or an HTTP date (RFC 9110 10.2.3). `None` if it is
/// neither.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cooldown;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts: 3,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(3600),
            cooldown: Cooldown { failures: 5, window: Duration::from_secs(30), rest: Duration::from_secs(15) },
        }
    }

    #[test]
    fn every_status_has_the_class_the_contract_gives_it() {
        let transient = [408, 425, 429, 500, 502, 503, 504, 520, 524, 529];
        let local = [100, 103, 301, 302, 307, 401, 402, 403, 404, 501, 505, 530, 599];
        let fault = [400, 405, 409, 410, 413, 415, 418, 422, 431, 451];
        for (statuses, class) in [(&transient[..], RetryClass::Transient), (&local[..], RetryClass::Local), (&fault[..], RetryClass::Fault)]
        {
            for &status in statuses {
                assert_eq!(class_of_status(status), class, "{status}");
            }
        }
    }

    #[test]
    fn backoff_doubles_under_full_jitter_up_to_its_limit() {
        let policy = RetryPolicy { attempts: 40, ..policy() };
        for (attempts_made, ceiling) in [(1, 100), (2, 200), (3, 400), (5, 1600), (6, 2000), (39, 2000)] {
            assert_eq!(pause(&policy, attempts_made, None, 1.0), Some(Duration::from_millis(ceiling)));
            assert_eq!(pause(&policy, attempts_made, None, 0.0), Some(Duration::ZERO));
        }
    }

    #[test]
    fn a_retry_after_is_honored_up_to_max_backoff() {
        assert_eq!(pause(&policy(), 1, Some(Duration::from_secs(2)), 0.0), Some(Duration::from_secs(2)));
        assert_eq!(pause(&policy(), 1, Some(Duration::from_millis(2001)), 0.0), None);
    }

    #[test]
    fn the_last_attempt_is_not_followed_by_a_pause() {
        assert_eq!(pause(&policy(), 3, None, 0.5), None);
        assert!(pause(&policy(), 2, None, 0.5).is_some());
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        for invalid in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_after(invalid, now), None, "{invalid:?}");
        }
    }
}
