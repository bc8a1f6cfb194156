//! `[retry]` and its overrides in kinds and providers.

use std::time::Duration;

use crate::config::toml::Section;
use crate::config::{Cooldown, RetryPolicy};

const MILLISECOND: Duration = Duration::from_millis(1);

impl Default for RetryPolicy {
    /// As in DESIGN.md section 3; `total_timeout` as in spec/security.md 7.4.
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

/// The policy of `parent`'s table `retry`, with `base` laid under.
pub fn read(parent: &mut Section<'_>, base: &RetryPolicy) -> RetryPolicy {
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
