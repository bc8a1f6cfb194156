use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::RolledUp;
use crate::control::store::entries::LedgerFilter;
use crate::control::store::testing::{Fresh, on_each_database};
use crate::control::store::usage::{BucketWidth, Dimension, Totals, UsageQuery, month_of, usage};
use crate::control::store::{Store, StoreError, entries};
use crate::ledger::entry::{Entry, Outcome, UsageSource};
use crate::ledger::{Batch, EntrySink};
use crate::terms::{Billing, NanoUsd, Operation, Usage};

type Sums = BTreeMap<(Option<i64>, Vec<Option<String>>), Totals>;

const DAY: i64 = 86_400_000;

/// An entry of few values, so that some have them in common.
fn any_entry() -> impl Strategy<Value = Entry> {
    let money = prop_oneof![Just(0), Just(1), 0..5_000_000_000_i64, 0..1_000_000_000_000_000_i64];
    let name = |names: &'static [&'static str]| proptest::sample::select(names);
    let sides =
        (name(&["ada", "bob", "Ünal \"x\""]), name(&["m1", "m2"]), name(&["1-a", "2-b"]), proptest::option::of(name(&["red", "blue"])));
    let tags = (proptest::option::of(name(&["apollo", "zeus"])), proptest::option::of(name(&["dev", "a=b, c"])));
    let counts = (0..1_000_u64, 0..1_000_000_000_u64, 0..1_000_u64);
    (0..400 * DAY, sides, tags, counts, money, name(&["ok", "client_closed"]), any::<bool>()).prop_map(
        |(created_at, (subject, model, provider, team), (project, stage), (cached, rest, completion), money, outcome, is_byo)| Entry {
            id: String::new(),
            request_id: "r".into(),
            created_at,
            tenant: "".into(),
            team: team.map(Into::into),
            key_id: format!("key_{subject}").into(),
            subject: subject.into(),
            user: None,
            tags: [("project", project), ("stage", stage)]
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
                .collect(),
            operation: Operation::Chat,
            model: model.into(),
            upstream_model: model.into(),
            provider: provider.into(),
            kind: "k".into(),
            billing: if is_byo { Billing::Byo } else { Billing::Brokered },
            stream: false,
            status: 200,
            outcome: Outcome::from_name(outcome).unwrap(),
            error_code: None,
            finish_reason: None,
            usage: Usage {
                prompt_tokens: cached + rest,
                cached_tokens: cached,
                cache_write_tokens: rest / 2,
                cache_write_1h_tokens: rest / 4,
                completion_tokens: completion,
                reasoning_tokens: completion / 3,
            },
            usage_source: UsageSource::Upstream,
            cost: NanoUsd(if is_byo { 0 } else { money }),
            list_cost: NanoUsd(money),
            attempts: vec![],
            latency_ms: 1,
            ttfb_ms: None,
        },
    )
}

fn queries(tenant: &str) -> Vec<UsageQuery> {
    let tag = |name: &str| Dimension::Tag(name.to_owned());
    let groupings = [
        vec![],
        vec![Dimension::Model],
        vec![Dimension::Subject, Dimension::Model],
        vec![Dimension::Team, Dimension::Provider],
        vec![tag("project")],
        vec![tag("stage"), Dimension::Key, tag("project")],
        vec![Dimension::Tenant, Dimension::Team, Dimension::Key, Dimension::Subject, Dimension::Model, Dimension::Provider, tag("stage")],
    ];
    let mut queries = Vec::new();
    for group_by in groupings {
        for bucket_width in [None, Some(BucketWidth::Month)] {
            let everything = LedgerFilter { tenant: Some(tenant.to_owned()), ..LedgerFilter::default() };
            let filters = [
                LedgerFilter { tag: Some(("project".to_owned(), Some("zeus".to_owned()))), ..everything.clone() },
                LedgerFilter { outcome: Some(Outcome::Ok), model: Some("m1".to_owned()), ..everything.clone() },
                // Whole months: 1970-02 to 1970-12.
                LedgerFilter { from: Some(31 * DAY), to: Some(334 * DAY), ..everything.clone() },
                everything,
            ];
            queries.extend(filters.map(|filter| UsageQuery { filter, group_by: group_by.clone(), bucket_width, ..UsageQuery::default() }));
        }
    }
    queries
}

fn answer(store: &Store, query: &UsageQuery) -> Sums {
    let rows: Result<_, StoreError> = store.read(|connection| Ok(usage(connection, query)?));
    rows.unwrap().unwrap().into_iter().map(|row| ((row.bucket, row.group), row.totals)).collect()
}

