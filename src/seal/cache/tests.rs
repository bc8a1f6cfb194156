use std::convert::Infallible;

use super::*;
use crate::guard::{Policy, SelfListen, Source, check_url};
use crate::seal::payload::{Destination, Presentation};
use crate::secret::Secret;

const SECOND: Duration = Duration::from_secs(1);

fn spend(key_id: &str) -> SpendRequest {
    SpendRequest {
        tenant: "acme".into(),
        key_id: key_id.into(),
        ring: Ring::main(),
        epoch: Epoch(1),
        name: "1-openai".into(),
        version: Version(1),
    }
}

fn payload() -> KeyPayload {
    let policy = Policy { source: Source::TenantUrl { private_upstreams: false }, self_listen: SelfListen::default() };
    let destination = Destination::from(&check_url("https://a.example", &policy).unwrap());
    KeyPayload::new([destination], Presentation::Bearer, Secret::new("provider-key")).unwrap()
}

/// Returns whether the payload had to be opened.
fn opens(cache: &mut OpenedSecrets, spend: &SpendRequest, now: Instant) -> bool {
    let mut opened = false;
    let open = || {
        opened = true;
        Ok::<_, Infallible>(payload())
    };
    cache.get_or_open(spend, now, open).unwrap();
    opened
}

#[test]
fn an_opened_key_is_kept_exactly_for_its_time_to_live() {
    let (mut cache, start) = (OpenedSecrets::new(DEFAULT_TTL), Instant::now());
    assert!(opens(&mut cache, &spend("key_1"), start));
    for second in [0, 1, 30, 59] {
        assert!(!opens(&mut cache, &spend("key_1"), start + SECOND * second), "{second}");
    }
    assert!(opens(&mut cache, &spend("key_1"), start + DEFAULT_TTL));
}

#[test]
fn every_field_of_the_cache_key_matters() {
    let (mut cache, now, base) = (OpenedSecrets::new(DEFAULT_TTL), Instant::now(), spend("key_1"));
    let others = [
        base.clone(),
        SpendRequest { key_id: "key_2".into(), ..base.clone() },
        SpendRequest { ring: Ring::parse("other").unwrap(), ..base.clone() },
        SpendRequest { name: "2-openai".into(), ..base.clone() },
        SpendRequest { version: Version(2), ..base.clone() },
        SpendRequest { epoch: Epoch(2), ..base.clone() },
    ];
    for spend in &others {
        assert!(opens(&mut cache, spend, now));
    }
    for spend in &others {
        assert!(!opens(&mut cache, spend, now));
    }
    assert!(opens(&mut cache, &SpendRequest { tenant: "bravo".into(), ..base }, now), "a key id of another tenant");
}

#[test]
fn p9_a_sweep_removes_expired_keys_that_are_not_requested_again() {
    let (mut cache, start) = (OpenedSecrets::new(DEFAULT_TTL), Instant::now());
    let kept = cache.get_or_open(&spend("key_1"), start, || Ok::<_, Infallible>(payload())).unwrap();
    let watch = Arc::downgrade(&kept);
    drop(kept);
    opens(&mut cache, &spend("key_2"), start + SECOND);
    cache.sweep(start + SECOND * 59);
    assert_eq!((cache.len(), watch.strong_count()), (2, 1));
    cache.sweep(start + SECOND * 60);
    assert_eq!((cache.len(), watch.strong_count()), (1, 0));
}

#[test]
fn p9_a_purge_removes_one_key_a_tenant_or_all() {
    let (mut cache, now) = (OpenedSecrets::new(DEFAULT_TTL), Instant::now());
    let bravos = SpendRequest { tenant: "bravo".into(), ..spend("key_9") };
    let second_provider = SpendRequest { name: "2-groq".into(), ..spend("key_1") };
    let all = [spend("key_1"), second_provider, spend("key_2"), bravos];
    let missing = |cache: &mut OpenedSecrets| all.each_ref().map(|spend| opens(cache, spend, now));
    missing(&mut cache);
    cache.purge_key(&"key_1".into());
    assert_eq!(missing(&mut cache), [true, true, false, false]);
    cache.purge_tenant(&"acme".into());
    assert_eq!(missing(&mut cache), [true, true, true, false]);
    cache.purge();
    assert!(cache.is_empty());
    assert_eq!(missing(&mut cache), [true; 4]);
}

#[test]
fn the_least_recently_used_key_is_evicted() {
    let (mut cache, now) = (OpenedSecrets::with_capacity(DEFAULT_TTL, 3), Instant::now());
    for key in ["key_1", "key_2", "key_3", "key_1", "key_4"] {
        opens(&mut cache, &spend(key), now);
    }
    assert_eq!(cache.len(), 3);
    assert!(!opens(&mut cache, &spend("key_1"), now));
    assert!(!opens(&mut cache, &spend("key_3"), now));
    assert!(opens(&mut cache, &spend("key_2"), now));
    assert_eq!(cache.by_use.len(), cache.slots.len());
}

#[test]
fn a_flood_of_keys_uses_bounded_memory() {
    let (mut cache, now) = (OpenedSecrets::new(DEFAULT_TTL), Instant::now());
    for number in 0..CAPACITY + 500 {
        opens(&mut cache, &spend(&format!("key_{number}")), now);
    }
    assert_eq!((cache.len(), cache.by_use.len()), (CAPACITY, CAPACITY));
}

#[test]
fn a_ttl_of_zero_disables_the_cache_and_a_large_one_is_capped() {
    let start = Instant::now();
    let mut none = OpenedSecrets::new(Duration::ZERO);
    assert!(opens(&mut none, &spend("key_1"), start) && opens(&mut none, &spend("key_1"), start) && none.is_empty());
    let mut most = OpenedSecrets::new(SECOND * 3_600);
    assert!(opens(&mut most, &spend("key_1"), start));
    assert!(!opens(&mut most, &spend("key_1"), start + SECOND * 299));
    assert!(opens(&mut most, &spend("key_1"), start + MAX_TTL));
}

#[test]
fn an_error_is_not_cached() {
    let (mut cache, now) = (OpenedSecrets::new(DEFAULT_TTL), Instant::now());
    assert_eq!(cache.get_or_open(&spend("key_1"), now, || Err("sealed")).unwrap_err(), "sealed");
    assert!(cache.is_empty());
    assert!(opens(&mut cache, &spend("key_1"), now));
}

#[test]
fn p3_a_cache_prints_no_key() {
    let mut cache = OpenedSecrets::new(DEFAULT_TTL);
    opens(&mut cache, &spend("key_1"), Instant::now());
    assert_eq!(format!("{cache:?}"), "OpenedSecrets { ttl: 60s, len: 1, .. }");
}
