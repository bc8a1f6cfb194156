//! What master keys wrap, and moving it from an old one to a new one (spec/security.md 1.3 types 3, 5 and 7, and 1.5).
//!
//! Rows and progress are the store's; here one blob at a time is wrapped, opened or re-wrapped.

use std::fmt;

use super::{AuditPrivateKey, AuditWrapKey, EdgeWrapKey, MasterKey, RootKey};
use crate::seal::blob::{SealError, Unopened, open, seal};
use crate::seal::context::{BlobType, Context};
use crate::seal::derivation::{EdgeKey, TenantRoot};
use crate::seal::fields::Fields;
use crate::seal::key::{Content, Key};
use crate::seal::names::{EdgeId, Kid};
use crate::terms::TenantId;

/// The current master key, and old ones as long as something is wrapped under them.
#[derive(Debug)]
pub struct Keyring {
    current: MasterKey,
    old: Vec<MasterKey>,
}

/// A blob under a master key, and which one.
#[derive(Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The master key's name.
    pub kid: Kid,
    /// The blob.
    pub blob: Vec<u8>,
}

/// Why something is not what the keyring makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Two different master keys of one name: one of them must be replaced.
    #[error("two different master keys have the kid {0}; make another with: openssl rand -base64 32")]
    SameKid(Kid),
    /// No such master key here.
    #[error("sealed under the master key {0}, which is not here; give that key too, as the old one")]
    UnknownKid(Kid),
    /// The blob is not what was written there.
    #[error("wrapped under the master key {0}: {1}")]
    Unopened(Kid, Unopened),
    /// Not wrapped again.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What a master key can wrap.
pub trait Wrappable {
    /// The type byte.
    const TYPE: BlobType;
    /// The context's first field.
    const LABEL: &'static str;
    /// What of the master key wraps it.
    type Key: Key;
    /// What is inside.
    type Content: Content;

    /// Derives the key.
    fn key(master: &MasterKey) -> Self::Key;

    /// Writes the context's fields behind the label.
    fn fields(&self, kid: Kid, to: Fields) -> Fields;
}

/// ROOT in custody `operator`: this tenant's root.
#[derive(Clone, Copy, Debug)]
pub struct RootOf<'a>(pub &'a TenantId);

/// EDGE: this edge's key.
#[derive(Clone, Copy, Debug)]
pub struct EdgeOf<'a>(pub &'a EdgeId);

/// AUDITKEY: the audit log's private key.
#[derive(Clone, Copy, Debug)]
pub struct AuditKeyOf;

/// A thing's place under one master key.
pub(super) struct Under<'a, W> {
    pub(super) what: &'a W,
    pub(super) kid: Kid,
}

impl Keyring {
    /// A current master key and the old ones; an old one that is the current one counts once.
    ///
    /// # Errors
    /// If two different keys have one name.
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

    /// The kid that new blobs carry.
    pub fn current(&self) -> Kid {
        self.current.kid
    }

    /// Checks at start that every master key in use is here.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn require(&self, in_use: impl IntoIterator<Item = Kid>) -> Result<(), KeyringError> {
        in_use.into_iter().try_for_each(|kid| self.get(kid).map(|_| ()))
    }

    /// Wraps under the current master key.
    ///
    /// # Errors
    /// If the operating system has no randomness to give, or the thing has a name that none can have.
    pub fn wrap<W: Wrappable>(&self, what: &W, content: &W::Content) -> Result<Wrapped, SealError> {
        let kid = self.current.kid;
        let blob = seal(&Under { what, kid }, &W::key(&self.current), content)?;
        Ok(Wrapped { kid, blob })
    }

    /// Opens what any of the keyring's keys wrapped.
    ///
    /// # Errors
    /// If the key is not here, or the blob does not open.
    pub fn open<W: Wrappable>(&self, what: &W, wrapped: &Wrapped) -> Result<W::Content, KeyringError> {
        let kid = wrapped.kid;
        open(&Under { what, kid }, &W::key(self.get(kid)?), &wrapped.blob).map_err(|unopened| KeyringError::Unopened(kid, unopened))
    }

    /// Moves a blob under the current master key; `None` if it is there already.
    ///
    /// # Errors
    /// If it does not open, or cannot be wrapped again.
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
