//! The words of the trade as types: operations, names, token counts, money.
//!
//! The lowest room of the house: everything may import it, it imports nothing of ours. No behaviour beyond what keeps a
//! value what it says it is.

pub mod natural;

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// What a request asks for: one per endpoint of the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
}

impl Operation {
    /// Every operation, in the order of the contract's table.
    pub const ALL: [Operation; 3] = [Operation::Chat, Operation::Completions, Operation::Embeddings];

    /// The name in TOML, in the ledger and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Chat => "chat",
            Operation::Completions => "completions",
            Operation::Embeddings => "embeddings",
        }
    }

    /// The operation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }
}

/// Language of a body, whichever side speaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI's Chat Completions and the operations that share its errors.
    Chat,
    /// Anthropic's Messages.
    Messages,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Declares a name that is cheap to clone and cannot be taken for another kind of name. Short ones are held in place: every request
/// clones a dozen, and a count of references would be shared by all workers.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(SmolStr);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
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

name!(/// A tenant's id, a slug such as `acme`.
    TenantId);
name!(/// A virtual key's id, `key_…`: public, unlike the key.
    KeyId);
name!(/// A provider's name, such as `1-groq`; its natural order is its priority.
    ProviderName);
name!(/// A kind's name, such as `groq`.
    KindName);
name!(/// A model's public id in the catalog.
    ModelId);
name!(/// The id a request is known by in headers, logs and the ledger.
    RequestId);

/// Who is billed for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Billing {
    /// The operator's provider keys; the tenant owes the operator.
    Brokered,
    /// The tenant's own provider keys; nothing is owed.
    Byo,
}

impl Billing {
    /// Returns the spelling in JSON, SQL and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Billing::Brokered => "brokered",
            Billing::Byo => "byo",
        }
    }

    /// Returns the value with this spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "brokered" => Some(Billing::Brokered),
            "byo" => Some(Billing::Byo),
            _ => None,
        }
    }
}

/// Token counts of one request. `prompt_tokens` includes cached and cache-write tokens; `completion_tokens` includes
/// reasoning tokens, as in OpenAI's usage object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Usage {
    /// All input tokens.
    pub prompt_tokens: u64,
    /// The part of the prompt read from the provider's cache.
    pub cached_tokens: u64,
    /// The part of the prompt written to the provider's cache, whatever its lifetime.
    pub cache_write_tokens: u64,
    /// The part of `cache_write_tokens` that is kept for an hour and priced apart.
    pub cache_write_1h_tokens: u64,
    /// All output tokens.
    pub completion_tokens: u64,
    /// The part of the output spent on reasoning.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// A count beyond this is a fault and no count: ten times what the longest context holds. A provider that makes counts up
    /// shall not have the sums over everybody's entries run over either.
    pub const MOST: u64 = 100_000_000;

    /// Tokens of a text that no provider counted: its UTF-8 bytes by three, rounded up. A cautious figure for the
    /// entry of a request whose usage was never reported.
    pub fn estimate(bytes: u64) -> u64 {
        bytes.div_ceil(3)
    }
}

/// An amount of money in billionths of a US dollar. Never a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub i64);

impl fmt::Display for NanoUsd {
    /// Decimal US dollars without an exponent, trailing zeros cut: `0.000123`, `0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, nano) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let (whole, mut fraction) = (nano / 1_000_000_000, nano % 1_000_000_000);
        let mut digits = *b".000000000";
        for digit in digits[1..].iter_mut().rev() {
            (*digit, fraction) = (b'0' + (fraction % 10) as u8, fraction / 10);
        }
        let digits = str::from_utf8(&digits).unwrap_or_default();
        write!(f, "{sign}{whole}{}", digits.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// An amount of money in trillionths of a US dollar: the unit prices are kept in. One US dollar per million tokens is
/// 1,000,000 of these per token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PicoUsd(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_prints_as_plain_decimal_dollars() {
        for (nano, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (1_500_000_000, "1.5"),
            (-20_000_000, "-0.02"),
            (7_000_000_000, "7"),
            (-12_000_000_000, "-12"),
            (100_000_000_010, "100.00000001"),
            (i64::MIN, "-9223372036.854775808"),
        ] {
            assert_eq!(NanoUsd(nano).to_string(), text);
        }
    }

    #[test]
    fn every_operation_is_found_by_its_name() {
        for operation in Operation::ALL {
            assert_eq!(Operation::from_name(operation.as_str()), Some(operation));
        }
        assert_eq!(Operation::from_name("chats"), None);
    }
}
