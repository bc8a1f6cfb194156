//! One pass over a JSON object that stays text: is it valid, is it within its limits, and where are its top-level members?
//!
//! What is read here, checked and later replaced are the same spans of the same bytes, so what was authorised is what is
//! sent (spec/security.md 7.5). This is not a parser to values: whoever needs values hands a span to serde_json.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;

mod block;
mod scan;
mod splice;
#[cfg(test)]
mod tests;

pub use splice::Edit;

/// A client's JSON body: the bytes as they came and the spans of its top-level members.
#[derive(Clone, Debug)]
pub struct Document {
    bytes: Bytes,
    members: Vec<Member>,
}

/// One top-level member of a [`Document`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key, if it is spelled with escapes; else it is read where it stands.
    unescaped: Option<Box<str>>,
    /// Where the key stands, quotes included.
    pub key: Range<usize>,
    /// Where the value stands.
    pub value: Range<usize>,
}

/// How deep and how large a body may be (spec/security.md 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// Nesting of arrays and objects, the outermost included. More than 127 counts as 127.
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

/// A member is there and is of another type than it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {expected}")]
pub struct WrongType {
    /// What it has to be, such as `a string`.
    pub expected: &'static str,
}

/// Tells `each` of the top-level members of one JSON object, key and value as they are spelled, in their order: for texts that are
/// somebody else's to judge. `None` if the text is not of the plainest kind, and then may be valid all the same: whoever has to
/// know asks serde_json.
pub fn members<'a>(bytes: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) -> Option<()> {
    let limits = JsonLimits { depth: usize::MAX, strings: usize::MAX, keys: usize::MAX };
    let mut is_plain = true;
    let tell = |Member { unescaped, key, value }| {
        is_plain &= unescaped.is_none();
        each(&bytes[key.start + 1..key.end - 1], &bytes[value]);
    };
    scan::members(bytes, limits, tell).ok()?;
    is_plain.then_some(())
}

impl Document {
    /// Reads `bytes` as one JSON object: UTF-8 without BOM, no lone surrogates, finite numbers, nothing after the value, no
    /// top-level key twice (compared after unescaping), within `limits`.
    ///
    /// # Errors
    /// The first rule that is broken, and where.
    pub fn parse(bytes: Bytes, limits: JsonLimits) -> Result<Self, JsonError> {
        let mut members = Vec::with_capacity(16);
        scan::members(&bytes, limits, |member| members.push(member))?;
        let document = Self { bytes, members };
        document.refuse_duplicates()?;
        Ok(document)
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The top-level members in their order, each with its name, unescaped.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&str, &Member)> {
        self.members.iter().map(|member| (str::from_utf8(self.name(member)).unwrap_or_default(), member))
    }

    /// The raw text of the top-level member `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.raw(name)?).ok()
    }

    /// The raw bytes of the top-level member `name`: the same as [`get`](Self::get) without another look at each byte.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        let member = self.members.get(self.find(name)?)?;
        Some(&self.bytes[member.value.clone()])
    }

    /// The top-level member `name` as a document of its own.
    ///
    /// # Errors
    /// [`WrongType`] if it is no object, or one that names a key twice. `null` is as good as absent.
    pub fn object(&self, name: &str) -> Option<Result<Document, WrongType>> {
        let member = &self.members[self.find(name)?];
        let bytes = self.bytes.slice(member.value.clone());
        not_null(&bytes)?;
        // The limits were applied to the whole.
        let limits = JsonLimits { depth: usize::MAX, strings: usize::MAX, keys: usize::MAX };
        Some(Document::parse(bytes, limits).map_err(|_| WrongType { expected: "an object without repeated keys" }))
    }

    /// The top-level member `name` as text.
    ///
    /// # Errors
    /// [`WrongType`] if it is no string. `null` is as good as absent.
    pub fn string(&self, name: &str) -> Option<Result<Cow<'_, str>, WrongType>> {
        let raw = not_null(self.raw(name)?)?;
        let wrong = WrongType { expected: "a string" };
        let Some(text) = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else { return Some(Err(wrong)) };
        Some(if memchr::memchr(b'\\', text).is_none() {
            str::from_utf8(text).map(Cow::Borrowed).map_err(|_| wrong)
        } else {
            serde_json::from_slice(raw).map(Cow::Owned).map_err(|_| wrong)
        })
    }

    /// The top-level member `name` as a truth value.
    ///
    /// # Errors
    /// [`WrongType`] if it is neither `true` nor `false`. `null` is as good as absent.
    pub fn boolean(&self, name: &str) -> Option<Result<bool, WrongType>> {
        Some(match not_null(self.raw(name)?)? {
            b"true" => Ok(true),
            b"false" => Ok(false),
            _ => Err(WrongType { expected: "true or false" }),
        })
    }

    /// Where among the members `name` stands.
    fn find(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| self.name(member) == name.as_bytes())
    }

    fn name<'a>(&'a self, member: &'a Member) -> &'a [u8] {
        match &member.unescaped {
            Some(name) => name.as_bytes(),
            None => &self.bytes[member.key.start + 1..member.key.end - 1],
        }
    }

    fn refuse_duplicates(&self) -> Result<(), JsonError> {
        let repeated = |member: &Member| Err(JsonError { what: "a key that was there before", at: member.key.start });
        // Few members are compared faster than hashed; many must not cost their square.
        if self.members.len() > 24 {
            let mut seen = HashSet::with_capacity(self.members.len());
            return self.members.iter().find(|member| !seen.insert(self.name(member))).map_or(Ok(()), repeated);
        }
        for (nth, member) in self.members.iter().enumerate() {
            if self.members[..nth].iter().any(|earlier| self.name(earlier) == self.name(member)) {
                return repeated(member);
            }
        }
        Ok(())
    }
}

fn not_null(raw: &[u8]) -> Option<&[u8]> {
    (raw != b"null").then_some(raw)
}
