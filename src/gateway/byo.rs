//! Spending tenants' own provider keys, one worker's part of it (spec/security.md 1.6): from the virtual key that a request
//! presents, the grant in the snapshot and this gateway's edge key to the header that pays for one call.
//!
//! What was opened is kept for a short while; the presented key, and what it derives, never longer than the call here. There is
//! no way from here to an operator's credential.

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
use crate::seal::payload::{Misdirected, Payload};
use crate::seal::spend::{Edge, SpendError, SpendRequest};
use crate::secret::Secret;
use crate::terms::RequestId;

/// What one worker spends with.
pub struct ByoKeys {
    edge: Option<Arc<Edge>>,
    opened: RefCell<OpenedSecrets>,
}

/// The virtual key that a request presented, checked already. Kept until its first byte is out, and only if its tenant has
/// providers of its own.
#[derive(Debug)]
pub struct Presented(Secret);

/// Why a call cannot be paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByoError {
    /// There is no grant, or something does not open: as if the provider had refused the key.
    Unopened,
    /// The key is not sealed for where the request would go: nothing is sent.
    Misdirected,
}

/// What is missing before anything can be opened.
enum Missing {
    Edge,
    Virtual,
    Grant,
    Secret,
    Open(SpendError),
}

impl Presented {
    /// Of a virtual key as presented.
    pub fn new(key: &str) -> Self {
        Self(Secret::new(key))
    }

    fn wrap_key(&self) -> Option<WrapKey> {
        WrapKey::of_presented(CredentialKind::Virtual, self.0.expose())
    }
}

impl ByoKeys {
    /// A byo_keys of this gateway's edge; without one nothing opens. `ttl`: how long what was opened is kept.
    pub fn new(edge: Option<Arc<Edge>>, ttl: Duration) -> Self {
        Self { edge, opened: RefCell::new(OpenedSecrets::new(ttl)) }
    }

    /// The header that pays for a call of `offer`.
    ///
    /// # Errors
    /// If it cannot be had. The log has the type of what failed and ids; the client learns nothing.
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
            log::warn!("a tenant's provider key does not open: {missing} ({})", about());
            ByoError::Unopened
        })?;
        let header = auth.destination.as_ref().ok_or(Misdirected).and_then(|destination| payload.header_for(destination));
        header.map_err(|misdirected| {
            let destination = auth.destination.as_ref().map_or("an address that is refused", |destination| destination.as_str());
            log::error!("nothing is sent to {destination}: {misdirected} ({})", about());
            ByoError::Misdirected
        })
    }

    fn open(&self, presented: Option<&Presented>, caller: &Caller, offer: &Offer, auth: &ByoAuth) -> Result<Arc<Payload>, Missing> {
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

    /// Forgets everything that was opened: something has changed.
    pub fn purge(&self) {
        self.opened.borrow_mut().purge();
    }

    /// Forgets what has had its time.
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
            Missing::Virtual => f.write_str("no virtual key came with the request"),
            Missing::Grant => f.write_str("no GRANT for this virtual key; it may be older than the master key: rotate it"),
            Missing::Secret => f.write_str("no SECRET for this provider; write its key again"),
            Missing::Open(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
