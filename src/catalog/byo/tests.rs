use super::*;
use crate::catalog::account::SealedKey;
use crate::catalog::testing::{self, CHAT, model, provider};
use crate::config::{self, Auth, Kind, Price};
use crate::seal::names::{Epoch, Ring, Version};

fn kind(name: &str, auth: Auth) -> Arc<Kind> {
    testing::kind(name, auth, &[CHAT])
}

fn brokered(name: &str, kind: &Arc<Kind>) -> config::ProviderSettings {
    provider(name, kind, Some("the operator's key"))
}

/// Kinds `a` and `b`, each with a model of its own and both with `both`; brokered `1-a` and `10-b`.
fn offerings() -> Offerings {
    let (a, b) = (kind("a", Auth::Bearer), kind("b", Auth::None));
    let model = |id: &str, kinds: &[&str]| model(id, &[], kinds, Price::default());
    let catalog = config::CatalogSettings {
        providers: vec![brokered("1-a", &a), brokered("10-b", &b)],
        models: vec![model("both", &["a", "b"]), model("only-a", &["a"]), model("only-b", &["b"])],
        kinds: [a, b].into_iter().map(|kind| (kind.name.clone(), kind)).collect(),
    };
    Offerings::build(&catalog, None, 0)
}

fn tenant(broker_fallback: bool) -> Tenant {
    Tenant { broker_fallback, has_byo: true, ..Tenant::minimal("acme".into()) }
}

fn key() -> Option<Arc<SealedKey>> {
    Some(Arc::new(SealedKey { ring: Ring::main(), epoch: Epoch(1), version: Version(1), blob: vec![1] }))
}

fn account(name: &str, kind: &str) -> Arc<Account> {
    Arc::new(Account { name: name.into(), kind: kind.into(), base_url: None, enabled: true, key: key(), last4: None })
}

fn names(own: &TenantProviders, offerings: &Offerings, model: &str) -> Option<Vec<String>> {
    let chain = own.chain(offerings.model(model).unwrap())?;
    Some(chain.iter().map(|offer| format!("{}/{:?}", offer.provider.name, offer.provider.billing)).collect())
}

#[test]
fn brokered_providers_join_own_ones_only_with_broker_fallback() {
    let offerings = offerings();
    let accounts = || vec![account("2-mine", "a"), account("1-a", "a")];
    let own = TenantProviders::build(&tenant(false), accounts(), &offerings, false, &HighWaterMarks::default(), None);
    assert_eq!(names(&own, &offerings, "both").unwrap(), ["1-a/Byo", "2-mine/Byo"]);
    assert_eq!(names(&own, &offerings, "only-b"), None);
    let own = TenantProviders::build(&tenant(true), accounts(), &offerings, false, &HighWaterMarks::default(), None);
    assert_eq!(names(&own, &offerings, "both").unwrap(), ["1-a/Byo", "1-a/Brokered", "2-mine/Byo", "10-b/Brokered"]);
    let not_brokered = Tenant { brokered: false, ..tenant(true) };
    let own = TenantProviders::build(&not_brokered, accounts(), &offerings, false, &HighWaterMarks::default(), None);
    assert_eq!(names(&own, &offerings, "both").unwrap(), ["1-a/Byo", "2-mine/Byo"]);
}

#[test]
fn an_inactive_provider_has_a_reason_and_is_in_no_chain() {
    let offerings = offerings();
    let off = Arc::new(Account { name: "1-off".into(), enabled: false, kind: "a".into(), base_url: None, key: key(), last4: None });
    let own =
        TenantProviders::build(&tenant(false), vec![account("2-gone", "z"), off], &offerings, false, &HighWaterMarks::default(), None);
    assert_eq!(own.providers.iter().map(|own| own.inactive).collect::<Vec<_>>(), [Some(Inactive::Disabled), Some(Inactive::UnknownKind)]);
    assert_eq!(names(&own, &offerings, "both"), None);
}

