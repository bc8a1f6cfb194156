use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use diesel::prelude::*;

use super::changes::{self, Actor, Change, Mutation};
use super::entries::{self, LedgerFilter, PageCursor};
use super::keys::{self, AllowedModels, KeyRow, Tags};
use super::tenants::{self, TenantRow};
use super::testing::{Fresh, on_each_database, sqlite};
use super::usage::{BucketWidth, Dimension, Totals, UsageQuery, usage};
use super::{Store, StoreError};
use crate::config::DatabaseUrl;
use crate::ledger::entry::{AttemptRecord, Entry, Outcome, UsageSource};
use crate::ledger::{Batch, EntrySink};
use crate::secret::Secret;
use crate::terms::{Billing, NanoUsd, Operation, Usage};

const ACTOR: Actor = Actor { who: "test", request_id: None, tenant_key: None };

fn tenant(id: &str) -> TenantRow {
    TenantRow {
        id: id.to_owned(),
        name: id.to_owned(),
        brokered: true,
        broker_fallback: false,
        custody: "operator".to_owned(),
        enabled: true,
        created_at: 1,
    }
}

fn key(id: &str, tenant: &str) -> KeyRow {
    KeyRow {
        id: id.to_owned(),
        lookup: id.bytes().cycle().take(32).collect(),
        last4: "wxyz".to_owned(),
        tenant: tenant.to_owned(),
        name: id.to_owned(),
        subject: id.to_owned(),
        team: Some("core".to_owned()),
        tags: Tags(vec![("project".to_owned(), "apollo \"1\"".to_owned())]),
        allowed_models: AllowedModels(Some(vec!["gpt".to_owned()])),
        monthly_budget_cents: Some(i64::MAX),
        rpm: Some(60),
        tpm: None,
        max_concurrency: None,
        expires_at: None,
        created_at: 1,
        revoked_at: None,
        rotated_from: None,
    }
}

fn entry(id: &str, created_at: i64, tenant: &str) -> Entry {
    Entry {
        id: id.to_owned(),
        request_id: format!("req-{id}").into(),
        created_at,
        tenant: tenant.into(),
        team: None,
        key_id: "key_1".into(),
        subject: "alice".into(),
        user: Some("nul \0 in it".into()),
        tags: vec![("project".to_owned(), "apollo".to_owned()), ("stage".to_owned(), "dev".to_owned())],
        operation: Operation::Chat,
        model: "m".into(),
        upstream_model: "up".into(),
        provider: "1-p".into(),
        kind: "k".into(),
        billing: Billing::Brokered,
        stream: true,
        status: 200,
        outcome: Outcome::Ok,
        error_code: None,
        finish_reason: Some("stop".into()),
        usage: Usage {
            prompt_tokens: 10,
            cached_tokens: 4,
            cache_write_tokens: 3,
            cache_write_1h_tokens: 2,
            completion_tokens: 5,
            reasoning_tokens: 1,
        },
        usage_source: UsageSource::Upstream,
        cost: NanoUsd(7),
        list_cost: NanoUsd(8),
        attempts: vec![AttemptRecord {
            provider: "1-p".into(),
            status: Some(200),
            error: None,
            ms: 12,
            request_id: Some("req_1".to_owned()),
        }],
        latency_ms: 20,
        ttfb_ms: Some(9),
    }
}

fn store_entries(store: &Store, entries: Vec<Entry>) {
    store.sink().store(&Batch { entries, ..Batch::default() }).unwrap();
}

fn page(store: &Store, filter: &LedgerFilter, after: Option<&PageCursor>, limit: i64) -> Vec<String> {
    let read: Result<_, StoreError> = store.read(|connection| Ok(entries::page(connection, filter, after, limit)?));
    read.unwrap().into_iter().map(|entry| entry.id).collect()
}

fn ask(store: &Store, query: &UsageQuery) -> Vec<(Option<i64>, Vec<Option<String>>, Totals)> {
    let read: Result<_, StoreError> = store.read(|connection| Ok(usage(connection, query)?));
    read.unwrap().unwrap().into_iter().map(|row| (row.bucket, row.group, row.totals)).collect()
}

fn mutate<T>(
    store: &Store,
    changes: Vec<Change>,
    statements: impl FnOnce(&mut super::AnyConnection) -> QueryResult<T>,
) -> Result<T, StoreError> {
    store.mutate(&ACTOR, 5, |connection| {
        Ok(Mutation { answer: statements(connection)?, action: "test.change", target: "x".to_owned(), changes })
    })
}

#[test]
fn an_entry_is_read_back_as_stored_except_for_nul() {
    on_each_database(|Fresh { store, .. }| {
        let mut stored = entry("a", 1_000, "acme");
        store_entries(&store, vec![stored.clone()]);
        stored.user = Some("nul \u{fffd} in it".into());
        let read: Result<_, StoreError> = store.read(|connection| Ok(entries::newest_of_request(connection, "req-a")?));
        assert_eq!(read.unwrap(), Some(stored));
    });
}

