use super::*;
use crate::catalog::caller::Tenant;
use crate::catalog::provider::Provider;
use crate::config::{Cooldown, Price, RetryPolicy};
use crate::credential::Credential;
use crate::guard::{NetworkAccess, Policy, SelfListen, Source, check_url};
use crate::seal::context::{GrantContext, SecretContext};
use crate::seal::derivation::{EdgeKey, GrantKey, SpendKey, TenantRoot};
use crate::seal::names::{EdgeId, Epoch, Ring, Version};
use crate::seal::payload::{Destination, Presentation};
use crate::seal::seal;
use crate::terms::{Billing, KeyId, ProviderName, TenantId};

const URL: &str = "https://api.example.com/v1";

/// A tenant with a provider key, a virtual key that may spend it, and the gateway that it may be
/// spent at.
struct ByoFixture {
    key: Credential,
    caller: Caller,
    offer: Offer,
    edge: Arc<Edge>,
}

fn destination(url: &str) -> Destination {
    let policy = Policy { source: Source::Operator(NetworkAccess::default()), self_listen: SelfListen::default() };
    Destination::from(&check_url(url, &policy).unwrap())
}

fn edge() -> Arc<Edge> {
    let credential = Credential::mint(CredentialKind::Edge).unwrap();
    Arc::new(Edge { id: EdgeId::local(), key: EdgeKey::of(&credential).unwrap() })
}

fn second() -> RetryPolicy {
    let second = Duration::from_secs(1);
    RetryPolicy {
        attempts: 1,
        backoff: second,
        max_backoff: second,
        connect_timeout: second,
        first_byte_timeout: second,
        idle_timeout: second,
        total_timeout: second,
        cooldown: Cooldown { failures: 0, window: second, rest: second },
    }
}

impl ByoFixture {
    fn new() -> Self {
        let (tenant, key_id, name) = (TenantId::from("acme"), KeyId::from("key_1"), ProviderName::from("1-mine"));
        let (ring, epoch, version) = (Ring::main(), Epoch(1), Version(1));
        let (root, edge, key) = (TenantRoot::generate().unwrap(), edge(), Credential::mint(CredentialKind::Virtual).unwrap());
        let spend_key = SpendKey::of(&root, &ring, epoch);
        let context = GrantContext { tenant: &tenant, key_id: &key_id, edge_id: &edge.id, ring: &ring, epoch };
        let grant_key = GrantKey::of(&edge.key, &WrapKey::of(&key).unwrap(), &edge.id);
        let grant = Grant { ring: ring.clone(), epoch, blob: seal(&context, &grant_key, &spend_key).unwrap().into() };
        let payload = KeyPayload::new([destination(URL)], Presentation::Bearer, Secret::new("sk-of-acme")).unwrap();
        let context = SecretContext { tenant: &tenant, ring: &ring, name: &name, version, epoch };
        let sealed = SealedKey { blob: seal(&context, &spend_key, &payload).unwrap(), ring, epoch, version };
        let owner = Arc::new(Tenant { broker_fallback: true, has_byo: true, ..Tenant::minimal(tenant.clone()) });
        let caller = Caller { subject: "s".into(), grants: vec![grant], ..Caller::minimal(owner, key_id, key.lookup()) };
        let provider = Arc::new(Provider {
            name,
            kind: "k".into(),
            billing: Billing::Byo,
            tenants: Some(vec![tenant]),
            dialect: &crate::dialect::openai::OpenAi,
            quirks: Arc::default(),
            base_url: Some(URL.to_owned()),
            headers: vec![],
            credential: None,
            source: Source::Operator(NetworkAccess::default()),
            retry: second(),
        });
        let auth = ByoAuth { key: Some(Arc::new(sealed)), destination: Some(destination(URL)) };
        let offer = Offer {
            provider,
            model: "m".into(),
            upstream_model: "m".into(),
            targets: std::collections::BTreeMap::new(),
            price: Arc::new(Price::default()),
            max_output_tokens: None,
            byo_auth: Some(auth),
        };
        Self { key, caller, offer, edge }
    }

