use super::*;
use crate::config::{Auth, Cooldown, Kind, Reach, Served};
use crate::secret::Secret;
use crate::terms::PicoUsd;
use std::time::Duration;

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

fn kind(name: &str, auth: Auth, paths: &[(Operation, &str)]) -> Arc<Kind> {
    Arc::new(Kind {
        name: name.into(),
        dialect: &crate::dialect::openai::OpenAi,
        base_url: Some(format!("https://{name}.example/v1")),
        auth,
        headers: vec![],
        query: vec![],
        paths: paths.iter().map(|(operation, path)| (*operation, (*path).to_owned())).collect(),
        quirks: Arc::default(),
        reach: Reach::default(),
        retry: retry(),
    })
}

fn provider(name: &str, kind: &Arc<Kind>, key: Option<&str>) -> config::Provider {
    config::Provider {
        name: name.into(),
        kind: kind.clone(),
        api_key: key.map(|key| Arc::new(Secret::new(key))),
        disabled: None,
        tenants: None,
        base_url: kind.base_url.clone(),
        headers: vec![("x-title".into(), "aigw".into())],
        query: vec![],
        reach: Reach::default(),
        retry: retry(),
    }
}

fn model(id: &str, aliases: &[&str], kinds: &[&str]) -> config::Model {
    let served = Served { upstream_model: format!("up/{id}"), price: Arc::new(Price { request: PicoUsd(1), ..Price::default() }) };
    config::Model {
        id: id.into(),
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        context_window: None,
        max_output_tokens: Some(10),
        served_by: kinds.iter().map(|kind| ((*kind).into(), served.clone())).collect(),
    }
}

const CHAT: (Operation, &str) = (Operation::Chat, "/chat/completions");
const EMBEDDINGS: (Operation, &str) = (Operation::Embeddings, "deployments/{model}/embeddings");

/// Two kinds, `a` with chat and embeddings and `b` with chat alone; `10-b`, `2-a`, and `1-acme` only for acme.
fn catalog() -> config::Catalog {
    let a = kind("a", Auth::Bearer, &[CHAT, EMBEDDINGS]);
    let b = kind("b", Auth::Header("api-key".into()), &[CHAT]);
    let acme = config::Provider { tenants: Some(vec!["acme".into()]), ..provider("1-acme", &b, Some("key of acme's own")) };
    let off = config::Provider { disabled: Some(config::Disabled::ByOperator), ..provider("0-off", &a, Some("k")) };
    config::Catalog {
        kinds: [("a".into(), a.clone()), ("b".into(), b.clone())].into(),
        providers: vec![provider("10-b", &b, Some("key-of-b-1234")), acme, off, provider("2-a", &a, Some("key-of-a-5678"))],
        models: vec![model("m", &["alias"], &["a", "b"]), model("only-a", &[], &["a"]), model("orphan", &[], &["c"])],
    }
}

fn snapshot() -> Snapshot {
    Snapshot { offerings: Arc::new(Offerings::build(&catalog(), None, 7)), directory: Arc::default() }
}

fn caller(tenant: &str) -> Caller {
    Caller { subject: "s".into(), ..Caller::bare(Arc::new(Tenant::bare(tenant.into())), "key_1".into(), [0; 32]) }
}

fn names(chain: &Chain) -> Vec<&str> {
    chain.iter().map(|offer| offer.provider.name.as_str()).collect()
}

#[test]
fn the_chain_follows_natural_order_and_leaves_out_what_is_off_or_anothers() {
    let snapshot = snapshot();
    let chain = |tenant: &str| snapshot.find(&caller(tenant), "alias").unwrap().chain;
    assert_eq!(names(&chain("other")), ["2-a", "10-b"]);
    assert_eq!(names(&chain("acme")), ["1-acme", "2-a", "10-b"]);
}

#[test]
fn a_chain_that_is_everybodys_is_shared() {
    let snapshot = snapshot();
    let chain = || snapshot.find(&caller("other"), "only-a").unwrap().chain;
    assert!(Arc::ptr_eq(&chain(), &chain()));
}

