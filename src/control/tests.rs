use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::ControlError;
use super::keys::KeyFields;
use super::now_ms;
use super::store::schema::{admin_events, change_log};
use super::tenants::TenantChange;
use super::testing::{ACTOR, Bench, on_each};
use diesel::prelude::*;

#[test]
fn a_key_is_known_to_every_worker_when_its_creation_answers_and_unknown_when_its_revocation_does() {
    on_each(async |bench: Bench| {
        bench.tenant("acme").await;
        let (one, other) = (bench.key("acme").await, bench.key("acme").await);
        let caller = bench.known(&one).unwrap();
        assert_eq!((caller.key_id.as_str(), caller.tenant.id.as_str()), (one.row.id.as_str(), "acme"));
        bench.control.revoke_key(ACTOR, "acme".to_owned(), one.row.id.clone()).await.unwrap();
        assert!(bench.known(&one).is_none() && bench.known(&other).is_some());
        let again = bench.control.revoke_key(ACTOR, "acme".to_owned(), one.row.id.clone()).await.unwrap();
        assert!(again.revoked_at.is_some());
    });
}

#[test]
fn what_another_process_changes_arrives_by_the_change_log() {
    on_each(async |bench: Bench| {
        let other = bench.another();
        let watching = actix_web::rt::spawn(Arc::clone(&other.control).watch());
        bench.tenant("acme").await;
        let key = bench.key("acme").await;
        wait_until(|| other.known(&key).is_some()).await;
        bench.control.revoke_key(ACTOR, "acme".to_owned(), key.row.id.clone()).await.unwrap();
        wait_until(|| other.known(&key).is_none()).await;
        watching.abort();
    });
}

#[test]
fn a_process_that_is_too_far_behind_reads_everything_again() {
    on_each(async |bench: Bench| {
        let other = bench.another();
        bench.tenant("acme").await;
        let key = bench.key("acme").await;
        let forgotten = bench.fresh.store.write::<_, ControlError>(|connection| Ok(diesel::delete(change_log::table).execute(connection)?));
        assert_eq!(forgotten.unwrap(), 2);
        bench.tenant("globex").await;
        other.control.feed.catch_up().await.unwrap();
        assert!(other.known(&key).is_some());
        assert!(other.gateway.snapshot().directory.tenants.contains_key("globex"));
    });
}

#[test]
fn a_change_of_a_tenant_reaches_all_its_keys_and_no_others() {
    on_each(async |bench: Bench| {
        bench.tenant("acme").await;
        bench.tenant("globex").await;
        let (ours, theirs) = (bench.key("acme").await, bench.key("globex").await);
        let change = TenantChange { enabled: Some(false), ..TenantChange::default() };
        bench.control.change_tenant(ACTOR, "acme".to_owned(), change).await.unwrap();
        assert!(!bench.known(&ours).unwrap().tenant.enabled && bench.known(&theirs).unwrap().tenant.enabled);
        bench.control.delete_tenant(ACTOR, "acme".to_owned()).await.unwrap();
        assert!(bench.known(&ours).is_none() && bench.known(&theirs).is_some());
        assert!(!bench.gateway.snapshot().directory.tenants.contains_key("acme"));
    });
}

#[test]
fn a_rotated_key_lives_on_for_its_grace_beside_its_successor() {
    on_each(async |bench: Bench| {
        bench.tenant("acme").await;
        let rpm = KeyFields { rpm: Some(Some(60)), ..KeyFields::default() };
        let old = bench.control.create_key(ACTOR, "acme".to_owned(), rpm).await.unwrap();
        let rotate = |id: &str, grace| bench.control.rotate_key(ACTOR, "acme".to_owned(), id.to_owned(), grace);
        let hour = Duration::from_secs(3_600);
        let new = rotate(&old.row.id, hour).await.unwrap();
        assert_eq!((bench.known(&new).unwrap().rpm, bench.known(&new).unwrap().expires_at), (Some(60), None));
        let end = bench.known(&old).unwrap().expires_at.unwrap() - now_ms() / 1_000;
        assert!((3_590..=3_600).contains(&end), "{end}");
        assert!(matches!(rotate(&old.row.id, hour).await, Err(ControlError::Conflict { code: "key_rotated", .. })));
        let newest = rotate(&new.row.id, Duration::ZERO).await.unwrap();
        assert!(bench.known(&new).is_none() && bench.known(&newest).is_some());
        assert!(matches!(rotate(&new.row.id, hour).await, Err(ControlError::Conflict { .. })));
        let month = Duration::from_secs(31 * 86_400);
        assert!(matches!(rotate(&newest.row.id, month).await, Err(ControlError::Invalid { .. })));
    });
}

