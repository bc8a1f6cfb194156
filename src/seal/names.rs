//! Public identifiers that blobs are bound to, besides tenants, keys and providers: edges, rings,
//! epochs, versions and master keys.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Maximum length in bytes of an id or name that a key or blob is bound to (spec/security.md,
/// "Words").
pub const LONGEST_NAME: usize = 64;

/// The text cannot be the name of an edge, a ring or a tenant key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid name; use 1 to 64 letters, digits, dots, dashes and underscores, starting with a letter or digit")]
pub struct BadName(String);

/// Declares a validated name type.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Arc<str>);

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl $name {
            /// Validates a name.
            ///
            /// # Errors
            /// If it is empty, longer than 64 bytes, or has other characters than letters, digits
            /// and `.-_`.
            pub fn parse(text: &str) -> Result<Self, BadName> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(BadName(text.to_owned())) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(/// A gateway's id, as in `aigw edge add ID` (spec/security.md 1.5).
    EdgeId);
name!(/// A group of provider keys within a tenant, such as a project (spec/security.md 1.2).
    Ring);
name!(/// A tenant key's id, `tk_…`: public, unlike the key.
    TenantKeyId);

/// Number of a ring's spend key, from 1; incremented when the spend key is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

/// Number of a provider's key, from 1; incremented when the key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u32);

/// Id of the master key that wrapped a blob; stored in clear, written as eight hexadecimal digits
/// (spec/security.md 1.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kid([u8; 4]);

impl EdgeId {
    /// `local`: the edge of a process that runs both halves.
    pub fn local() -> Self {
        Self("local".into())
    }
}

impl Ring {
    /// `main`: every tenant's default ring.
    pub fn main() -> Self {
        Self("main".into())
    }

    /// `vault`: credentials of background work. It cannot be granted to virtual keys.
    pub fn vault() -> Self {
        Self("vault".into())
    }

    /// Returns whether this is the ring `vault`.
    pub fn is_vault(&self) -> bool {
        &*self.0 == "vault"
    }
}

impl Kid {
    /// Wraps the four bytes of a kid.
    pub fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// Parses eight lower-case hexadecimal digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let kid = Self(u32::from_str_radix(text, 16).ok()?.to_be_bytes());
        (kid.to_string() == text).then_some(kid)
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_plain_ascii() {
        for good in ["local", "eu-1", "a", &"x".repeat(64)] {
            assert_eq!(EdgeId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "ü", "a b", "a\0", "a/b", &"x".repeat(65)] {
            assert!(Ring::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_kid_parses_what_it_prints_and_nothing_else() {
        let kid = Kid::new([0x03, 0xa5, 0xb7, 0x5c]);
        assert_eq!(Kid::parse("03a5b75c"), Some(kid));
        for bad in ["", "3a5b75c", "03A5B75C", "+3a5b75c", "003a5b75c", "03a5b75g"] {
            assert_eq!(Kid::parse(bad), None, "{bad}");
        }
    }
}
