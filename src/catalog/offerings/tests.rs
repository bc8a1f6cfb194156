use super::*;
use crate::catalog::testing::catalog;
use crate::secret::Secret;
use crate::terms::Operation;

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
    let offerings = Offerings::build(&catalog(), None, 7);
    let credential = |at: usize| offerings.providers[at].provider.credential.clone().unwrap();
    let (name, value) = credential(2);
    assert_eq!((name.as_str(), value.as_bytes(), value.is_sensitive()), ("authorization", &b"Bearer key-of-a-5678"[..], true));
    let (name, value) = credential(3);
    assert_eq!((name.as_str(), value.as_bytes(), value.is_sensitive()), ("api-key", &b"key-of-b-1234"[..], true));
    assert_eq!(offerings.providers[3].last4.as_deref(), Some("1234"));
    assert!(!format!("{offerings:?}").contains("key-of"));
}

#[test]
fn a_provider_without_a_required_key_makes_no_offer() {
    let mut catalog = catalog();
    catalog.providers[3].api_key = None;
    let offerings = Offerings::build(&catalog, None, 0);
    assert!(offerings.model("only-a").unwrap().offers.is_empty());
}

#[test]
fn unchanged_providers_are_reused_by_a_rebuild() {
    let before = Offerings::build(&catalog(), None, 0);
    let mut changed = catalog();
    changed.providers[0].api_key = Some(Arc::new(Secret::new("another-key-of-b")));
    let after = Offerings::build(&changed, Some(&before), 1);
    let same: Vec<bool> = before.providers.iter().zip(&after.providers).map(|(a, b)| Arc::ptr_eq(&a.provider, &b.provider)).collect();
    assert_eq!(same, [true, true, true, false]);
}
