//! How a provider has been doing: after too many failures it rests, then one request probes whether it is back.
//!
//! One [`Health`] per provider, shared by all workers, so that they agree. Time is an argument.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::config::Cooldown;
use crate::terms::{ProviderName, TenantId};

/// The record of one provider.
#[derive(Debug, Default)]
pub struct Health {
    /// Whether the state below is anything but spotless: what the happy path looks at instead of locking.
    has_failures: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    since: Option<Instant>,
    cooldown_until: Option<Instant>,
    is_probing: bool,
    last_error: Option<&'static str>,
}

/// What the admin plane shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HealthStatus {
    /// Until when it rests.
    pub cooldown_until: Option<Instant>,
    /// Failures in a row.
    pub failures: u32,
    /// The class of the last failure since the last success.
    pub last_error: Option<&'static str>,
}

impl Health {
    /// Whether a request may be sent there while others are available. After a rest the first to ask becomes the probe;
    /// the others go on elsewhere until it has reported.
    pub fn admits(&self, now: Instant) -> bool {
        if !self.has_failures.load(Ordering::Acquire) {
            return true;
        }
        let mut state = self.lock();
        match state.cooldown_until {
            None => true,
            Some(until) if now < until || state.is_probing => false,
            Some(_) => {
                state.is_probing = true;
                true
            }
        }
    }

    /// A call went well.
    pub fn succeeded(&self) {
        if self.has_failures.load(Ordering::Acquire) {
            *self.lock() = State::default();
            self.has_failures.store(false, Ordering::Release);
        }
    }

    /// A call failed in a way that counts.
    pub fn failed(&self, error: &'static str, policy: &Cooldown, now: Instant) {
        if policy.failures == 0 {
            return;
        }
        let mut state = self.lock();
        self.has_failures.store(true, Ordering::Release);
        if state.since.is_none_or(|since| now.saturating_duration_since(since) > policy.window) {
            state.since = Some(now);
            state.failures = 0;
        }
        state.failures += 1;
        state.last_error = Some(error);
        if state.is_probing || state.failures >= policy.failures {
            state.cooldown_until = Some(now + policy.rest);
            state.is_probing = false;
        }
    }

    /// A call ended without telling anything about the provider: a probe that was cut short may be repeated.
    pub fn inconclusive(&self) {
        if self.has_failures.load(Ordering::Acquire) {
            self.lock().is_probing = false;
        }
    }

    /// What the admin plane shows.
    pub fn status(&self, now: Instant) -> HealthStatus {
        let state = self.lock();
        HealthStatus {
            cooldown_until: state.cooldown_until.filter(|until| *until > now),
            failures: state.failures,
            last_error: state.last_error,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The records of all providers, by name and, for a tenant's own, by tenant. Looked into when an adapter starts and by the
/// admin plane; never by a request.
#[derive(Debug, Default)]
pub struct HealthBook(Mutex<HashMap<Account, Arc<Health>>>);

/// A provider, and the tenant it belongs to if it is its own.
type Account = (Option<TenantId>, ProviderName);

impl HealthBook {
    /// The record of one provider, begun if need be.
    pub fn of(&self, owner: Option<&TenantId>, provider: &ProviderName) -> Arc<Health> {
        Arc::clone(self.lock().entry((owner.cloned(), provider.clone())).or_default())
    }

    /// The brokered providers that rest at this moment.
    pub fn in_cooldown(&self, now: Instant) -> Vec<ProviderName> {
        let rests = |health: &Health| health.status(now).cooldown_until.is_some();
        let book = self.lock();
        book.iter().filter(|((owner, _), health)| owner.is_none() && rests(health)).map(|((_, name), _)| name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Account, Arc<Health>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const POLICY: Cooldown = Cooldown { failures: 3, window: Duration::from_secs(30), rest: Duration::from_secs(15) };

    fn second(start: Instant, nth: u64) -> Instant {
        start + Duration::from_secs(nth)
    }

    #[test]
    fn a_provider_rests_after_so_many_failures_in_the_window() {
        let (health, start) = (Health::default(), Instant::now());
        health.failed("reset", &POLICY, start);
        health.failed("reset", &POLICY, second(start, 1));
        assert!(health.admits(second(start, 1)));
        health.failed("timeout", &POLICY, second(start, 2));
        assert!(!health.admits(second(start, 2)));
        let expected = HealthStatus { cooldown_until: Some(second(start, 17)), failures: 3, last_error: Some("timeout") };
        assert_eq!(health.status(second(start, 3)), expected);
    }

    #[test]
    fn failures_that_lie_too_far_apart_do_not_add_up() {
        let (health, start) = (Health::default(), Instant::now());
        for nth in 0..6 {
            health.failed("reset", &POLICY, second(start, nth * 16));
            assert!(health.admits(second(start, nth * 16)), "{nth}");
        }
    }

    #[test]
    fn a_success_forgets_the_failures() {
        let (health, start) = (Health::default(), Instant::now());
        for _ in 0..5 {
            health.failed("reset", &POLICY, start);
            health.failed("reset", &POLICY, start);
            health.succeeded();
        }
        assert!(health.admits(start));
        assert_eq!(health.status(start), HealthStatus::default());
    }

    #[test]
    fn after_the_rest_one_request_probes_and_the_others_wait_for_its_word() {
        let (health, start) = (Health::default(), Instant::now());
        for _ in 0..3 {
            health.failed("reset", &POLICY, start);
        }
        let rested = second(start, 15);
        assert!(health.admits(rested));
        assert!(!health.admits(rested), "a second request while the probe is out");
        health.failed("reset", &POLICY, rested);
        assert!(!health.admits(second(start, 29)), "a failed probe means another rest");
        assert!(health.admits(second(start, 30)));
        health.inconclusive();
        assert!(health.admits(second(start, 30)), "a probe that was cut short may be repeated");
        health.succeeded();
        assert!(health.admits(second(start, 30)) && health.admits(second(start, 30)));
    }
}