#[test]
fn a_batch_stored_twice_is_stored_once_and_moves_its_positions() {
    on_each_database(|Fresh { store, .. }| {
        let mut sink = store.sink();
        let positions = [("worker-0".to_owned(), 100), ("worker-1".to_owned(), 7)].into();
        let mut batch = Batch { entries: (0..600).map(|nth| entry(&format!("e{nth:04}"), nth, "acme")).collect(), positions };
        sink.store(&batch).unwrap();
        batch.positions.insert("worker-0".to_owned(), 250);
        batch.entries.push(entry("new", 9_000, "acme"));
        sink.store(&batch).unwrap();
        assert_eq!(sink.positions().unwrap(), [("worker-0".to_owned(), 250), ("worker-1".to_owned(), 7)].into());
        assert_eq!(ask(&store, &UsageQuery::default())[0].2.requests, 601);
        sink.forget(&["worker-0".to_owned()]).unwrap();
        assert_eq!(sink.positions().unwrap(), [("worker-1".to_owned(), 7)].into());
        sink.store(&Batch::default()).unwrap();
    });
}

#[test]
fn a_batch_of_any_size_is_stored_completely_and_skips_known_entries() {
    on_each_database(|fresh| {
        let mut known = 0;
        for size in [1, 3, 4, 5, 31, 32, 33, 37, 71] {
            // The first half of each batch is there already.
            let entries = (0..size).map(|nth| entry(&format!("e-{:03}", known - known.min(size / 2) + nth), 1, "acme")).collect();
            known += size - known.min(size / 2);
            store_entries(&fresh.store, entries);
            let expected: Vec<String> = (0..known).rev().map(|nth| format!("e-{nth:03}")).collect();
            assert_eq!(page(&fresh.store, &LedgerFilter::default(), None, 1_000), expected);
        }
    });
}

#[test]
fn a_tag_too_long_for_an_index_does_not_stop_the_ledger() {
    on_each_database(|Fresh { store, .. }| {
        let mut long = entry("long", 1, "acme");
        let noise: String = (0..9_000u32).filter_map(|nth| char::from_u32(0x4e00 + nth * 7919 % 20_000)).collect();
        long.tags = vec![("t".to_owned(), noise.clone())];
        long.request_id = noise.into();
        store_entries(&store, vec![long]);
        let tagged = LedgerFilter { tag: Some(("t".to_owned(), None)), ..LedgerFilter::default() };
        assert_eq!(page(&store, &tagged, None, 10), ["long"]);
    });
}

#[test]
fn pages_stay_stable_while_entries_arrive() {
    on_each_database(|Fresh { store, .. }| {
        store_entries(&store, (0..10).map(|nth| entry(&format!("e{nth}"), nth / 3, "acme")).collect());
        let all = LedgerFilter::default();
        let first = page(&store, &all, None, 4);
        assert_eq!(first, ["e9", "e8", "e7", "e6"]);
        store_entries(&store, vec![entry("late", 99, "acme")]);
        let place = PageCursor { created_at: 2, id: "e6".to_owned() };
        assert_eq!(page(&store, &all, Some(&place), 100), ["e5", "e4", "e3", "e2", "e1", "e0"]);
    });
}

#[test]
fn pages_repeat_no_entry_after_the_clock_jumps_back() {
    on_each_database(|Fresh { store, .. }| {
        // Ids grow as entries arrive, whatever the clock says.
        let arriving = |nth: i64, at: i64| entry(&format!("e{nth}"), at, "acme");
        store_entries(&store, vec![arriving(0, 100), arriving(1, 200), arriving(2, 300)]);
        let all = LedgerFilter::default();
        assert_eq!(page(&store, &all, None, 2), ["e2", "e1"]);
        let place = PageCursor { created_at: 200, id: "e1".to_owned() };
        store_entries(&store, vec![arriving(3, 50), arriving(4, 150), arriving(5, 250)]);
        assert_eq!(page(&store, &all, Some(&place), 2), ["e4", "e0"]);
        let place = PageCursor { created_at: 100, id: "e0".to_owned() };
        assert_eq!(page(&store, &all, Some(&place), 2), ["e3"]);
        assert_eq!(page(&store, &all, None, 9), ["e2", "e5", "e1", "e4", "e0", "e3"]);
        assert_eq!(ask(&store, &UsageQuery::default())[0].2.requests, 6, "each counts once");
    });
}