#[test]
fn a_grace_never_makes_a_key_live_longer() {
    on_each(async |bench: Bench| {
        bench.tenant("acme").await;
        let soon = now_ms() / 1_000 + 60;
        let brief = KeyFields { expires_at: Some(Some(soon)), ..KeyFields::default() };
        let old = bench.control.create_key(ACTOR, "acme".to_owned(), brief).await.unwrap();
        let new = bench.control.rotate_key(ACTOR, "acme".to_owned(), old.row.id.clone(), Duration::from_secs(3_600)).await.unwrap();
        assert_eq!((bench.known(&old).unwrap().expires_at, bench.known(&new).unwrap().expires_at), (Some(soon), Some(soon)));
    });
}

#[test]
fn another_tenants_key_is_no_key() {
    on_each(async |bench: Bench| {
        bench.tenant("acme").await;
        bench.tenant("globex").await;
        let theirs = bench.key("globex").await.row.id;
        let ours = || "acme".to_owned();
        let found = [
            bench.control.key(ours(), theirs.clone()).await.err(),
            bench.control.revoke_key(ACTOR, ours(), theirs.clone()).await.err(),
            bench.control.change_key(ACTOR, ours(), theirs.clone(), KeyFields::default()).await.err(),
            bench.control.rotate_key(ACTOR, ours(), theirs, Duration::ZERO).await.err(),
        ];
        assert!(found.iter().all(|error| matches!(error, Some(ControlError::NotFound { .. }))), "{found:?}");
    });
}

#[test]
fn every_mutation_is_recorded_without_the_key() {
    on_each(async |bench: Bench| {
        bench.tenant("acme").await;
        let key = bench.key("acme").await;
        bench.control.revoke_key(ACTOR, "acme".to_owned(), key.row.id.clone()).await.unwrap();
        let events = bench.fresh.store.read::<Vec<(String, String, String)>, ControlError>(|connection| {
            let told = (admin_events::actor, admin_events::action, admin_events::target);
            Ok(admin_events::table.order((admin_events::at, admin_events::id)).select(told).load(connection)?)
        });
        let target = format!("acme/{}", key.row.id);
        let told = [("tenant.create", "acme"), ("key.create", target.as_str()), ("key.revoke", target.as_str())];
        assert_eq!(events.unwrap(), told.map(|(action, target)| ("test".to_owned(), action.to_owned(), target.to_owned())));
    });
}

#[test]
fn a_row_with_a_damaged_look_up_value_is_refused_alone() {
    on_each(async |bench: Bench| {
        use super::store::schema::virtual_keys;
        bench.tenant("acme").await;
        let (bad, good) = (bench.key("acme").await, bench.key("acme").await);
        let damage = bench.fresh.store.write::<_, ControlError>(|connection| {
            let row = diesel::update(virtual_keys::table.find(&bad.row.id)).set(virtual_keys::lookup.eq(vec![7u8]));
            Ok(row.execute(connection)?)
        });
        damage.unwrap();
        let restarted = bench.another();
        assert!(restarted.known(&bad).is_none() && restarted.known(&good).is_some());
    });
}

/// Not a pause: ends as soon as it is so, and fails after the two seconds the contract gives.
async fn wait_until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(2), "not within two seconds");
        actix_web::rt::time::sleep(Duration::from_millis(5)).await;
    }
}

mod sealing;
