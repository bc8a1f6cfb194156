//! Wrapping with master keys, and rewrapping from an old one to a new one (spec/security.md 1.3
//! types 3, 5 and 7, and 1.5).
//!
//! Handles one blob at a time; callers read and write the rows.

use std::fmt;

use super::{AuditPrivateKey, AuditWrapKey, EdgeWrapKey, MasterKey, RootKey};
use crate::seal::blob::{SealError, Unopened, open, seal};
use crate::seal::context::{BlobType, Context};
use crate::seal::derivation::{EdgeKey, TenantRoot};
use crate::seal::fields::Fields;
use crate::seal::key::{BlobContent, Key};
use crate::seal::names::{EdgeId, Kid};
use crate::terms::TenantId;

/// The current master key and the old ones.
#[derive(Debug)]
pub struct Keyring {
    current: MasterKey,
    old: Vec<MasterKey>,
}

/// A blob with the id of the master key that wrapped it.
#[derive(Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// Id of the master key.
    pub kid: Kid,
    /// The blob.
    pub blob: Vec<u8>,
}

/// An error of the keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Two different master keys have the same id: one of them must be replaced.
    #[error("two different master keys have the id {0}; generate another with: openssl rand -base64 32")]
    SameKid(Kid),
    /// The master key is not configured.
    #[error("sealed under the master key {0}, which is not configured; set it too, as the old one")]
    UnknownKid(Kid),
    /// The blob does not open.
    #[error("wrapped under the master key {0}: {1}")]
    Unopened(Kid, Unopened),
    /// The blob cannot be wrapped.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A value that a master key wraps.
pub trait Wrappable {
    /// The type byte.
    const TYPE: BlobType;
    /// The first field of the context.
    const LABEL: &'static str;
    /// The derived key that wraps it.
    type Key: Key;
    /// The wrapped content.
    type Content: BlobContent;

    /// Derives the key.
    fn key(master: &MasterKey) -> Self::Key;

    /// Appends the fields of the context after the label.
    fn fields(&self, kid: Kid, to: Fields) -> Fields;
}

/// ROOT in custody `operator`: the root of this tenant.
#[derive(Clone, Copy, Debug)]
pub struct RootOf<'a>(pub &'a TenantId);

/// EDGE: the key of this edge.
#[derive(Clone, Copy, Debug)]
pub struct EdgeOf<'a>(pub &'a EdgeId);

/// AUDITKEY: the private key of the audit log.
#[derive(Clone, Copy, Debug)]
pub struct AuditKeyOf;

/// The context of a value under one master key.
pub(super) struct Under<'a, W> {
    pub(super) what: &'a W,
    pub(super) kid: Kid,
}

impl Keyring {
    /// Creates a keyring. Duplicate keys count once.
    ///
    /// # Errors
    /// If two different keys have the same id.
    pub fn new(current: MasterKey, old: impl IntoIterator<Item = MasterKey>) -> Result<Self, KeyringError> {
        let mut keyring = Self { current, old: Vec::new() };
        for key in old {
            match keyring.find(key.kid) {
                None => keyring.old.push(key),
                Some(known) if known.prk == key.prk => {}
                Some(_) => return Err(KeyringError::SameKid(key.kid)),
            }
        }
        Ok(keyring)
    }

    /// The kid of new blobs.
    pub fn current(&self) -> Kid {
        self.current.kid
    }

    /// Checks that every master key in use is configured.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn require(&self, in_use: impl IntoIterator<Item = Kid>) -> Result<(), KeyringError> {
        in_use.into_iter().try_for_each(|kid| self.get(kid).map(|_| ()))
    }

    /// Wraps with the current master key.
    ///
    /// # Errors
    /// If no random bytes are available, or a name is invalid.
    pub fn wrap<W: Wrappable>(&self, what: &W, content: &W::Content) -> Result<Wrapped, SealError> {
        let kid = self.current.kid;
        let blob = seal(&Under { what, kid }, &W::key(&self.current), content)?;
        Ok(Wrapped { kid, blob })
    }

    /// Opens a blob of any master key of the keyring.
    ///
    /// # Errors
    /// If the key is not configured, or the blob does not open.
    pub fn open<W: Wrappable>(&self, what: &W, wrapped: &Wrapped) -> Result<W::Content, KeyringError> {
        let kid = wrapped.kid;
        open(&Under { what, kid }, &W::key(self.get(kid)?), &wrapped.blob).map_err(|unopened| KeyringError::Unopened(kid, unopened))
    }

    /// Rewraps a blob with the current master key; `None` if it has it already.
    ///
    /// # Errors
    /// If the blob does not open or cannot be wrapped.
    pub fn rewrap<W: Wrappable>(&self, what: &W, wrapped: &Wrapped) -> Result<Option<Wrapped>, KeyringError> {
        if wrapped.kid == self.current.kid {
            return Ok(None);
        }
        Ok(Some(self.wrap(what, &self.open(what, wrapped)?)?))
    }

    fn get(&self, kid: Kid) -> Result<&MasterKey, KeyringError> {
        self.find(kid).ok_or(KeyringError::UnknownKid(kid))
    }

    fn find(&self, kid: Kid) -> Option<&MasterKey> {
        std::iter::once(&self.current).chain(&self.old).find(|key| key.kid == kid)
    }
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wrapped({}, {} bytes)", self.kid, self.blob.len())
    }
}

impl Wrappable for RootOf<'_> {
    const TYPE: BlobType = BlobType::Root;
    const LABEL: &'static str = "aigw/v1/root-wrap";
    type Key = RootKey;
    type Content = TenantRoot;

    fn key(master: &MasterKey) -> RootKey {
        master.root_key()
    }

    fn fields(&self, kid: Kid, to: Fields) -> Fields {
        to.name(self.0).prefixed_name("master:", &kid.to_string())
    }
}

impl Wrappable for EdgeOf<'_> {
    const TYPE: BlobType = BlobType::Edge;
    const LABEL: &'static str = "aigw/v1/edge-wrap";
    type Key = EdgeWrapKey;
    type Content = EdgeKey;

    fn key(master: &MasterKey) -> EdgeWrapKey {
        master.edge_wrap_key()
    }

    fn fields(&self, kid: Kid, to: Fields) -> Fields {
        to.name(self.0.as_str()).name(&kid.to_string())
    }
}

impl Wrappable for AuditKeyOf {
    const TYPE: BlobType = BlobType::AuditKey;
    const LABEL: &'static str = "aigw/v1/audit-key";
    type Key = AuditWrapKey;
    type Content = AuditPrivateKey;

    fn key(master: &MasterKey) -> AuditWrapKey {
        master.audit_wrap_key()
    }

    fn fields(&self, kid: Kid, to: Fields) -> Fields {
        to.name(&kid.to_string())
    }
}

impl<W: Wrappable> Context for Under<'_, W> {
    const TYPE: BlobType = W::TYPE;
    const LABEL: &'static str = W::LABEL;
    type Key = W::Key;
    type Content = W::Content;

    fn fields(&self, to: Fields) -> Fields {
        self.what.fields(self.kid, to)
    }
}
