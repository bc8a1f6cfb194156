use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::catalog::own::marks::Marks;
use crate::config::{self, Cooldown, Kind, Price, Reach, RetryPolicy, Served};
use crate::secret::Secret;
use crate::terms::Operation;

fn retry() -> RetryPolicy {
    let second = Duration::from_secs(1);
    RetryPolicy {
        attempts: 2,
        backoff: second,
        max_backoff: second,
        connect_timeout: second,
        first_byte_timeout: second,
        idle_timeout: second,
        total_timeout: second,
        cooldown: Cooldown { failures: 5, window: second, rest: second },
    }
}

fn kind(name: &str, auth: Auth) -> Arc<Kind> {
    Arc::new(Kind {
        name: name.into(),
        dialect: &crate::dialect::openai::OpenAi,
        base_url: Some(format!("https://{name}.example/v1")),
        auth,
        headers: vec![],
        query: vec![],
        paths: BTreeMap::from([(Operation::Chat, "/chat/completions".to_owned())]),
        quirks: Arc::default(),
        reach: Reach::default(),
        retry: retry(),
    })
}

fn brokered(name: &str, kind: &Arc<Kind>) -> config::Provider {
    config::Provider {
        name: name.into(),
        kind: kind.clone(),
        api_key: Some(Arc::new(Secret::new("the operator's key"))),
        disabled: None,
        tenants: None,
        base_url: kind.base_url.clone(),
        headers: vec![],
        query: vec![],
        reach: Reach::default(),
        retry: retry(),
    }
}

/// Kinds `a` and `b`, each with a model of its own and both with `both`; brokered `1-a` and `10-b`.
fn offerings() -> Offerings {
    let (a, b) = (kind("a", Auth::Bearer), kind("b", Auth::None));
    let model = |id: &str, kinds: &[&str]| config::Model {
        id: id.into(),
        aliases: vec![],
        context_window: None,
        max_output_tokens: None,
        served_by: kinds
            .iter()
            .map(|kind| ((*kind).into(), Served { upstream_model: id.to_owned(), price: Arc::new(Price::default()) }))
            .collect(),
    };
    let catalog = config::Catalog {
        providers: vec![brokered("1-a", &a), brokered("10-b", &b)],
        models: vec![model("both", &["a", "b"]), model("only-a", &["a"]), model("only-b", &["b"])],
        kinds: [a, b].into_iter().map(|kind| (kind.name.clone(), kind)).collect(),
    };
    Offerings::build(&catalog, None, 0)
}

fn tenant(broker_fallback: bool) -> Tenant {
    Tenant { broker_fallback, has_own: true, ..Tenant::bare("acme".into()) }
}

fn key() -> Option<Arc<SealedKey>> {
    Some(Arc::new(SealedKey { ring: Ring::main(), epoch: Epoch(1), version: Version(1), blob: vec![1] }))
}

fn account(name: &str, kind: &str) -> Arc<Account> {
    Arc::new(Account { name: name.into(), kind: kind.into(), base_url: None, enabled: true, key: key(), last4: None })
}

fn names(own: &Own, offerings: &Offerings, model: &str) -> Option<Vec<String>> {
    let chain = own.chain(offerings.model(model).unwrap())?;
    Some(chain.iter().map(|offer| format!("{}/{:?}", offer.provider.name, offer.provider.billing)).collect())
}

#[test]
fn a_model_of_its_own_providers_is_not_served_by_the_operators_unless_asked() {
    let offerings = offerings();
    let accounts = || vec![account("2-mine", "a"), account("1-a", "a")];
    let own = Own::build(&tenant(false), accounts(), &offerings, false, &Marks::default(), None);
    assert_eq!(names(&own, &offerings, "both").unwrap(), ["1-a/Byo", "2-mine/Byo"]);
    assert_eq!(names(&own, &offerings, "only-b"), None);
    let own = Own::build(&tenant(true), accounts(), &offerings, false, &Marks::default(), None);
    assert_eq!(names(&own, &offerings, "both").unwrap(), ["1-a/Byo", "1-a/Brokered", "2-mine/Byo", "10-b/Brokered"]);
    let not_brokered = Tenant { brokered: false, ..tenant(true) };
    let own = Own::build(&not_brokered, accounts(), &offerings, false, &Marks::default(), None);
    assert_eq!(names(&own, &offerings, "both").unwrap(), ["1-a/Byo", "2-mine/Byo"]);
}

