//! `[retry]` and its overrides in kinds and providers.

use std::time::Duration;

use super::section::Section;

const MILLISECOND: Duration = Duration::from_millis(1);

/// `[retry]` as it applies to one provider.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Upstream calls per provider and request, at least 1.
    pub attempts: u32,
    /// Upper bound of the first pause; doubled each time, full jitter.
    pub backoff: Duration,
    /// Longest pause, and longest `retry-after` that is waited for.
    pub max_backoff: Duration,
    /// Time limit for the TCP connection and, separately, for the TLS handshake.
    pub connect_timeout: Duration,
    /// Time limit for the response head and for the first event of a stream.
    pub first_byte_timeout: Duration,
    /// Time limit between two reads of a body or stream.
    pub idle_timeout: Duration,
    /// Time limit for a whole answer.
    pub total_timeout: Duration,
    /// When a failing provider is skipped.
    pub cooldown: Cooldown,
}

/// A provider that fails `failures` times in a row within `window` is skipped for `rest`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cooldown {
    /// Consecutive failures within the window; 0 disables cooldown.
    pub failures: u32,
    /// Time span that the failures must fall into.
    pub window: Duration,
    /// Length of the cooldown.
    pub rest: Duration,
}

impl Default for RetryPolicy {
    /// Defaults of DESIGN.md section 3; `total_timeout` of spec/security.md 7.4.
    fn default() -> Self {
        Self {
            attempts: 2,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(60 * 60),
            cooldown: Cooldown { failures: 5, window: Duration::from_secs(30), rest: Duration::from_secs(15) },
        }
    }
}

/// Reads the table `retry` of `parent`. Missing keys are those of `base`.
pub(super) fn read(parent: &mut Section<'_>, base: &RetryPolicy) -> RetryPolicy {
    let mut policy = base.clone();
    let Some(mut section) = parent.section("retry") else { return policy };
    if let Some(attempts) = section.number("attempts", 1..=100) {
        policy.attempts = attempts.try_into().unwrap_or(u32::MAX);
    }
    let times = [
        ("backoff", Duration::ZERO, &mut policy.backoff),
        ("max_backoff", Duration::ZERO, &mut policy.max_backoff),
        ("connect_timeout", MILLISECOND, &mut policy.connect_timeout),
        ("first_byte_timeout", MILLISECOND, &mut policy.first_byte_timeout),
        ("idle_timeout", MILLISECOND, &mut policy.idle_timeout),
        ("total_timeout", MILLISECOND, &mut policy.total_timeout),
    ];
    for (key, least, field) in times {
        if let Some(duration) = section.duration(key, least) {
            *field = duration;
        }
    }
    if let Some(cooldown) = section.section("cooldown") {
        read_cooldown(cooldown, &mut policy.cooldown);
    }
    section.done();
    policy
}

fn read_cooldown(mut section: Section<'_>, cooldown: &mut Cooldown) {
    if let Some(failures) = section.number("failures", 0..=u64::from(u32::MAX)) {
        cooldown.failures = failures.try_into().unwrap_or(u32::MAX);
    }
    for (key, field) in [("window", &mut cooldown.window), ("rest", &mut cooldown.rest)] {
        if let Some(duration) = section.duration(key, MILLISECOND) {
            *field = duration;
        }
    }
    section.done();
}