    fn presented(&self) -> Presented {
        Presented::new(self.key.text().expose())
    }

    fn authorize(&self, byo_keys: &ByoKeys, presented: Option<&Presented>) -> Result<String, ByoError> {
        let auth = self.offer.byo_auth.as_ref().unwrap();
        let (name, value) = byo_keys.authorize(presented, &self.caller, &self.offer, auth, &"req".into())?;
        assert!(value.is_sensitive());
        Ok(format!("{name}: {}", value.to_str().unwrap()))
    }

    fn auth(&mut self) -> &mut ByoAuth {
        self.offer.byo_auth.as_mut().unwrap()
    }
}

fn byo_keys(edge: Option<&Arc<Edge>>) -> ByoKeys {
    ByoKeys::new(edge.cloned(), Duration::from_secs(60))
}

#[test]
fn virtual_key_edge_and_grant_together_pay() {
    let world = ByoFixture::new();
    let byo_keys = byo_keys(Some(&world.edge));
    for _ in 0..2 {
        assert_eq!(world.authorize(&byo_keys, Some(&world.presented())).unwrap(), "authorization: Bearer sk-of-acme");
    }
}

#[test]
fn without_one_of_them_nothing_opens() {
    let mut world = ByoFixture::new();
    let own = world.presented();
    assert_eq!(world.authorize(&byo_keys(None), Some(&own)), Err(ByoError::Unopened));
    assert_eq!(world.authorize(&byo_keys(Some(&edge())), Some(&own)), Err(ByoError::Unopened));
    assert_eq!(world.authorize(&byo_keys(Some(&world.edge)), None), Err(ByoError::Unopened));
    let other = Credential::mint(CredentialKind::Virtual).unwrap();
    assert_eq!(world.authorize(&byo_keys(Some(&world.edge)), Some(&Presented::new(other.text().expose()))), Err(ByoError::Unopened));
    let grants = std::mem::take(&mut world.caller.grants);
    assert_eq!(world.authorize(&byo_keys(Some(&world.edge)), Some(&own)), Err(ByoError::Unopened));
    world.caller.grants = grants;
    world.auth().key = None;
    assert_eq!(world.authorize(&byo_keys(Some(&world.edge)), Some(&own)), Err(ByoError::Unopened));
}

#[test]
fn p6_a_key_goes_nowhere_it_is_not_sealed_for() {
    let mut world = ByoFixture::new();
    let byo_keys = byo_keys(Some(&world.edge));
    for url in ["https://evil.example.com/v1", "https://api.example.com.evil.com/v1"] {
        world.auth().destination = Some(destination(url));
        assert_eq!(world.authorize(&byo_keys, Some(&world.presented())), Err(ByoError::Misdirected));
    }
    world.auth().destination = None;
    assert_eq!(world.authorize(&byo_keys, Some(&world.presented())), Err(ByoError::Misdirected));
}

#[test]
fn p9_what_was_opened_is_gone_once_something_has_changed() {
    let mut world = ByoFixture::new();
    let byo_keys = byo_keys(Some(&world.edge));
    world.authorize(&byo_keys, Some(&world.presented())).unwrap();
    // The blob is damaged now, but what was opened before still pays: until something changes.
    let key = world.auth().key.take().unwrap();
    let damaged = SealedKey { ring: key.ring.clone(), epoch: key.epoch, version: key.version, blob: vec![0; 200] };
    world.auth().key = Some(Arc::new(damaged));
    world.authorize(&byo_keys, Some(&world.presented())).unwrap();
    byo_keys.sweep();
    world.authorize(&byo_keys, Some(&world.presented())).unwrap();
    byo_keys.purge();
    assert_eq!(world.authorize(&byo_keys, Some(&world.presented())), Err(ByoError::Unopened));
}

#[test]
fn p3_a_presented_key_prints_redacted() {
    let world = ByoFixture::new();
    assert!(!format!("{:?}", world.presented()).contains(&world.key.text().expose()[8..20]));
}
