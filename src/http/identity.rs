//! Who asks? From the presented key to a [`Caller`], by the snapshot alone (spec/security.md 4.2).
//!
//! Whatever is wrong with a key, the answer is the same. Past a number of failures an address is told to wait, known keys
//! excepted.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use orion::util::secure_cmp;

use crate::catalog::caller::Caller;
use crate::catalog::snapshot::Snapshot;
use crate::credential::{Credential, CredentialKind};
use crate::gateway::refusal::Refusal;

/// Counts failed authentications per source address. Shared by all workers.
pub struct Authenticator {
    failures: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    /// Two random keys of SipHash, whose answers together tell keys apart.
    hashers: [RandomState; 2],
}

/// What a connection's last key was, for a connection says the same each time and deriving a look-up value takes longer than all the
/// rest of this check. The key itself is not kept beyond its request (spec/security.md 1.6): only a hash of it that means nothing
/// without this process's random keys, and the look-up value, which is no secret. What it is worth is found anew each time.
#[derive(Clone, Copy, Debug)]
pub struct LastKey {
    mark: [u64; 2],
    kind: CredentialKind,
    lookup: [u8; 32],
}

impl Authenticator {
    /// An authenticator that lets `per_minute` failures an address pass with a plain 401.
    pub fn new(per_minute: u32) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        let hashers = [RandomState::new(), RandomState::new()];
        Self { failures: RateLimiter::keyed(quota), clock: DefaultClock::default(), hashers }
    }

    /// Finds the caller who presents a key in `headers`. `last` is the connection's; `now` is in unix seconds.
    ///
    /// # Errors
    /// One refusal for every key that is not valid, another for a valid one of a disabled tenant.
    pub fn admit(
        &self,
        headers: &HeaderMap,
        last: &Cell<Option<LastKey>>,
        from: Option<IpAddr>,
        snapshot: &Snapshot,
        now: i64,
    ) -> Result<Arc<Caller>, Refusal> {
        let looked_up = presented(headers).and_then(|key| self.look_up(key, last));
        let Some(caller) = looked_up.and_then(|(kind, lookup)| find(kind, &lookup, snapshot, now)) else { return Err(self.refuse(from)) };
        if caller.tenant.enabled { Ok(caller) } else { Err(Refusal::TenantDisabled) }
    }

    /// What [`Credential::lookup_of`] says.
    pub fn look_up(&self, key: &str, last: &Cell<Option<LastKey>>) -> Option<(CredentialKind, [u8; 32])> {
        let mark = self.hashers.each_ref().map(|hasher| hasher.hash_one(key));
        if let Some(known) = last.get()
            && known.mark == mark
        {
            return Some((known.kind, known.lookup));
        }
        let (kind, lookup) = Credential::lookup_of(key)?;
        last.set(Some(LastKey { mark, kind, lookup }));
        Some((kind, lookup))
    }

    fn refuse(&self, from: Option<IpAddr>) -> Refusal {
        let Some(address) = from else { return Refusal::InvalidKey };
        match self.failures.check_key(&network(address)) {
            Ok(()) => Refusal::InvalidKey,
            Err(until) => Refusal::TooManyFailures { retry_after: until.wait_time_from(self.clock.now()).max(Duration::from_secs(1)) },
        }
    }

    /// Forgets addresses that have been quiet. Call it now and then, off the workers.
    pub fn sweep(&self) {
        self.failures.retain_recent();
        self.failures.shrink_to_fit();
    }
}

/// What counts as one address: of IPv6 the first 64 bits, since whoever has one address there has them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// Where a key may stand.
static KEY_HEADERS: [HeaderName; 3] = [AUTHORIZATION, HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")];

/// The one key the request presents; two that differ are none.
pub fn presented(headers: &HeaderMap) -> Option<&str> {
    let mut found: Option<&str> = None;
    for name in &KEY_HEADERS {
        for value in headers.get_all(name) {
            let text = value.to_str().ok()?;
            let key = if *name == AUTHORIZATION { bearer(text)? } else { text.trim() };
            match found {
                Some(other) if other != key => return None,
                _ => found = Some(key),
            }
        }
    }
    found
}

/// The token of a `Bearer` header (RFC 6750: the scheme is case-insensitive).
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn find(kind: CredentialKind, lookup: &[u8; 32], snapshot: &Snapshot, now: i64) -> Option<Arc<Caller>> {
    let caller = snapshot.directory.callers.get(lookup)?;
    let is_same = secure_cmp(&caller.lookup, lookup).is_ok();
    let is_alive = caller.expires_at.is_none_or(|at| now < at);
    (kind == CredentialKind::Virtual && is_same && is_alive).then(|| Arc::clone(caller))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::offerings::Offerings;
    use crate::config;
    use actix_web::http::header::{AUTHORIZATION, HeaderValue};

    /// `admit` is given a snapshot and nothing else, so what a wrong key could cost is memory: here what the authenticator remembers.
    #[test]
    fn a_flood_of_wrong_keys_from_one_address_is_remembered_in_one_place_and_slowed_down() {
        let snapshot =
            Snapshot { offerings: Arc::new(Offerings::build(&config::CatalogSettings::default(), None, 0)), directory: Arc::default() };
        let authenticator = Authenticator::new(600);
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        let mut refusals = (0, 0);
        for nth in 0..5_000 {
            let minted = Credential::mint(CredentialKind::Virtual).unwrap();
            let junk = format!("aigw-sk-{nth}");
            let key = if nth % 2 == 0 { minted.text().expose() } else { &junk };
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {key}")).unwrap());
            match authenticator.admit(&headers, &Cell::default(), address, &snapshot, 0) {
                Err(Refusal::InvalidKey) => refusals.0 += 1,
                Err(Refusal::TooManyFailures { .. }) => refusals.1 += 1,
                other => panic!("{:?}", other.map(|caller| caller.key_id.clone())),
            }
        }
        assert!(refusals.0 >= 600 && refusals.1 > 0, "{refusals:?}");
        assert_eq!(authenticator.failures.len(), 1);
    }

    #[test]
    fn what_a_connection_said_last_is_known_again_and_nothing_else_is_taken_for_it() {
        let authenticator = Authenticator::new(1);
        let last = Cell::default();
        let keys: Vec<_> = (0..50).map(|_| Credential::mint(CredentialKind::Virtual).unwrap()).collect();
        for key in keys.iter().flat_map(|key| [key, key, &keys[0], key]) {
            let text = key.text().expose();
            assert_eq!(authenticator.look_up(text, &last), Credential::lookup_of(text));
            assert_eq!(last.get().map(|last| last.lookup), Credential::lookup_of(text).map(|(_, lookup)| lookup));
            // A key that is none leaves what is known as it is.
            assert_eq!(authenticator.look_up(&text[..56], &last), None);
            assert_eq!(authenticator.look_up("", &last), None);
        }
        let known = format!("{:?}", last.get());
        assert!(keys.iter().all(|key| !known.contains(key.text().expose())));
    }

    #[test]
    fn whoever_has_a_network_of_ipv6_addresses_is_one_address_and_a_mapped_ipv4_address_is_its_own() {
        let authenticator = Authenticator::new(10);
        for nth in 0..1_000_u128 {
            authenticator.refuse(Some(Ipv6Addr::from_bits(0x2001_0db8 << 96 | nth << 40 | nth).into()));
        }
        assert_eq!(authenticator.failures.len(), 1);
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        authenticator.refuse(Some(mapped));
        authenticator.refuse(Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(authenticator.failures.len(), 2);
        authenticator.refuse(Some("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(authenticator.failures.len(), 3);
    }
}
