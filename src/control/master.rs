//! The master key: what it derives and its name (spec/security.md 1.2).
//!
//! Only the control half can name it. What it wraps is [`keyring`]'s; where it comes from is the configuration's.

pub mod keyring;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::credential::NoRandomness;
use crate::seal::derivation::{Prk, expand, extract};
use crate::seal::fields::Fields;
use crate::seal::key::keys;
use crate::seal::names::Kid;
use crate::secret::Secret;

keys! {
    /// Wraps tenants' roots.
    RootKey: Key;
    /// Wraps edges' keys.
    EdgeWrapKey: Key;
    /// Wraps the audit log's private key.
    AuditWrapKey: Key;
    /// The audit log's X-Wing private key: 32 random bytes.
    AuditPrivateKey: Content;
}

/// A master key. Of M itself nothing is kept but what HKDF extracts from it.
pub struct MasterKey {
    prk: Prk,
    kid: Kid,
}

/// Why a text is no master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMasterKey {
    /// Not 32 bytes in base64.
    #[error("the master key is not 32 bytes in base64; make one with: openssl rand -base64 32")]
    Form,
    /// Somebody's placeholder.
    #[error("all bytes of the master key are equal; make one with: openssl rand -base64 32")]
    AllEqual,
}

impl MasterKey {
    /// Reads 32 bytes in standard base64.
    ///
    /// # Errors
    /// If they are not, or are all equal.
    pub fn from_base64(text: &Secret) -> Result<Self, BadMasterKey> {
        let bytes = Zeroizing::new(STANDARD.decode(text.expose()).map_err(|_| BadMasterKey::Form)?);
        let bytes: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| BadMasterKey::Form)?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(BadMasterKey::AllEqual);
        }
        Ok(Self::of(bytes))
    }

    #[allow(clippy::expect_used, reason = "32 bytes have a first four")]
    fn of(bytes: &[u8; 32]) -> Self {
        let prk = extract(b"aigw/v1/master", bytes);
        let kid = expand(&prk, Fields::of("aigw/v1/kid"));
        let kid = Kid::new(*kid.unprotected_as_ref::<[u8]>().first_chunk().expect("a key has 32 bytes"));
        Self { prk, kid }
    }

    /// Its name, stored in clear beside what it wraps.
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// What wraps tenants' roots.
    pub fn root_key(&self) -> RootKey {
        RootKey(expand(&self.prk, Fields::of("aigw/v1/root-key")))
    }

    /// What wraps edges' keys.
    pub fn edge_wrap_key(&self) -> EdgeWrapKey {
        EdgeWrapKey(expand(&self.prk, Fields::of("aigw/v1/edge-wrap-key")))
    }

    /// What wraps the audit log's private key.
    pub fn audit_wrap_key(&self) -> AuditWrapKey {
        AuditWrapKey(expand(&self.prk, Fields::of("aigw/v1/audit-wrap-key")))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.kid)
    }
}

impl AuditPrivateKey {
    /// A new one.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn generate() -> Result<Self, NoRandomness> {
        crate::seal::key::SecretKey::generate().map(Self).map_err(|_| NoRandomness)
    }
}

#[cfg(test)]
mod tests;
