//! A tenant's own account at a provider: settings and sealed key, as the directory holds them.
//!
//! Keys stay sealed here; the gateway opens them.

use std::fmt;
use std::sync::Arc;

use crate::seal::names::{Epoch, Ring, Version};
use crate::seal::payload::Destination;
use crate::terms::{KindName, ProviderName};

/// A tenant's own account at a provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    /// Name of the provider.
    pub name: ProviderName,
    /// Kind of the provider.
    pub kind: KindName,
    /// Base URL; `None`: the base URL of the kind.
    pub base_url: Option<String>,
    /// Whether the tenant has it enabled.
    pub enabled: bool,
    /// Sealed API key; `None` for a kind without authentication.
    pub key: Option<Arc<SealedKey>>,
    /// Last four characters of the API key.
    pub last4: Option<String>,
}

/// A provider key as a SECRET blob, and what it is bound to besides tenant and provider name.
#[derive(PartialEq, Eq)]
pub struct SealedKey {
    /// Ring under whose spend key it is sealed.
    pub ring: Ring,
    /// Epoch of the ring at sealing.
    pub epoch: Epoch,
    /// Version among the ring's secrets.
    pub version: Version,
    /// The SECRET blob.
    pub blob: Vec<u8>,
}

/// Authentication of an offer with a tenant's own key. Without a key or a valid destination nothing
/// is sent.
#[derive(Debug)]
pub struct ByoAuth {
    /// The sealed key.
    pub key: Option<Arc<SealedKey>>,
    /// Destination of the request; must equal the one sealed in with the key.
    pub destination: Option<Destination>,
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedKey({}, version {}, epoch {})", self.ring, self.version.0, self.epoch.0)
    }
}
