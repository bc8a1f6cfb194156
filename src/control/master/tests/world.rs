//! Fixture: two tenants and two edges with all their stored blobs.

use crate::control::master::AuditPrivateKey;
use crate::control::master::keyring::{AuditKeyOf, EdgeOf, Keyring, RootOf, Under, Wrappable};
use crate::credential::{Credential, CredentialKind};
use crate::guard::{Policy, SelfListen, Source, check_url};
use crate::seal::blob::{open, seal};
use crate::seal::context::{Context, EscrowContext, GrantContext, JobContext, SecretContext, TenantKeyRootContext};
use crate::seal::derivation::{EdgeKey, EscrowKey, GrantKey, JobKey, SpendKey, TenantRoot, TenantWrapKey, WrapKey};
use crate::seal::key::Key;
use crate::seal::names::{EdgeId, Epoch, Ring, TenantKeyId, Version};
use crate::seal::payload::{Destination, KeyPayload, Presentation};
use crate::seal::spend::{Edge, SpendRequest};
use crate::secret::Secret;
use crate::terms::TenantId;

pub struct World {
    pub keyring: Keyring,
    pub edge_credential: Credential,
    pub edge: Edge,
    pub far_edge: Edge,
    pub acme: Tenant,
    pub bravo: Tenant,
    pub audit_key: AuditPrivateKey,
}

pub struct Tenant {
    pub id: TenantId,
    pub root: TenantRoot,
    pub virtual_key: Credential,
    pub tenant_key: Credential,
    pub tenant_key_id: TenantKeyId,
    /// The spend request of its virtual key.
    pub spend: SpendRequest,
}

/// A stored blob with its key, and a way to try others.
pub struct Sealed<'a> {
    pub name: &'static str,
    pub blob: Vec<u8>,
    pub key: [u8; 32],
    opens: Box<Try<'a>>,
}

/// Returns whether bytes open with a key.
type Try<'a> = dyn Fn([u8; 32], &[u8]) -> bool + 'a;

impl World {
    pub fn new() -> Self {
        let edge_credential = Credential::mint(CredentialKind::Edge).unwrap();
        let far_credential = Credential::mint(CredentialKind::Edge).unwrap();
        Self {
            keyring: Keyring::new(super::master(1), []).unwrap(),
            edge: Edge { id: EdgeId::local(), key: EdgeKey::of(&edge_credential).unwrap() },
            far_edge: Edge { id: EdgeId::parse("far").unwrap(), key: EdgeKey::of(&far_credential).unwrap() },
            edge_credential,
            acme: Tenant::new("acme", "key_1"),
            bravo: Tenant::new("bravo", "key_2"),
            audit_key: AuditPrivateKey::generate().unwrap(),
        }
    }

    /// Returns all blobs of a tenant, except the JOB of its consent to background work.
    pub fn stored_for<'a>(&'a self, tenant: &'a Tenant) -> Vec<Sealed<'a>> {
        vec![
            sealed("SECRET", tenant.spend.secret(), &tenant.spend_key(), &payload()),
            sealed("GRANT", tenant.spend.grant_at(&self.edge.id), &tenant.grant_key(&self.edge), &tenant.spend_key()),
            self.wrapped("ROOT", &RootOf(&tenant.id), &tenant.root),
            tenant.root_under_tenant_key(),
            sealed("ESCROW", tenant.escrow(), &EscrowKey::of(&tenant.root), &tenant.wrap_key()),
        ]
    }

    pub fn job<'a>(&'a self, tenant: &'a Tenant) -> Sealed<'a> {
        sealed("JOB", tenant.job_at(&self.edge.id), &JobKey::of(&self.edge.key, &self.edge.id), &tenant.spend_key())
    }

