use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::ControlError;
use super::keys::KeyFields;
use super::store::schema::{admin_events, change_log};
use super::tenants::TenantChange;
use super::testing::{ACTOR, ControlFixture, on_each};
use diesel::prelude::*;

use crate::clock;

#[test]
fn a_key_is_known_to_every_worker_when_its_creation_answers_and_unknown_when_its_revocation_does() {
    on_each(async |fixture: ControlFixture| {
        fixture.tenant("acme").await;
        let (one, other) = (fixture.key("acme").await, fixture.key("acme").await);
        let caller = fixture.known(&one).unwrap();
        assert_eq!((caller.key_id.as_str(), caller.tenant.id.as_str()), (one.row.id.as_str(), "acme"));
        fixture.control.revoke_key(ACTOR, "acme".to_owned(), one.row.id.clone()).await.unwrap();
        assert!(fixture.known(&one).is_none() && fixture.known(&other).is_some());
        let again = fixture.control.revoke_key(ACTOR, "acme".to_owned(), one.row.id.clone()).await.unwrap();
        assert!(again.revoked_at.is_some());
    });
}

#[test]
fn changes_of_another_process_arrive_through_the_change_log() {
    on_each(async |fixture: ControlFixture| {
        let other = fixture.another();
        let watching = actix_web::rt::spawn(Arc::clone(&other.control).watch());
        fixture.tenant("acme").await;
        let key = fixture.key("acme").await;
        wait_until(|| other.known(&key).is_some()).await;
        fixture.control.revoke_key(ACTOR, "acme".to_owned(), key.row.id.clone()).await.unwrap();
        wait_until(|| other.known(&key).is_none()).await;
        watching.abort();
    });
}

#[test]
fn a_process_too_far_behind_reloads_everything() {
    on_each(async |fixture: ControlFixture| {
        let other = fixture.another();
        fixture.tenant("acme").await;
        let key = fixture.key("acme").await;
        let forgotten =
            fixture.fresh.store.write::<_, ControlError>(|connection| Ok(diesel::delete(change_log::table).execute(connection)?));
        assert_eq!(forgotten.unwrap(), 2);
        fixture.tenant("globex").await;
        other.control.feed.catch_up().await.unwrap();
        assert!(other.known(&key).is_some());
        assert!(other.gateway.snapshot().directory.tenants.contains_key("globex"));
    });
}

#[test]
fn a_change_of_a_tenant_reaches_all_its_keys_and_no_others() {
    on_each(async |fixture: ControlFixture| {
        fixture.tenant("acme").await;
        fixture.tenant("globex").await;
        let (own, theirs) = (fixture.key("acme").await, fixture.key("globex").await);
        let change = TenantChange { enabled: Some(false), ..TenantChange::default() };
        fixture.control.change_tenant(ACTOR, "acme".to_owned(), change).await.unwrap();
        assert!(!fixture.known(&own).unwrap().tenant.enabled && fixture.known(&theirs).unwrap().tenant.enabled);
        fixture.control.delete_tenant(ACTOR, "acme".to_owned()).await.unwrap();
        assert!(fixture.known(&own).is_none() && fixture.known(&theirs).is_some());
        assert!(!fixture.gateway.snapshot().directory.tenants.contains_key("acme"));
    });
}

#[test]
fn a_rotated_key_works_for_its_grace_period_beside_its_successor() {
    on_each(async |fixture: ControlFixture| {
        fixture.tenant("acme").await;
        let rpm = KeyFields { rpm: Some(Some(60)), ..KeyFields::default() };
        let old = fixture.control.create_key(ACTOR, "acme".to_owned(), rpm).await.unwrap();
        let rotate = |id: &str, grace| fixture.control.rotate_key(ACTOR, "acme".to_owned(), id.to_owned(), grace);
        let hour = Duration::from_secs(3_600);
        let new = rotate(&old.row.id, hour).await.unwrap();
        assert_eq!((fixture.known(&new).unwrap().rpm, fixture.known(&new).unwrap().expires_at), (Some(60), None));
        let end = fixture.known(&old).unwrap().expires_at.unwrap() - clock::unix_seconds();
        assert!((3_590..=3_600).contains(&end), "{end}");
        assert!(matches!(rotate(&old.row.id, hour).await, Err(ControlError::Conflict { code: "key_rotated", .. })));
        let newest = rotate(&new.row.id, Duration::ZERO).await.unwrap();
        assert!(fixture.known(&new).is_none() && fixture.known(&newest).is_some());
        assert!(matches!(rotate(&new.row.id, hour).await, Err(ControlError::Conflict { .. })));
        let month = Duration::from_secs(31 * 86_400);
        assert!(matches!(rotate(&newest.row.id, month).await, Err(ControlError::Invalid { .. })));
    });
}

