//! The ladder: every key that is derived from a credential or a tenant's root, by HKDF-SHA-256 (spec/security.md 1.2).
//!
//! One type a key, so that none can stand in for another. What the master key derives is the control half's.

use orion::hazardous::kdf::hkdf::{Hkdf, SHA256};
pub(crate) use orion::hazardous::mac::hmac::sha256::Tag as Prk;
use zeroize::Zeroizing;

use super::fields::Fields;
use super::key::{SecretKey, keys};
use super::names::{EdgeId, Epoch, Ring};
use crate::credential::{Credential, CredentialKind, NoRandomness};

keys! {
    /// `wrap_key` of a virtual key: one half of a [`GrantKey`]. The control half keeps it in escrow.
    WrapKey: Content;
    /// `wrap_key` of a tenant key: opens the tenant's root in custody `tenant`.
    TenantWrapKey: Key;
    /// E, a gateway's secret: the other half of a [`GrantKey`].
    EdgeKey: Content;
    /// Opens what was granted to one virtual key at one edge.
    GrantKey: Key;
    /// Opens what was given to one edge for background work.
    JobKey: Key;
    /// R: 32 random bytes from which all other keys of a tenant come. Never leaves the control half.
    TenantRoot: Content;
    /// Opens the wrap keys that a tenant's virtual keys left in escrow.
    EscrowKey: Key;
    /// Opens the provider keys of one ring in one epoch.
    SpendKey: Key Content;
}

impl WrapKey {
    /// Of a virtual key; `None` for a credential of another kind.
    pub fn of(credential: &Credential) -> Option<Self> {
        Self::of_presented(credential.kind(), credential.text().expose())
    }

    /// Of the virtual key that a request presents, once [`Credential::lookup_of`] has told its kind; `None` for another
    /// kind.
    pub fn of_presented(kind: CredentialKind, text: &str) -> Option<Self> {
        (kind == CredentialKind::Virtual).then(|| Self(of_credential(b"aigw/v1/cred/sk", text, "aigw/v1/wrap-key")))
    }
}

impl TenantWrapKey {
    /// Of a tenant key; `None` for a credential of another kind.
    pub fn of(credential: &Credential) -> Option<Self> {
        let is_tenants = credential.kind() == CredentialKind::Tenant;
        is_tenants.then(|| Self(of_credential(b"aigw/v1/cred/tk", credential.text().expose(), "aigw/v1/wrap-key")))
    }
}

impl EdgeKey {
    /// Of an edge credential; `None` for a credential of another kind.
    pub fn of(credential: &Credential) -> Option<Self> {
        let is_edges = credential.kind() == CredentialKind::Edge;
        is_edges.then(|| Self(of_credential(b"aigw/v1/cred/ek", credential.text().expose(), "aigw/v1/edge-key")))
    }
}

impl EdgeKey {
    /// Whether both are one key; compared in constant time.
    pub fn is(&self, other: &Self) -> bool {
        orion::util::secure_cmp(self.0.unprotected_as_ref(), other.0.unprotected_as_ref()).is_ok()
    }
}

impl GrantKey {
    /// Of an edge and a virtual key together: neither alone opens a grant.
    pub fn of(edge: &EdgeKey, wrap_key: &WrapKey, edge_id: &EdgeId) -> Self {
        let prk = extract(edge.0.unprotected_as_ref(), wrap_key.0.unprotected_as_ref());
        Self(expand(&prk, Fields::of("aigw/v1/grant-key").name(edge_id.as_str())))
    }
}

impl JobKey {
    /// Of an edge alone, which is why there is none without a tenant's consent (spec/security.md 1.6).
    pub fn of(edge: &EdgeKey, edge_id: &EdgeId) -> Self {
        let prk = extract(b"aigw/v1/edge", edge.0.unprotected_as_ref());
        Self(expand(&prk, Fields::of("aigw/v1/job-key").name(edge_id.as_str())))
    }
}

impl TenantRoot {
    /// A new tenant's root.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn generate() -> Result<Self, NoRandomness> {
        SecretKey::generate().map(Self).map_err(|_| NoRandomness)
    }

    /// The root of the known answers.
    #[cfg(test)]
    pub(crate) fn known(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }

    fn prk(&self) -> Prk {
        extract(b"aigw/v1/root", self.0.unprotected_as_ref())
    }
}

impl EscrowKey {
    /// Of a tenant.
    pub fn of(root: &TenantRoot) -> Self {
        Self(expand(&root.prk(), Fields::of("aigw/v1/escrow-key")))
    }
}

impl SpendKey {
    /// Of one ring of a tenant in one epoch.
    pub fn of(root: &TenantRoot, ring: &Ring, epoch: Epoch) -> Self {
        Self(expand(&root.prk(), Fields::of("aigw/v1/spend-key").name(ring.as_str()).number(epoch.0)))
    }
}

/// The credential is input key material and never salt or HMAC key: there a text longer than 64 bytes collapses to its
/// plain hash.
fn of_credential(salt: &[u8], text: &str, label: &'static str) -> SecretKey {
    expand(&extract(salt, text.as_bytes()), Fields::of(label))
}

/// HKDF's first half.
#[allow(clippy::expect_used, reason = "HMAC fails on no input that memory can hold")]
pub(crate) fn extract(salt: &[u8], ikm: &[u8]) -> Prk {
    Hkdf::<SHA256>::extract(salt, ikm).expect("HMAC takes salt and key material of any length")
}

/// HKDF's second half: 32 bytes for a context.
#[allow(clippy::expect_used, reason = "the contexts of keys are labels, checked names and numbers; 32 bytes are one block")]
pub(crate) fn expand(prk: &Prk, context: Fields) -> SecretKey {
    let info = context.finish().expect("labels and checked names fit");
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<SHA256>::expand(prk, Some(&info), &mut *key).expect("HKDF gives 32 bytes");
    SecretKey::from(*key)
}

#[cfg(test)]
mod tests;