    /// Returns blobs of all seven types: of acme, with its consent, and of the operator.
    pub fn all(&self) -> Vec<Sealed<'_>> {
        let mut all = self.stored_for(&self.acme);
        all.push(self.job(&self.acme));
        all.push(self.wrapped("EDGE", &EdgeOf(&self.edge.id), &self.edge.key));
        all.push(self.wrapped("AUDITKEY", &AuditKeyOf, &self.audit_key));
        all
    }

    fn wrapped<'a, W: Wrappable + Copy + 'a>(&'a self, name: &'static str, what: &W, content: &W::Content) -> Sealed<'a> {
        let (kid, what) = (self.keyring.current(), *what);
        let key = W::key(&super::master(1));
        let blob = self.keyring.wrap(&what, content).unwrap().blob;
        let opens = move |key, blob: &[u8]| open(&Under { what: &what, kid }, &W::Key::guess(key), blob).is_ok();
        Sealed { name, blob, key: bytes_of(&key), opens: Box::new(opens) }
    }
}

impl Tenant {
    fn new(id: &str, key_id: &str) -> Self {
        Self {
            id: id.into(),
            root: TenantRoot::generate().unwrap(),
            virtual_key: Credential::mint(CredentialKind::Virtual).unwrap(),
            tenant_key: Credential::mint(CredentialKind::Tenant).unwrap(),
            tenant_key_id: TenantKeyId::parse("tk_1").unwrap(),
            spend: SpendRequest {
                tenant: id.into(),
                key_id: key_id.into(),
                ring: Ring::main(),
                epoch: Epoch(1),
                name: "1-openai".into(),
                version: Version(1),
            },
        }
    }

    pub fn wrap_key(&self) -> WrapKey {
        WrapKey::of(&self.virtual_key).unwrap()
    }

    pub fn spend_key(&self) -> SpendKey {
        SpendKey::of(&self.root, &self.spend.ring, self.spend.epoch)
    }

    pub fn grant_key(&self, edge: &Edge) -> GrantKey {
        GrantKey::of(&edge.key, &self.wrap_key(), &edge.id)
    }

    pub fn escrow(&self) -> EscrowContext<'_> {
        EscrowContext { tenant: &self.id, key_id: &self.spend.key_id }
    }

    pub fn job_at<'a>(&'a self, edge_id: &'a EdgeId) -> JobContext<'a> {
        JobContext { tenant: &self.id, edge_id, ring: &self.spend.ring, epoch: self.spend.epoch }
    }

    pub fn root_under_tenant_key(&self) -> Sealed<'_> {
        let place = TenantKeyRootContext { tenant: &self.id, tenant_key: &self.tenant_key_id };
        sealed("ROOT of custody tenant", place, &TenantWrapKey::of(&self.tenant_key).unwrap(), &self.root)
    }

    pub fn grant_blob(&self, edge: &Edge) -> Vec<u8> {
        let place: GrantContext<'_> = self.spend.grant_at(&edge.id);
        seal(&place, &self.grant_key(edge), &self.spend_key()).unwrap()
    }

    pub fn secret_blob(&self) -> Vec<u8> {
        let place: SecretContext<'_> = self.spend.secret();
        seal(&place, &self.spend_key(), &payload()).unwrap()
    }
}

impl Sealed<'_> {
    /// Returns whether these bytes open in this context with that key.
    pub fn opens_with(&self, key: [u8; 32], blob: &[u8]) -> bool {
        (self.opens)(key, blob)
    }

    /// Returns whether these bytes open in this context with its own key.
    pub fn opens(&self, blob: &[u8]) -> bool {
        self.opens_with(self.key, blob)
    }
}

pub fn sealed<'a, C: Context + 'a>(name: &'static str, context: C, key: &C::Key, content: &C::Content) -> Sealed<'a> {
    let blob = seal(&context, key, content).unwrap();
    let opens = move |key, blob: &[u8]| open(&context, &C::Key::guess(key), blob).is_ok();
    Sealed { name, blob, key: bytes_of(key), opens: Box::new(opens) }
}

pub fn bytes_of(key: &impl Key) -> [u8; 32] {
    key.cipher_key().unprotected_as_ref::<[u8]>().try_into().unwrap()
}

pub fn destination() -> Destination {
    let policy = Policy { source: Source::TenantUrl { private_upstreams: false }, self_listen: SelfListen::default() };
    Destination::from(&check_url("https://api.openai.com/v1", &policy).unwrap())
}

pub fn payload() -> KeyPayload {
    KeyPayload::new([destination()], Presentation::Bearer, Secret::new("sk-provider-key")).unwrap()
}
