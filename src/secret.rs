//! A text that must never be seen: zeroised on drop, redacted in `Debug`, without `Display`, `Clone` or `Serialize`.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text: a provider key, the admin token.
#[derive(PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes charge of a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The last four characters, for people who must tell keys apart; empty if that would be more than a third of it.
    pub fn last4(&self) -> &str {
        let start = self.0.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
        if self.0.len() >= 12 { &self.0[start..] } else { "" }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
