//! aigw's own credentials: their text form with its checksum, and the look-up value derived from them.
//!
//! Normative: spec/security.md 1.2 and 4.1. The half that serves traffic and the half that administers both need this.
//! What a credential opens is decided elsewhere.

use std::sync::LazyLock;

use orion::hazardous::kdf::hkdf::{Hkdf, SHA256};
use orion::hazardous::mac::hmac::sha256::{HmacSha256, SecretKey};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Bytes of a credential: prefix, 43 random characters, 6 of checksum.
pub const CREDENTIAL_LEN: usize = PREFIX_LEN + RANDOM_LEN + CHECKSUM_LEN;

const PREFIX_LEN: usize = 8;
const RANDOM_LEN: usize = 43;
const CHECKSUM_LEN: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// `ctx("aigw/v1/lookup")`: the label behind its length.
const LOOKUP_CONTEXT: &[u8] = b"\x00\x0eaigw/v1/lookup";

/// The extracting half of HKDF for each kind, begun: its salt, which never changes, is hashed in already.
static EXTRACT: LazyLock<[Option<HmacSha256>; 3]> =
    LazyLock::new(|| CredentialKind::ALL.map(|kind| SecretKey::try_from(kind.salt()).ok().map(|salt| HmacSha256::new(&salt))));

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
    lookup: [u8; 32],
}

/// The operating system gave no random bytes, so no credential could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes; check that getrandom(2) is allowed here")]
pub struct NoRandomness;

impl CredentialKind {
    /// Every kind.
    pub const ALL: [CredentialKind; 3] = [CredentialKind::Virtual, CredentialKind::Tenant, CredentialKind::Edge];

    /// What a credential of this kind begins with.
    pub fn prefix(self) -> &'static str {
        match self {
            CredentialKind::Virtual => "aigw-sk-",
            CredentialKind::Tenant => "aigw-tk-",
            CredentialKind::Edge => "aigw-ek-",
        }
    }

    /// How a credential is shown to people who must tell several apart: `aigw-sk-…XYZW`.
    pub fn masked(self, last4: &str) -> String {
        format!("{}…{last4}", self.prefix())
    }

    /// Salt of the key derivation (spec/security.md 1.2).
    fn salt(self) -> &'static [u8] {
        match self {
            CredentialKind::Virtual => b"aigw/v1/cred/sk",
            CredentialKind::Tenant => b"aigw/v1/cred/tk",
            CredentialKind::Edge => b"aigw/v1/cred/ek",
        }
    }
}

impl Credential {
    /// Makes a new one of 256 random bits.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn mint(kind: CredentialKind) -> Result<Self, NoRandomness> {
        let mut text = Zeroizing::new(String::with_capacity(CREDENTIAL_LEN));
        text.push_str(kind.prefix());
        push_random(&mut text)?;
        let checksum = checksum(text.as_bytes());
        text.extend(checksum.iter().map(|&digit| char::from(digit)));
        let lookup = derive(kind, &text, LOOKUP_CONTEXT).ok_or(NoRandomness)?;
        Ok(Self { kind, text: Secret::new(std::mem::take(&mut *text)), lookup })
    }

    /// Checks length, prefix, alphabet and checksum; `None` for anything else. Needs no look-up.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, lookup) = Self::lookup_of(text)?;
        Some(Self { kind, text: Secret::new(text), lookup })
    }

    /// What [`parse`](Self::parse) and [`lookup`](Self::lookup) say together, without a copy of the credential: for the
    /// request path.
    pub fn lookup_of(text: &str) -> Option<(CredentialKind, [u8; 32])> {
        let kind = kind_of(text)?;
        Some((kind, derive(kind, text, LOOKUP_CONTEXT)?))
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
        self.lookup
    }
}

/// The kind of a well-formed credential.
fn kind_of(text: &str) -> Option<CredentialKind> {
    if text.len() != CREDENTIAL_LEN {
        return None;
    }
    let kind = CredentialKind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))?;
    let (body, written) = text.as_bytes().split_at_checked(CREDENTIAL_LEN - CHECKSUM_LEN)?;
    let well_formed = body.get(PREFIX_LEN..)?.iter().all(u8::is_ascii_alphanumeric) && written == checksum(body);
    well_formed.then_some(kind)
}