#[test]
fn a_provider_is_reused_after_a_key_change_and_replaced_after_an_address_change() {
    let offerings = offerings();
    let first = TenantProviders::build(&tenant(false), vec![account("1-x", "a")], &offerings, false, &HighWaterMarks::default(), None);
    let newer = SealedKey { ring: Ring::main(), epoch: Epoch(1), version: Version(2), blob: vec![2] };
    let rekeyed =
        Arc::new(Account { name: "1-x".into(), kind: "a".into(), base_url: None, enabled: true, key: Some(Arc::new(newer)), last4: None });
    let second = TenantProviders::build(&tenant(false), vec![rekeyed], &offerings, false, &HighWaterMarks::default(), Some(&first));
    assert!(second.has(first.providers[0].provider.as_ref().unwrap()));
    let moved = Account {
        name: "1-x".into(),
        kind: "a".into(),
        base_url: Some("https://b.example/v1".to_owned()),
        enabled: true,
        key: key(),
        last4: None,
    };
    let third = TenantProviders::build(&tenant(false), vec![Arc::new(moved)], &offerings, false, &HighWaterMarks::default(), Some(&second));
    assert!(!third.has(first.providers[0].provider.as_ref().unwrap()));
}

#[test]
fn p6_the_destination_is_that_of_the_request_and_none_where_the_url_is_refused() {
    let offerings = offerings();
    let destination = |base_url: Option<&str>| {
        let account =
            Account { name: "1-x".into(), kind: "a".into(), base_url: base_url.map(str::to_owned), enabled: true, key: key(), last4: None };
        let own = TenantProviders::build(&tenant(false), vec![Arc::new(account)], &offerings, false, &HighWaterMarks::default(), None);
        let chain = own.chain(offerings.model("both").unwrap()).unwrap();
        let auth = chain[0].byo_auth.as_ref().unwrap();
        auth.destination.as_ref().map(|destination| destination.as_str().to_owned())
    };
    assert_eq!(destination(None).as_deref(), Some("https://a.example:443"));
    assert_eq!(destination(Some("https://evil.example/v1")).as_deref(), Some("https://evil.example:443"));
    for refused in ["http://a.example/v1", "https://a.example:8443/v1", "https://127.0.0.1/v1", "https://a.example@b.example/v1", "x"] {
        assert_eq!(destination(Some(refused)), None, "{refused}");
    }
}

#[test]
fn a_kind_without_authentication_needs_no_byo_auth() {
    let offerings = offerings();
    let own = TenantProviders::build(&tenant(false), vec![account("1-x", "b")], &offerings, false, &HighWaterMarks::default(), None);
    assert!(own.chain(offerings.model("only-b").unwrap()).unwrap()[0].byo_auth.is_none());
}

#[test]
fn a_rolled_back_key_makes_its_provider_inactive() {
    let offerings = offerings();
    let with = |name: &str, epoch: u32, version: u32| {
        let key = SealedKey { ring: Ring::main(), epoch: Epoch(epoch), version: Version(version), blob: vec![] };
        Account { name: name.into(), kind: "a".into(), base_url: None, enabled: true, key: Some(Arc::new(key)), last4: None }
    };
    let mut marks = HighWaterMarks::of(1, None);
    marks.advance(&with("1-x", 2, 5));
    marks.advance(&with("2-y", 2, 1));
    marks.advance(&with("1-x", 1, 4));
    for (account, passed) in [
        (with("1-x", 2, 5), false),
        (with("1-x", 3, 6), false),
        (with("1-x", 2, 4), true),
        (with("1-x", 1, 6), true),
        (with("2-y", 2, 1), false),
        (with("3-new", 2, 1), false),
        (with("3-new", 1, 7), true),
    ] {
        let own = TenantProviders::build(&tenant(false), vec![Arc::new(account)], &offerings, false, &marks, None);
        assert_eq!(own.rolled_back().count(), usize::from(passed), "{:?}", own.providers);
        assert_eq!(names(&own, &offerings, "both").is_none(), passed);
    }
    let again = HighWaterMarks::of(1, Some(&marks));
    assert!(
        again == marks && HighWaterMarks::of(2, Some(&marks)) == HighWaterMarks::of(2, None),
        "a new tenant under the same id starts without marks"
    );
}
