//! Health of providers: after too many failures a provider is in cooldown, then one request probes
//! whether it has recovered.
//!
//! One [`Health`] per provider is shared by all workers. Time is an argument.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::config::Cooldown;
use crate::terms::{ProviderName, TenantId};

/// Health of one provider.
#[derive(Debug, Default)]
pub struct Health {
    /// Whether the state differs from the default. The happy path checks this flag instead of
    /// taking the lock.
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

/// Health as the admin API shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HealthStatus {
    /// End of the cooldown.
    pub cooldown_until: Option<Instant>,
    /// Consecutive failures.
    pub failures: u32,
    /// Class of the last failure since the last success.
    pub last_error: Option<&'static str>,
}

impl Health {
    /// Whether a request may be sent to this provider while others are available. The first caller
    /// after a cooldown becomes the probe; the others are turned away until its result is known.
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

    /// A call succeeded.
    pub fn succeeded(&self) {
        if self.has_failures.load(Ordering::Acquire) {
            *self.lock() = State::default();
            self.has_failures.store(false, Ordering::Release);
        }
    }

    /// A call failed, and the provider is at fault.
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

    /// The call says nothing about the provider's health. Frees the probe slot, so that another
    /// request may probe.
    pub fn inconclusive(&self) {
        if self.has_failures.load(Ordering::Acquire) {
            self.lock().is_probing = false;
        }
    }

    /// Health at `now`.
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

/// Health of all providers, by name and, for a tenant's own, by tenant. Read when an adapter starts
/// and by the admin API, never by a request.
#[derive(Debug, Default)]
pub struct HealthBook(Mutex<HashMap<HealthKey, Arc<Health>>>);

/// A provider, and the tenant that owns it, if any.
type HealthKey = (Option<TenantId>, ProviderName);

impl HealthBook {
    /// Health of one provider, created on first use.
    pub fn of(&self, owner: Option<&TenantId>, provider: &ProviderName) -> Arc<Health> {
        Arc::clone(self.lock().entry((owner.cloned(), provider.clone())).or_default())
    }

    /// The brokered providers in cooldown at `now`.
    pub fn in_cooldown(&self, now: Instant) -> Vec<ProviderName> {
        let is_in_cooldown = |health: &Health| health.status(now).cooldown_until.is_some();
        let book = self.lock();
        book.iter().filter(|((owner, _), health)| owner.is_none() && is_in_cooldown(health)).map(|((_, name), _)| name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HealthKey, Arc<Health>>> {
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
    fn a_provider_is_in_cooldown_after_enough_failures_in_the_window() {
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
    fn failures_too_far_apart_do_not_add_up() {
        let (health, start) = (Health::default(), Instant::now());
        for nth in 0..6 {
            health.failed("reset", &POLICY, second(start, nth * 16));
            assert!(health.admits(second(start, nth * 16)), "{nth}");
        }
    }

    #[test]
    fn a_success_resets_the_failures() {
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
    fn after_a_cooldown_one_request_probes_and_others_are_turned_away() {
        let (health, start) = (Health::default(), Instant::now());
        for _ in 0..3 {
            health.failed("reset", &POLICY, start);
        }
        let recovered = second(start, 15);
        assert!(health.admits(recovered));
        assert!(!health.admits(recovered), "a second request during the probe");
        health.failed("reset", &POLICY, recovered);
        assert!(!health.admits(second(start, 29)), "a failed probe starts another cooldown");
        assert!(health.admits(second(start, 30)));
        health.inconclusive();
        assert!(health.admits(second(start, 30)), "an inconclusive probe may be repeated");
        health.succeeded();
        assert!(health.admits(second(start, 30)) && health.admits(second(start, 30)));
    }
}
