//! aigw's own credentials: their text form with its checksum, and the look-up value derived from them.
//!
//! Normative: spec/security.md 1.2 and 4.1. The half that serves traffic and the half that administers both need this.

use crate::secret::Secret;

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// `sk`: a virtual key.
    Virtual,
    /// `tk`: a tenant key.
    Tenant,
    /// `ek`: an edge key.
    Edge,
}

/// A credential of aigw's own, its form and checksum verified.
#[derive(Debug)]
pub struct Credential {
    kind: CredentialKind,
    text: Secret,
}

impl Credential {
    /// Makes a new one of 256 random bits.
    pub fn mint(kind: CredentialKind) -> Self {
        let _ = kind;
        todo!("interface")
    }

    /// Checks length, prefix, alphabet and checksum; `None` for anything else. Needs no look-up.
    pub fn parse(text: &str) -> Option<Self> {
        let _ = text;
        todo!("interface")
    }

    /// What it is for.
    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// The text, shown once.
    pub fn text(&self) -> &Secret {
        &self.text
    }

    /// The derived value it is stored and found under. Knowing it does not give the credential.
    pub fn lookup(&self) -> [u8; 32] {
        todo!("interface")
    }
}