#[test]
fn unknown_forbidden_and_unserved_models_look_alike() {
    let snapshot = snapshot();
    let picky = Caller { allowed_models: Some(vec!["only-a".into()]), ..caller("acme") };
    let byo_only = Caller { tenant: Arc::new(Tenant { brokered: false, ..(*caller("x").tenant).clone() }), ..caller("x") };
    for (caller, model) in [(&caller("acme"), "nope"), (&caller("acme"), "orphan"), (&picky, "m"), (&byo_only, "m")] {
        assert!(snapshot.find(caller, model).is_none(), "{model}");
    }
}

#[test]
fn allowed_models_may_name_an_id_or_an_alias() {
    let snapshot = snapshot();
    for allowed in ["m", "alias"] {
        let caller = Caller { allowed_models: Some(vec![allowed.into()]), ..caller("acme") };
        for asked in ["m", "alias"] {
            assert_eq!(snapshot.find(&caller, asked).unwrap().model.definition.id.as_str(), "m");
        }
        assert_eq!(snapshot.models_for(&caller).map(|resolved| resolved.model.definition.id.to_string()).collect::<Vec<_>>(), ["m"]);
    }
}

#[test]
fn each_offer_of_a_chain_knows_what_it_can_do() {
    let snapshot = snapshot();
    let chain = |tenant: &str| snapshot.find(&caller(tenant), "m").unwrap().chain;
    let able: Chain = chain("other").iter().filter(|offer| offer.can_do(Operation::Embeddings)).cloned().collect();
    assert_eq!(names(&able), ["2-a"], "10-b cannot");
    assert!(!chain("acme")[0].can_do(Operation::Embeddings));
}

#[test]
fn targets_hold_the_model_and_the_query_percent_encoded() {
    let mut catalog = catalog();
    catalog.providers[3].query = vec![("api-version".into(), "2024-10-21 x".into()), ("b".into(), "ü&".into())];
    let offerings = Offerings::build(&catalog, None, 0);
    let offer = &offerings.model("m").unwrap().offers[1];
    let target = |operation| offer.targets.get(&operation).map(ToString::to_string);
    let query = "?api-version=2024-10-21%20x&b=%C3%BC%26";
    assert_eq!(target(Operation::Chat).unwrap(), format!("https://a.example/v1/chat/completions{query}"));
    assert_eq!(target(Operation::Embeddings).unwrap(), format!("https://a.example/v1/deployments/up%2Fm/embeddings{query}"));
    assert_eq!(target(Operation::Completions), None);
}

#[test]
fn credentials_travel_in_their_header_and_are_marked_sensitive() {
    let offerings = snapshot().offerings;
    let credential = |at: usize| offerings.providers[at].provider.credential.clone().unwrap();
    let (name, value) = credential(2);
    assert_eq!((name.as_str(), value.as_bytes(), value.is_sensitive()), ("authorization", &b"Bearer key-of-a-5678"[..], true));
    let (name, value) = credential(3);
    assert_eq!((name.as_str(), value.as_bytes(), value.is_sensitive()), ("api-key", &b"key-of-b-1234"[..], true));
    assert_eq!(offerings.providers[3].last4.as_deref(), Some("1234"));
    assert!(!format!("{offerings:?}").contains("key-of"));
}

#[test]
fn a_provider_without_the_key_its_kind_wants_makes_no_offer() {
    let mut catalog = catalog();
    catalog.providers[3].api_key = None;
    let offerings = Offerings::build(&catalog, None, 0);
    assert!(offerings.model("only-a").unwrap().offers.is_empty());
}

#[test]
fn unchanged_providers_outlive_a_rebuild() {
    let before = Offerings::build(&catalog(), None, 0);
    let mut changed = catalog();
    changed.providers[0].api_key = Some(Arc::new(Secret::new("another-key-of-b")));
    let after = Offerings::build(&changed, Some(&before), 1);
    let same: Vec<bool> = before.providers.iter().zip(&after.providers).map(|(a, b)| Arc::ptr_eq(&a.provider, &b.provider)).collect();
    assert_eq!(same, [true, true, true, false]);
}
