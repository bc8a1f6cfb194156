//! Tenants' own provider keys (bring your own key) on one worker (spec/security.md 1.6). The
//! virtual key of a request, the grant in the snapshot and this gateway's edge key together open
//! the header that authorizes one call.
//!
//! Opened keys are cached for a short time. The presented key and its derivations are kept no
//! longer than the call. An operator's credential cannot be reached from here.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderName, HeaderValue};

use crate::catalog::account::{ByoAuth, SealedKey};
use crate::catalog::caller::{Caller, Grant};
use crate::catalog::provider::Offer;
use crate::credential::CredentialKind;
use crate::seal::cache::OpenedSecrets;
use crate::seal::derivation::WrapKey;
use crate::seal::payload::{KeyPayload, Misdirected};
use crate::seal::spend::{Edge, SpendError, SpendRequest};
use crate::secret::Secret;
use crate::terms::RequestId;

/// Opens tenants' provider keys, with a cache for one worker.
pub struct ByoKeys {
    edge: Option<Arc<Edge>>,
    opened: RefCell<OpenedSecrets>,
}

/// The virtual key of a request, already authenticated. Kept until the first byte of the answer,
/// and only if its tenant has providers of its own.
#[derive(Debug)]
pub struct Presented(Secret);

/// Reason why a call cannot be authorized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByoError {
    /// There is no grant, or the key does not open. It counts as if the provider had rejected the
    /// key.
    Unopened,
    /// The key is not sealed for the provider's address. Nothing is sent.
    Misdirected,
}

/// Reason why a key does not open.
enum Missing {
    Edge,
    Virtual,
    Grant,
    Secret,
    Open(SpendError),
}

impl Presented {
    /// Wraps a virtual key as presented.
    pub fn new(key: &str) -> Self {
        Self(Secret::new(key))
    }

    fn wrap_key(&self) -> Option<WrapKey> {
        WrapKey::of_presented(CredentialKind::Virtual, self.0.expose())
    }
}

impl ByoKeys {
    /// Keys opened with this gateway's edge key; without one nothing opens. `ttl` is the lifetime
    /// of an opened key.
    pub fn new(edge: Option<Arc<Edge>>, ttl: Duration) -> Self {
        Self { edge, opened: RefCell::new(OpenedSecrets::new(ttl)) }
    }

    /// Returns the header that authorizes a call of `offer`.
    ///
    /// # Errors
    /// The key cannot be opened or used. The log names the cause and ids; the client learns
    /// nothing.
    pub fn authorize(
        &self,
        presented: Option<&Presented>,
        caller: &Caller,
        offer: &Offer,
        auth: &ByoAuth,
        request_id: &RequestId,
    ) -> Result<(HeaderName, HeaderValue), ByoError> {
        let about =
            || format!("tenant {}, key {}, provider {}, request {request_id}", caller.tenant.id, caller.key_id, offer.provider.name);
        let payload = self.open(presented, caller, offer, auth).map_err(|missing| {
            log::warn!("cannot open a tenant's provider key: {missing} ({})", about());
            ByoError::Unopened
        })?;
        let header = auth.destination.as_ref().ok_or(Misdirected).and_then(|destination| payload.header_for(destination));
        header.map_err(|misdirected| {
            let destination = auth.destination.as_ref().map_or("a forbidden address", |destination| destination.as_str());
            log::error!("request to {destination} not sent: {misdirected} ({})", about());
            ByoError::Misdirected
        })
    }

    fn open(&self, presented: Option<&Presented>, caller: &Caller, offer: &Offer, auth: &ByoAuth) -> Result<Arc<KeyPayload>, Missing> {
        let key = auth.key.as_deref().ok_or(Missing::Secret)?;
        let edge = self.edge.as_deref().ok_or(Missing::Edge)?;
        let grant = grant(caller, key).ok_or(Missing::Grant)?;
        let presented = presented.ok_or(Missing::Virtual)?;
        let spend = SpendRequest {
            tenant: caller.tenant.id.clone(),
            key_id: caller.key_id.clone(),
            ring: key.ring.clone(),
            epoch: key.epoch,
            name: offer.provider.name.clone(),
            version: key.version,
        };
        self.opened.borrow_mut().get_or_open(&spend, Instant::now(), || {
            let wrap_key = presented.wrap_key().ok_or(Missing::Virtual)?;
            spend.open(edge, wrap_key, &grant.blob, &key.blob).map_err(Missing::Open)
        })
    }

    /// Clears the cache, because keys or providers have changed.
    pub fn purge(&self) {
        self.opened.borrow_mut().purge();
    }

    /// Removes expired keys from the cache.
    pub fn sweep(&self) {
        let mut opened = self.opened.borrow_mut();
        if !opened.is_empty() {
            opened.sweep(Instant::now());
        }
    }
}

fn grant<'a>(caller: &'a Caller, key: &SealedKey) -> Option<&'a Grant> {
    caller.grants.iter().find(|grant| grant.ring == key.ring && grant.epoch == key.epoch)
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Edge => f.write_str("this gateway has no edge key"),
            Missing::Virtual => f.write_str("the request has no virtual key"),
            Missing::Grant => f.write_str("no GRANT for this virtual key; it may be older than the master key: rotate it"),
            Missing::Secret => f.write_str("no SECRET for this provider; write its key again"),
            Missing::Open(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
