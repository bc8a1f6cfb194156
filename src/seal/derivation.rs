//! Key derivation by HKDF-SHA-256 from credentials and tenants' roots (spec/security.md 1.2).
//!
//! Every key has a type of its own, so that keys cannot be confused. Keys derived from the master
//! key are in the control half.

use orion::hazardous::kdf::hkdf::{Hkdf, SHA256};
pub(crate) use orion::hazardous::mac::hmac::sha256::Tag as Prk;
use zeroize::Zeroizing;

use super::fields::Fields;
use super::key::{SecretKey, keys};
use super::names::{EdgeId, Epoch, Ring};
use crate::credential::{Credential, CredentialKind, NoRandomness};

keys! {
    /// `wrap_key` of a virtual key, one half of a [`GrantKey`]. The control half keeps it in
    /// escrow.
    WrapKey: Content;
    /// `wrap_key` of a tenant key: opens the tenant's root in custody `tenant`.
    TenantWrapKey: Key;
    /// E, the secret of a gateway and the other half of a [`GrantKey`].
    EdgeKey: Content;
    /// Opens the grants of one virtual key at one edge.
    GrantKey: Key;
    /// Opens the jobs of one edge: spend keys for background work.
    JobKey: Key;
    /// R: 32 random bytes from which all other keys of a tenant are derived. Never leaves the
    /// control half.
    TenantRoot: Content;
    /// Opens the escrowed wrap keys of a tenant's virtual keys.
    EscrowKey: Key;
    /// Opens the provider keys of one ring in one epoch.
    SpendKey: Key Content;
}

impl WrapKey {
    /// Derives it from a virtual key; `None` for a credential of another kind.
    pub fn of(credential: &Credential) -> Option<Self> {
        Self::of_presented(credential.kind(), credential.text().expose())
    }

    /// Derives it from the virtual key of a request, whose kind [`Credential::lookup_of`] returned;
    /// `None` for another kind.
    pub fn of_presented(kind: CredentialKind, text: &str) -> Option<Self> {
        (kind == CredentialKind::Virtual).then(|| Self(of_credential(b"aigw/v1/cred/sk", text, "aigw/v1/wrap-key")))
    }
}

impl TenantWrapKey {
    /// Derives it from a tenant key; `None` for a credential of another kind.
    pub fn of(credential: &Credential) -> Option<Self> {
        let is_tenants = credential.kind() == CredentialKind::Tenant;
        is_tenants.then(|| Self(of_credential(b"aigw/v1/cred/tk", credential.text().expose(), "aigw/v1/wrap-key")))
    }
}

impl EdgeKey {
    /// Derives it from an edge credential; `None` for a credential of another kind.
    pub fn of(credential: &Credential) -> Option<Self> {
        let is_edges = credential.kind() == CredentialKind::Edge;
        is_edges.then(|| Self(of_credential(b"aigw/v1/cred/ek", credential.text().expose(), "aigw/v1/edge-key")))
    }
}

impl EdgeKey {
    /// Returns whether both are the same key; compares in constant time.
    pub fn is(&self, other: &Self) -> bool {
        orion::util::secure_cmp(self.0.unprotected_as_ref(), other.0.unprotected_as_ref()).is_ok()
    }
}

impl GrantKey {
    /// Derives it from an edge key and a wrap key together: neither alone opens a grant.
    pub fn of(edge: &EdgeKey, wrap_key: &WrapKey, edge_id: &EdgeId) -> Self {
        let prk = extract(edge.0.unprotected_as_ref(), wrap_key.0.unprotected_as_ref());
        Self(expand(&prk, Fields::of("aigw/v1/grant-key").name(edge_id.as_str())))
    }
}

impl JobKey {
    /// Derives it from an edge key alone, which is why a job needs the tenant's consent
    /// (spec/security.md 1.6).
    pub fn of(edge: &EdgeKey, edge_id: &EdgeId) -> Self {
        let prk = extract(b"aigw/v1/edge", edge.0.unprotected_as_ref());
        Self(expand(&prk, Fields::of("aigw/v1/job-key").name(edge_id.as_str())))
    }
}

impl TenantRoot {
    /// Generates the root of a new tenant.
    ///
    /// # Errors
    /// If the operating system returns no random bytes.
    pub fn generate() -> Result<Self, NoRandomness> {
        SecretKey::generate().map(Self).map_err(|_| NoRandomness)
    }

    /// The root of the known-answer tests.
    #[cfg(test)]
    pub(crate) fn known(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }

    fn prk(&self) -> Prk {
        extract(b"aigw/v1/root", self.0.unprotected_as_ref())
    }
}

impl EscrowKey {
    /// Derives it from a tenant's root.
    pub fn of(root: &TenantRoot) -> Self {
        Self(expand(&root.prk(), Fields::of("aigw/v1/escrow-key")))
    }
}

impl SpendKey {
    /// Derives it from a tenant's root, for one ring in one epoch.
    pub fn of(root: &TenantRoot, ring: &Ring, epoch: Epoch) -> Self {
        Self(expand(&root.prk(), Fields::of("aigw/v1/spend-key").name(ring.as_str()).number(epoch.0)))
    }
}

/// Uses the credential as input key material. It must not be the salt: HMAC replaces a key longer
/// than 64 bytes by its plain hash.
fn of_credential(salt: &[u8], text: &str, label: &'static str) -> SecretKey {
    expand(&extract(salt, text.as_bytes()), Fields::of(label))
}

/// HKDF-Extract.
#[allow(clippy::expect_used, reason = "HMAC fails on no input that memory can hold")]
pub(crate) fn extract(salt: &[u8], ikm: &[u8]) -> Prk {
    Hkdf::<SHA256>::extract(salt, ikm).expect("HMAC takes salt and key material of any length")
}

/// HKDF-Expand: 32 bytes for a context.
#[allow(clippy::expect_used, reason = "the contexts of keys are labels, checked names and numbers; 32 bytes are one block")]
pub(crate) fn expand(prk: &Prk, context: Fields) -> SecretKey {
    let info = context.finish().expect("labels and checked names fit");
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<SHA256>::expand(prk, Some(&info), &mut *key).expect("HKDF gives 32 bytes");
    SecretKey::from(*key)
}

#[cfg(test)]
mod tests;
