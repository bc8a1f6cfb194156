//! The master key, its id and the keys derived from it (spec/security.md 1.2).
//!
//! Only the control half has it. [`keyring`] wraps with it; the configuration provides it.

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
    /// Wraps the private key of the audit log.
    AuditWrapKey: Key;
    /// The X-Wing private key of the audit log: 32 random bytes.
    AuditPrivateKey: Content;
}

/// A master key. Holds only the HKDF extract of M, not M itself.
pub struct MasterKey {
    prk: Prk,
    kid: Kid,
}

/// An invalid master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMasterKey {
    /// Not 32 bytes in base64.
    #[error("the master key must be 32 bytes in base64; generate one with: openssl rand -base64 32")]
    Form,
    /// A placeholder.
    #[error("all bytes of the master key are equal; generate one with: openssl rand -base64 32")]
    AllEqual,
}

impl MasterKey {
    /// Parses 32 bytes in standard base64.
    ///
    /// # Errors
    /// If the text is anything else, or all bytes are equal.
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

    /// Its id, stored in clear with the blobs that it wraps.
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// Derives the key that wraps tenants' roots.
    pub fn root_key(&self) -> RootKey {
        RootKey(expand(&self.prk, Fields::of("aigw/v1/root-key")))
    }

    /// Derives the key that wraps edge keys.
    pub fn edge_wrap_key(&self) -> EdgeWrapKey {
        EdgeWrapKey(expand(&self.prk, Fields::of("aigw/v1/edge-wrap-key")))
    }

    /// Derives the key that wraps the private key of the audit log.
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
    /// Generates a new key.
    ///
    /// # Errors
    /// If no random bytes are available.
    pub fn generate() -> Result<Self, NoRandomness> {
        crate::seal::key::SecretKey::generate().map(Self).map_err(|_| NoRandomness)
    }
}

#[cfg(test)]
mod tests;
