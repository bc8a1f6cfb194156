use super::*;
use crate::catalog::caller::Tenant;
use crate::catalog::testing::catalog;
use crate::terms::Operation;

fn snapshot() -> Snapshot {
    Snapshot { offerings: Arc::new(Offerings::build(&catalog(), None, 7)), directory: Arc::default() }
}

fn caller(tenant: &str) -> Caller {
    Caller { subject: "s".into(), ..Caller::minimal(Arc::new(Tenant::minimal(tenant.into())), "key_1".into(), [0; 32]) }
}

fn names(chain: &Chain) -> Vec<&str> {
    chain.iter().map(|offer| offer.provider.name.as_str()).collect()
}

#[test]
fn a_chain_follows_natural_order_without_disabled_and_reserved_providers() {
    let snapshot = snapshot();
    let chain = |tenant: &str| snapshot.find(&caller(tenant), "alias").unwrap().chain;
    assert_eq!(names(&chain("other")), ["2-a", "10-b"]);
    assert_eq!(names(&chain("acme")), ["1-acme", "2-a", "10-b"]);
}

#[test]
fn a_chain_common_to_all_tenants_is_shared() {
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
fn each_offer_of_a_chain_knows_its_operations() {
    let snapshot = snapshot();
    let chain = |tenant: &str| snapshot.find(&caller(tenant), "m").unwrap().chain;
    let able: Chain = chain("other").iter().filter(|offer| offer.can_do(Operation::Embeddings)).cloned().collect();
    assert_eq!(names(&able), ["2-a"], "10-b cannot");
    assert!(!chain("acme")[0].can_do(Operation::Embeddings));
}
