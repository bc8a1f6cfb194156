use super::*;
use crate::credential::{Credential, CredentialKind};
use crate::guard::{Policy, SelfListen, Source, check_url};
use crate::seal::blob::seal;
use crate::seal::derivation::{SpendKey, TenantRoot};
use crate::seal::payload::{Destination, Misdirected, Presentation};
use crate::secret::Secret;

struct Stored {
    spend: SpendRequest,
    edge: Edge,
    presented: Credential,
    grant: Vec<u8>,
    secret: Vec<u8>,
}

fn destination(url: &str) -> Destination {
    let policy = Policy { source: Source::TenantUrl { private_upstreams: false }, self_listen: SelfListen::default() };
    Destination::from(&check_url(url, &policy).unwrap())
}

fn stored() -> Stored {
    let spend = SpendRequest {
        tenant: "acme".into(),
        key_id: "key_1".into(),
        ring: Ring::main(),
        epoch: Epoch(3),
        name: "1-openai".into(),
        version: Version(2),
    };
    let edge = Edge { id: EdgeId::local(), key: EdgeKey::of(&Credential::mint(CredentialKind::Edge).unwrap()).unwrap() };
    let presented = Credential::mint(CredentialKind::Virtual).unwrap();
    let spend_key = SpendKey::of(&TenantRoot::generate().unwrap(), &spend.ring, spend.epoch);
    let grant_key = GrantKey::of(&edge.key, &WrapKey::of(&presented).unwrap(), &edge.id);
    let payload = KeyPayload::new([destination("https://api.openai.com")], Presentation::Bearer, Secret::new("sk-provider")).unwrap();
    Stored {
        grant: seal(&spend.grant_at(&edge.id), &grant_key, &spend_key).unwrap(),
        secret: seal(&spend.secret(), &spend_key, &payload).unwrap(),
        spend,
        edge,
        presented,
    }
}

#[test]
fn a_granted_key_opens_the_provider_key_for_its_destination_only() {
    let Stored { spend, edge, presented, grant, secret } = stored();
    let payload = spend.open(&edge, WrapKey::of(&presented).unwrap(), &grant, &secret).unwrap();
    let (name, value) = payload.header_for(&destination("https://api.openai.com/v1")).unwrap();
    assert_eq!((name.as_str(), value.as_bytes()), ("authorization", &b"Bearer sk-provider"[..]));
    assert_eq!(payload.header_for(&destination("https://api.openai.com.evil.example")).unwrap_err(), Misdirected);
}

#[test]
fn the_error_names_the_blob_that_does_not_open() {
    let Stored { spend, edge, presented, grant, secret } = stored();
    let open = |spend: &SpendRequest, grant: &[u8], secret: &[u8]| {
        spend.open(&edge, WrapKey::of(&presented).unwrap(), grant, secret).map(|_| ()).unwrap_err()
    };
    let other_version = SpendRequest { version: Version(1), ..spend.clone() };
    assert_eq!(open(&other_version, &grant, &secret), SpendError::Secret(Unopened));
    let other_epoch = SpendRequest { epoch: Epoch(2), ..spend.clone() };
    assert_eq!(open(&other_epoch, &grant, &secret), SpendError::Grant(Unopened));
    assert_eq!(open(&spend, &secret, &grant), SpendError::Grant(Unopened));
    assert_eq!(open(&spend, &grant, b""), SpendError::Secret(Unopened));
    assert_eq!(open(&spend, b"", &secret), SpendError::Grant(Unopened));
}

#[test]
fn p3_an_edge_prints_only_its_id() {
    let Stored { edge, .. } = stored();
    assert_eq!(format!("{edge:?}"), "Edge { id: \"local\", key: EdgeKey([redacted]) }");
}