#[test]
fn a_provider_that_takes_no_part_says_why_and_is_in_no_chain() {
    let offerings = offerings();
    let off = Arc::new(Account { name: "1-off".into(), enabled: false, kind: "a".into(), base_url: None, key: key(), last4: None });
    let own = Own::build(&tenant(false), vec![account("2-gone", "z"), off], &offerings, false, &Marks::default(), None);
    assert_eq!(own.providers.iter().map(|own| own.idle).collect::<Vec<_>>(), [Some(Idle::Disabled), Some(Idle::NoKind)]);
    assert_eq!(names(&own, &offerings, "both"), None);
}

#[test]
fn a_provider_stays_the_same_while_its_key_changes_and_is_another_when_its_address_does() {
    let offerings = offerings();
    let first = Own::build(&tenant(false), vec![account("1-x", "a")], &offerings, false, &Marks::default(), None);
    let newer = SealedKey { ring: Ring::main(), epoch: Epoch(1), version: Version(2), blob: vec![2] };
    let rekeyed =
        Arc::new(Account { name: "1-x".into(), kind: "a".into(), base_url: None, enabled: true, key: Some(Arc::new(newer)), last4: None });
    let second = Own::build(&tenant(false), vec![rekeyed], &offerings, false, &Marks::default(), Some(&first));
    assert!(second.has(first.providers[0].provider.as_ref().unwrap()));
    let moved = Account {
        name: "1-x".into(),
        kind: "a".into(),
        base_url: Some("https://b.example/v1".to_owned()),
        enabled: true,
        key: key(),
        last4: None,
    };
    let third = Own::build(&tenant(false), vec![Arc::new(moved)], &offerings, false, &Marks::default(), Some(&second));
    assert!(!third.has(first.providers[0].provider.as_ref().unwrap()));
}

#[test]
fn p6_the_destination_is_that_of_the_request_and_none_where_the_url_is_refused() {
    let offerings = offerings();
    let destination = |base_url: Option<&str>| {
        let account =
            Account { name: "1-x".into(), kind: "a".into(), base_url: base_url.map(str::to_owned), enabled: true, key: key(), last4: None };
        let own = Own::build(&tenant(false), vec![Arc::new(account)], &offerings, false, &Marks::default(), None);
        let chain = own.chain(offerings.model("both").unwrap()).unwrap();
        let stamp = chain[0].stamp.as_ref().unwrap();
        stamp.destination.as_ref().map(|destination| destination.as_str().to_owned())
    };
    assert_eq!(destination(None).as_deref(), Some("https://a.example:443"));
    assert_eq!(destination(Some("https://evil.example/v1")).as_deref(), Some("https://evil.example:443"));
    for refused in ["http://a.example/v1", "https://a.example:8443/v1", "https://127.0.0.1/v1", "https://a.example@b.example/v1", "x"] {
        assert_eq!(destination(Some(refused)), None, "{refused}");
    }
}

#[test]
fn a_kind_that_takes_no_key_has_no_stamp() {
    let offerings = offerings();
    let own = Own::build(&tenant(false), vec![account("1-x", "b")], &offerings, false, &Marks::default(), None);
    assert!(own.chain(offerings.model("only-b").unwrap()).unwrap()[0].stamp.is_none());
}

#[test]
fn a_key_that_is_older_than_one_before_takes_no_part() {
    let offerings = offerings();
    let with = |name: &str, epoch: u32, version: u32| {
        let key = SealedKey { ring: Ring::main(), epoch: Epoch(epoch), version: Version(version), blob: vec![] };
        Account { name: name.into(), kind: "a".into(), base_url: None, enabled: true, key: Some(Arc::new(key)), last4: None }
    };
    let mut marks = Marks::of(1, None);
    marks.raise(&with("1-x", 2, 5));
    marks.raise(&with("2-y", 2, 1));
    marks.raise(&with("1-x", 1, 4));
    for (account, passed) in [
        (with("1-x", 2, 5), false),
        (with("1-x", 3, 6), false),
        (with("1-x", 2, 4), true),
        (with("1-x", 1, 6), true),
        (with("2-y", 2, 1), false),
        (with("3-new", 2, 1), false),
        (with("3-new", 1, 7), true),
    ] {
        let own = Own::build(&tenant(false), vec![Arc::new(account)], &offerings, false, &marks, None);
        assert_eq!(own.rolled_back().count(), usize::from(passed), "{:?}", own.providers);
        assert_eq!(names(&own, &offerings, "both").is_none(), passed);
    }
    let again = Marks::of(1, Some(&marks));
    assert!(again == marks && Marks::of(2, Some(&marks)) == Marks::of(2, None), "another tenant under the same id begins anew");
}