/// The same, from the entries, without SQL.
fn reckon(entries: &[Entry], query: &UsageQuery) -> Sums {
    let mut sums = Sums::new();
    if query.group_by.is_empty() && query.bucket_width.is_none() {
        sums.insert((None, vec![]), Totals::default());
    }
    let filter = &query.filter;
    for entry in entries {
        let tag = |name: &str| entry.tags.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let is_meant = filter.outcome.is_none_or(|outcome| outcome == entry.outcome)
            && filter.model.as_deref().is_none_or(|model| model == entry.model.as_str())
            && filter.from.is_none_or(|from| from <= entry.created_at)
            && filter.to.is_none_or(|to| entry.created_at < to)
            && filter.tag.as_ref().is_none_or(|(name, value)| tag(name) == *value);
        if !is_meant {
            continue;
        }
        let group = query.group_by.iter().map(|dimension| match dimension {
            Dimension::Tenant => Some(entry.tenant.to_string()),
            Dimension::Team => entry.team.as_deref().map(str::to_owned),
            Dimension::Key => Some(entry.key_id.to_string()),
            Dimension::Subject => Some(entry.subject.to_string()),
            Dimension::Model => Some(entry.model.to_string()),
            Dimension::Provider => Some(entry.provider.to_string()),
            Dimension::Tag(name) => tag(name),
        });
        let bucket = query.bucket_width.and_then(|_| month_of(entry.created_at));
        let signed = |count: u64| i64::try_from(count).unwrap();
        sums.entry((bucket, group.collect())).or_default().add(&Totals {
            requests: 1,
            prompt_tokens: signed(entry.usage.prompt_tokens),
            cached_tokens: signed(entry.usage.cached_tokens),
            cache_write_tokens: signed(entry.usage.cache_write_tokens),
            completion_tokens: signed(entry.usage.completion_tokens),
            reasoning_tokens: signed(entry.usage.reasoning_tokens),
            cost_nanousd: entry.cost.0,
            list_cost_nanousd: entry.list_cost.0,
        });
    }
    sums
}

fn left(store: &Store, tenant: &str) -> Vec<i64> {
    let filter = LedgerFilter { tenant: Some(tenant.to_owned()), ..LedgerFilter::default() };
    let page: Result<_, StoreError> = store.read(|connection| Ok(entries::page(connection, &filter, None, 10_000)?));
    page.unwrap().into_iter().map(|entry| entry.created_at).collect()
}

fn roll_up_all(store: &Store, before: i64) -> usize {
    let mut all = 0;
    loop {
        match store.roll_up(before, 7).unwrap() {
            RolledUp::Entries(0) => return all,
            RolledUp::Entries(count) => all += count,
            RolledUp::Elsewhere => std::thread::yield_now(),
        }
    }
}

#[test]
fn sums_over_any_grouping_are_those_of_the_entries_before_and_after_they_are_rolled_up() {
    static CASES: AtomicUsize = AtomicUsize::new(0);
    on_each_database(|Fresh { store, .. }| {
        let case = (proptest::collection::vec(any_entry(), 0..60), proptest::collection::vec(0..400 * DAY, 1..4));
        let mut runner = TestRunner::new(Config { cases: 10, max_shrink_iters: 40, ..Config::default() });
        let ran = runner.run(&case, |(mut entries, mut cuts)| {
            let tenant = format!("t{}", CASES.fetch_add(1, Ordering::Relaxed));
            for (nth, entry) in entries.iter_mut().enumerate() {
                entry.id = format!("{tenant}-{nth}");
                entry.tenant = tenant.as_str().into();
            }
            store.sink().store(&Batch { entries: entries.clone(), ..Batch::default() }).unwrap();
            let queries = queries(&tenant);
            for query in &queries {
                prop_assert_eq!(answer(&store, query), reckon(&entries, query), "before, {:?}", query);
            }
            cuts.sort_unstable();
            for cut in cuts {
                roll_up_all(&store, cut);
                prop_assert!(left(&store, &tenant).into_iter().all(|created_at| created_at >= cut));
                prop_assert_eq!(left(&store, &tenant).len(), entries.iter().filter(|entry| entry.created_at >= cut).count());
                for query in &queries {
                    prop_assert_eq!(answer(&store, query), reckon(&entries, query), "after {}, {:?}", cut, query);
                }
            }
            prop_assert_eq!(roll_up_all(&store, 0), 0);
            Ok(())
        });
        ran.unwrap_or_else(|failure| panic!("{failure}"));
    });
}

#[test]
fn several_processes_that_roll_up_together_count_nothing_twice() {
    on_each_database(|Fresh { store, url, .. }| {
        let mut entry = any_entry().new_tree(&mut TestRunner::deterministic()).unwrap().current();
        entry.tenant = "acme".into();
        entry.cost = NanoUsd(3);
        let many = (0..400).map(|nth| Entry { id: format!("e{nth}"), created_at: nth, ..entry.clone() });
        store.sink().store(&Batch { entries: many.collect(), ..Batch::default() }).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let url = &url;
                scope.spawn(move || {
                    let other = Store::open(url).unwrap();
                    for _ in 0..20 {
                        other.roll_up(300, 11).unwrap();
                    }
                });
            }
        });
        let rolled = roll_up_all(&store, 300);
        assert!(rolled <= 300);
        assert_eq!(left(&store, "acme").len(), 100);
        let totals = answer(&store, &UsageQuery::default()).remove(&(None, vec![])).unwrap();
        assert_eq!((totals.requests, totals.cost_nanousd), (400, 1_200));
    });
}