#[test]
fn a_grace_period_never_extends_a_key() {
    on_each(async |fixture: ControlFixture| {
        fixture.tenant("acme").await;
        let soon = clock::unix_seconds() + 60;
        let brief = KeyFields { expires_at: Some(Some(soon)), ..KeyFields::default() };
        let old = fixture.control.create_key(ACTOR, "acme".to_owned(), brief).await.unwrap();
        let new = fixture.control.rotate_key(ACTOR, "acme".to_owned(), old.row.id.clone(), Duration::from_secs(3_600)).await.unwrap();
        assert_eq!((fixture.known(&old).unwrap().expires_at, fixture.known(&new).unwrap().expires_at), (Some(soon), Some(soon)));
    });
}

#[test]
fn another_tenants_key_is_not_found() {
    on_each(async |fixture: ControlFixture| {
        fixture.tenant("acme").await;
        fixture.tenant("globex").await;
        let theirs = fixture.key("globex").await.row.id;
        let own = || "acme".to_owned();
        let found = [
            fixture.control.key(own(), theirs.clone()).await.err(),
            fixture.control.revoke_key(ACTOR, own(), theirs.clone()).await.err(),
            fixture.control.change_key(ACTOR, own(), theirs.clone(), KeyFields::default()).await.err(),
            fixture.control.rotate_key(ACTOR, own(), theirs, Duration::ZERO).await.err(),
        ];
        assert!(found.iter().all(|error| matches!(error, Some(ControlError::NotFound { .. }))), "{found:?}");
    });
}

#[test]
fn every_mutation_is_recorded_without_the_key() {
    on_each(async |fixture: ControlFixture| {
        fixture.tenant("acme").await;
        let key = fixture.key("acme").await;
        fixture.control.revoke_key(ACTOR, "acme".to_owned(), key.row.id.clone()).await.unwrap();
        let events = fixture.fresh.store.read::<Vec<(String, String, String)>, ControlError>(|connection| {
            let columns = (admin_events::actor, admin_events::action, admin_events::target);
            Ok(admin_events::table.order((admin_events::at, admin_events::id)).select(columns).load(connection)?)
        });
        let target = format!("acme/{}", key.row.id);
        let expected = [("tenant.create", "acme"), ("key.create", target.as_str()), ("key.revoke", target.as_str())];
        assert_eq!(events.unwrap(), expected.map(|(action, target)| ("test".to_owned(), action.to_owned(), target.to_owned())));
    });
}

#[test]
fn a_row_with_a_damaged_lookup_value_is_skipped_alone() {
    on_each(async |fixture: ControlFixture| {
        use super::store::schema::virtual_keys;
        fixture.tenant("acme").await;
        let (bad, good) = (fixture.key("acme").await, fixture.key("acme").await);
        let damage = fixture.fresh.store.write::<_, ControlError>(|connection| {
            let row = diesel::update(virtual_keys::table.find(&bad.row.id)).set(virtual_keys::lookup.eq(vec![7u8]));
            Ok(row.execute(connection)?)
        });
        damage.unwrap();
        let restarted = fixture.another();
        assert!(restarted.known(&bad).is_none() && restarted.known(&good).is_some());
    });
}

/// Polls until the condition holds. Fails after two seconds, the documented bound.
async fn wait_until(is_so: impl Fn() -> bool) {
    let started_at = Instant::now();
    while !is_so() {
        assert!(started_at.elapsed() < Duration::from_secs(2), "not within two seconds");
        actix_web::rt::time::sleep(Duration::from_millis(5)).await;
    }
}

mod sealing;