#[test]
fn every_filter_narrows_the_ledger() {
    on_each_database(|Fresh { store, .. }| {
        let mut other = entry("b", 2_000, "globex");
        other.key_id = "key_2".into();
        other.model = "m2".into();
        other.provider = "2-p".into();
        other.subject = "bob".into();
        other.outcome = Outcome::ClientClosed;
        other.tags = vec![("project".to_owned(), "gemini".to_owned())];
        store_entries(&store, vec![entry("a", 1_000, "acme"), other]);
        let only_b = [
            LedgerFilter { tenant: Some("globex".to_owned()), ..LedgerFilter::default() },
            LedgerFilter { key_id: Some("key_2".to_owned()), ..LedgerFilter::default() },
            LedgerFilter { model: Some("m2".to_owned()), ..LedgerFilter::default() },
            LedgerFilter { provider: Some("2-p".to_owned()), ..LedgerFilter::default() },
            LedgerFilter { subject: Some("bob".to_owned()), ..LedgerFilter::default() },
            LedgerFilter { outcome: Some(Outcome::ClientClosed), ..LedgerFilter::default() },
            LedgerFilter { tag: Some(("project".to_owned(), Some("gemini".to_owned()))), ..LedgerFilter::default() },
            LedgerFilter { from: Some(2_000), ..LedgerFilter::default() },
        ];
        for filter in only_b {
            assert_eq!(page(&store, &filter, None, 10), ["b"], "{filter:?}");
            assert_eq!(ask(&store, &UsageQuery { filter: filter.clone(), ..UsageQuery::default() })[0].2.requests, 1, "{filter:?}");
        }
        let before = LedgerFilter { to: Some(2_000), tag: Some(("stage".to_owned(), None)), ..LedgerFilter::default() };
        assert_eq!(page(&store, &before, None, 10), ["a"]);
        let neither = LedgerFilter { tag: Some(("x' OR '1'='1".to_owned(), None)), ..LedgerFilter::default() };
        assert!(page(&store, &neither, None, 10).is_empty());
    });
}

#[test]
fn usage_sums_by_dimension_tag_and_calendar_month() {
    const DAY: i64 = 86_400_000;
    on_each_database(|Fresh { store, .. }| {
        let mut untagged = entry("c", 59 * DAY + 5, "globex"); // 1970-03-01
        untagged.tags.clear();
        store_entries(&store, vec![entry("a", 5, "acme"), entry("b", 30 * DAY + 5, "acme"), untagged]);
        let by = |group_by, bucket_width| UsageQuery { group_by, bucket_width, ..UsageQuery::default() };
        let keys = |query: UsageQuery| {
            ask(&store, &query).into_iter().map(|(bucket, group, totals)| (bucket, group, totals.requests)).collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            keys(by(vec![Dimension::Tenant, Dimension::Tag("project".to_owned())], None)),
            [(None, vec![text("acme"), text("apollo")], 2), (None, vec![text("globex"), None], 1)]
        );
        assert_eq!(keys(by(vec![], Some(BucketWidth::Month))), [(Some(0), vec![], 2), (Some(59 * DAY), vec![], 1)]);
        assert_eq!(keys(by(vec![], Some(BucketWidth::Minute))).len(), 3);
        assert_eq!(keys(by(vec![], Some(BucketWidth::Day)))[1].0, Some(30 * DAY));
        let everything = [Dimension::Tenant, Dimension::Team, Dimension::Key, Dimension::Subject, Dimension::Model, Dimension::Provider]
            .into_iter()
            .chain([Dimension::Tag("stage".to_owned())]);
        assert_eq!(keys(by(everything.collect(), Some(BucketWidth::Hour))).len(), 3);
        let totals = ask(&store, &UsageQuery::default())[0].2;
        let thrice = Totals {
            requests: 3,
            prompt_tokens: 30,
            cached_tokens: 12,
            cache_write_tokens: 9,
            completion_tokens: 15,
            reasoning_tokens: 3,
            cost_nanousd: 21,
            list_cost_nanousd: 24,
        };
        assert_eq!(totals, thrice);
    });
}

#[test]
fn usage_of_an_empty_ledger_is_zero() {
    on_each_database(|Fresh { store, .. }| {
        assert_eq!(ask(&store, &UsageQuery::default()), [(None, vec![], Totals::default())]);
        assert_eq!(ask(&store, &UsageQuery { group_by: vec![Dimension::Tenant], ..UsageQuery::default() }), []);
    });
}