/// HKDF-SHA-256 with the credential as input key material and never as salt or HMAC key: there a text longer than 64 bytes
/// collapses to its plain hash.
fn derive(kind: CredentialKind, text: &str, context: &[u8]) -> Option<[u8; 32]> {
    let mut extract = EXTRACT[kind as usize].clone()?;
    extract.update(text.as_bytes()).ok()?;
    let prk = extract.finalize().ok()?;
    let mut derived = [0; 32];
    Hkdf::<SHA256>::expand(&prk, Some(context), &mut derived).ok()?;
    Some(derived)
}

/// Appends 43 uniform characters: bytes from 248 on are thrown away, the rest is an exact multiple of 62.
fn push_random(text: &mut String) -> Result<(), NoRandomness> {
    let mut random = Zeroizing::new([0; 64]);
    let mut missing = RANDOM_LEN;
    while missing > 0 {
        orion::util::secure_rand_bytes(&mut *random).map_err(|_| NoRandomness)?;
        for byte in random.iter().filter(|&&byte| byte < 248).take(missing) {
            text.push(char::from(ALPHABET[usize::from(byte % 62)]));
            missing -= 1;
        }
    }
    Ok(())
}

/// CRC-32/ISO-HDLC in base 62, padded with zeros to six digits.
fn checksum(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(body);
    let mut digits = [b'0'; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: &str = "aigw-sk-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1UFIWw";
    const KNOWN_EDGE: &str = "aigw-ek-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg0VOeur";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_known_answer_of_the_specification_holds() {
        let (kind, lookup) = Credential::lookup_of(KNOWN).unwrap();
        assert_eq!(kind, CredentialKind::Virtual);
        assert_eq!(hex(&lookup), "dc4a596836cd19cd7d8d4a34d159b802de145e42fab9b2e6d8562537302a4fba");
        assert_eq!(Credential::parse(KNOWN).unwrap().lookup(), lookup);
    }

    #[test]
    fn contexts_derive_as_the_known_answers_say() {
        let wrap_key = derive(CredentialKind::Virtual, KNOWN, b"\x00\x10aigw/v1/wrap-key").unwrap();
        assert_eq!(hex(&wrap_key), "f7ce7d39173299cb89ebad5ae792b44a3bd43706faa5e8cd659e48f0cfbd437e");
        assert_eq!(Credential::parse(KNOWN_EDGE).unwrap().kind(), CredentialKind::Edge);
        let edge_key = derive(CredentialKind::Edge, KNOWN_EDGE, b"\x00\x10aigw/v1/edge-key").unwrap();
        assert_eq!(hex(&edge_key), "a455c6c0a6e3938ddbf58b9518c9f096fcb897a05451ebd81a6a403d98c6b4a2");
    }

    #[test]
    fn a_minted_credential_parses_as_its_kind_and_no_two_are_equal() {
        for kind in CredentialKind::ALL {
            let (one, other) = (Credential::mint(kind).unwrap(), Credential::mint(kind).unwrap());
            assert_eq!(one.text().expose().len(), CREDENTIAL_LEN);
            let parsed = Credential::parse(one.text().expose()).unwrap();
            assert_eq!((parsed.kind(), parsed.lookup()), (kind, one.lookup()));
            assert_ne!(one.lookup(), other.lookup());
        }
    }

    #[test]
    fn every_single_changed_character_is_noticed() {
        for at in 0..KNOWN.len() {
            for replacement in ["0", "z", "-", " "] {
                let mut changed = KNOWN.to_owned();
                changed.replace_range(at..=at, replacement);
                assert_eq!(Credential::parse(&changed).is_some(), changed == KNOWN, "{changed}");
            }
        }
    }

    #[test]
    fn wrong_lengths_and_foreign_texts_are_refused() {
        for text in
            ["", "sk-1234", &KNOWN[1..], &KNOWN[..56], &format!("{KNOWN}0"), &KNOWN.to_uppercase(), &"é".repeat(28), &" ".repeat(57)]
        {
            assert!(Credential::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_credential_prints_redacted_and_masked_only() {
        let credential = Credential::parse(KNOWN).unwrap();
        assert!(!format!("{credential:?}").contains("0123456789"));
        assert_eq!(credential.kind().masked(credential.text().last4()), "aigw-sk-…FIWw");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,80}", tail in "[0-9A-Za-z-]{40,60}") {
            let _ = Credential::parse(&text);
            let _ = Credential::parse(&format!("aigw-sk-{tail}"));
        }
    }
}
