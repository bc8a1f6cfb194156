//! One pass over a JSON object that stays text: is it valid, is it within its limits, and where are its top-level members?
//!
//! What is read here, checked and later replaced are the same spans of the same bytes, so what was authorised is what is
//! sent (spec/security.md 7.5). This is not a parser to values: whoever needs values hands a span to serde_json.

use std::ops::Range;

use bytes::Bytes;

/// A client's JSON body: the bytes as they came and the spans of its top-level members. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Document {
    bytes: Bytes,
    members: std::sync::Arc<[Member]>,
}

/// One top-level member of a [`Document`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key, unescaped.
    pub name: String,
    /// Where the key stands, quotes included.
    pub key: Range<usize>,
    /// Where the value stands.
    pub value: Range<usize>,
}

/// How deep and how large a body may be (spec/security.md 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// Nesting of arrays and objects.
    pub depth: usize,
    /// String values in the whole document.
    pub strings: usize,
    /// Object keys in the whole document.
    pub keys: usize,
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { depth: 64, strings: 100_000, keys: 200_000 }
    }
}

/// Why a body is no JSON object that may pass. The text names a byte offset, never a byte of the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct JsonError {
    /// What is wrong, in words a caller can act on.
    pub what: &'static str,
    /// The offset in the body.
    pub at: usize,
}

impl Document {
    /// Reads `bytes` as one JSON object: UTF-8 without BOM, no lone surrogates, finite numbers, nothing after the value, no
    /// top-level key twice (compared after unescaping), within `limits`.
    pub fn parse(bytes: Bytes, limits: JsonLimits) -> Result<Self, JsonError> {
        let _ = (&bytes, limits);
        todo!("interface")
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The top-level members in their order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The raw text of the top-level member `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let member = self.members.iter().find(|member| member.name == name)?;
        std::str::from_utf8(&self.bytes[member.value.clone()]).ok()
    }
}