#[test]
fn tenants_and_keys_are_read_back_as_stored() {
    on_each_database(|Fresh { store, .. }| {
        let (acme, mut one) = (tenant("acme"), key("key_1", "acme"));
        mutate(&store, vec![], |connection| {
            tenants::insert(connection, &acme)?;
            keys::insert(connection, one.clone())?;
            keys::insert(connection, key("key_2", "acme"))
        })
        .unwrap();
        let find = |id: &str| {
            let found: Result<_, StoreError> = store.read(|connection| Ok(keys::find(connection, id)?));
            found.unwrap()
        };
        assert_eq!(find("key_1"), Some(one.clone()));
        one.allowed_models = AllowedModels(None);
        one.team = None;
        one.revoked_at = Some(9);
        mutate(&store, vec![], |connection| keys::update(connection, one.clone())).unwrap();
        assert_eq!(find("key_1"), Some(one));
        let active: Result<Vec<KeyRow>, StoreError> = store.read(|connection| Ok(keys::active(connection)?));
        assert_eq!(active.unwrap(), [key("key_2", "acme")]);
        mutate(&store, vec![], |connection| tenants::delete(connection, "acme")).unwrap();
        assert_eq!(find("key_2"), None);
    });
}

#[test]
fn a_mutation_that_fails_leaves_nothing_behind() {
    on_each_database(|Fresh { store, .. }| {
        let failed = store.mutate::<(), StoreError>(&ACTOR, 1, |connection| {
            tenants::insert(connection, &tenant("acme"))?;
            Err(diesel::result::Error::NotFound.into())
        });
        assert!(failed.is_err());
        let left: Result<_, StoreError> = store.read(|connection| {
            let events: i64 = super::schema::admin_events::table.count().get_result(connection)?;
            Ok((tenants::all(connection)?.len(), changes::position(connection)?, events))
        });
        assert_eq!(left.unwrap(), (0, 0, 0));
    });
}

#[test]
fn mutations_from_many_threads_give_a_log_without_gaps() {
    on_each_database(|Fresh { store, url, .. }| {
        let other_process = Arc::new(Store::open(&url).unwrap());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = if thread % 2 == 0 { store.clone() } else { (*other_process).clone() };
                scope.spawn(move || {
                    for nth in 0..10 {
                        let changes = vec![Change::Tenant("t".into()), Change::Key(format!("k{nth}").into())];
                        mutate(&store, changes, |_| Ok(())).unwrap();
                    }
                });
            }
        });
        let read = |position| {
            let read: Result<_, StoreError> = store.read(|connection| Ok(changes::after(connection, position)?));
            read.unwrap()
        };
        assert_eq!(read(0).unwrap().len(), 80);
        assert_eq!(read(79).unwrap().len(), 1);
        assert_eq!(read(80), Some(vec![]));
        let forgotten: Result<_, StoreError> = store.write(|connection| {
            Ok(diesel::delete(super::schema::change_log::table.filter(super::schema::change_log::id.le(3))).execute(connection)?)
        });
        assert_eq!(forgotten.unwrap(), 3);
        assert_eq!(read(2), None);
    });
}

#[test]
fn opening_again_migrates_nothing_and_a_newer_database_is_refused() {
    on_each_database(|Fresh { store, url, .. }| {
        mutate(&store, vec![], |connection| tenants::insert(connection, &tenant("acme"))).unwrap();
        let again = Store::open(&url).unwrap();
        let found: Result<_, StoreError> = again.read(|connection| Ok(tenants::find(connection, "acme")?));
        assert_eq!(found.unwrap(), Some(tenant("acme")));
        let newer: Result<_, StoreError> = again.write(|connection| {
            Ok(diesel::sql_query("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')").execute(connection)?)
        });
        newer.unwrap();
        let refused = Store::open(&url).err().unwrap().to_string();
        assert!(refused.contains("newer aigw"), "{refused}");
    });
}

#[test]
fn the_database_file_and_its_companions_are_private() {
    let fresh = sqlite();
    store_entries(&fresh.store, vec![entry("a", 1, "acme")]);
    let DatabaseUrl::Sqlite(path) = &fresh.url else { unreachable!() };
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[test]
fn readers_cannot_write() {
    let fresh = sqlite();
    let written: Result<_, StoreError> = fresh.store.read(|connection| Ok(tenants::insert(connection, &tenant("acme"))?));
    assert!(matches!(written, Err(StoreError::Query(_))), "{written:?}");
}

#[test]
fn a_database_that_cannot_be_opened_gives_one_line_without_the_password() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "this is no database, however long it may be read").unwrap();
    let unusable = [
        DatabaseUrl::Sqlite(directory.path().to_owned()),
        DatabaseUrl::Sqlite(plain.join("aigw.db")),
        DatabaseUrl::Sqlite(plain),
        DatabaseUrl::Postgres(Arc::new(Secret::new("postgres://aigw:hunter2@127.0.0.1:1/aigw"))),
        DatabaseUrl::Postgres(Arc::new(Secret::new("postgres://aigw:hunter2@127.0.0.1:port/aigw"))),
    ];
    for url in unusable {
        let error = Store::open(&url).err().unwrap().to_string();
        assert!(error.lines().count() == 1 && error.contains("database.url") && !error.contains("hunter2"), "{error}");
    }
}
