//! A body as text with the spans of its top-level members.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;

use super::error::{JsonError, WrongType};
use super::limits::JsonLimits;
use super::member::Member;
use super::scan;

/// Body of a request: the bytes as received and the spans of its top-level members.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) bytes: Bytes,
    pub(super) members: Vec<Member>,
}

impl Document {
    /// Parses `bytes` as one JSON object: UTF-8 without BOM, no lone surrogates, finite numbers, nothing after the value, no
    /// duplicate top-level key (compared after unescaping), within `limits`.
    ///
    /// # Errors
    /// The first rule that is broken, with its byte offset.
    pub fn parse(bytes: Bytes, limits: JsonLimits) -> Result<Self, JsonError> {
        let mut members = Vec::with_capacity(16);
        scan::members(&bytes, limits, |member| members.push(member))?;
        let document = Self { bytes, members };
        document.refuse_duplicates()?;
        Ok(document)
    }

    /// Returns the bytes as received.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the top-level members in their order, each with its unescaped name.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&str, &Member)> {
        self.members.iter().map(|member| (str::from_utf8(self.name(member)).unwrap_or_default(), member))
    }

    /// Returns the raw text of the top-level member `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.raw(name)?).ok()
    }

    /// Returns the raw bytes of the top-level member `name`. Unlike [`get`](Self::get), it does not check UTF-8 again.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        let member = self.members.get(self.find(name)?)?;
        Some(&self.bytes[member.value.clone()])
    }

    /// Returns the top-level member `name` as a document of its own. `null` counts as absent.
    ///
    /// # Errors
    /// [`WrongType`] if it is not an object or has a duplicate key.
    pub fn object(&self, name: &str) -> Option<Result<Document, WrongType>> {
        let member = &self.members[self.find(name)?];
        let bytes = self.bytes.slice(member.value.clone());
        not_null(&bytes)?;
        // The limits were applied to the whole.
        Some(Document::parse(bytes, JsonLimits::NONE).map_err(|_| WrongType { expected: "an object without repeated keys" }))
    }

    /// Returns the top-level member `name` as text. `null` counts as absent.
    ///
    /// # Errors
    /// [`WrongType`] if it is not a string.
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

    /// Returns the top-level member `name` as a boolean. `null` counts as absent.
    ///
    /// # Errors
    /// [`WrongType`] if it is neither `true` nor `false`.
    pub fn boolean(&self, name: &str) -> Option<Result<bool, WrongType>> {
        Some(match not_null(self.raw(name)?)? {
            b"true" => Ok(true),
            b"false" => Ok(false),
            _ => Err(WrongType { expected: "true or false" }),
        })
    }

    /// Returns the index of the member `name`.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| self.name(member) == name.as_bytes())
    }

    fn name<'a>(&'a self, member: &'a Member) -> &'a [u8] {
        match &member.unescaped {
            Some(name) => name.as_bytes(),
            None => &self.bytes[member.key.start + 1..member.key.end - 1],
        }
    }

    fn refuse_duplicates(&self) -> Result<(), JsonError> {
        let repeated = |member: &Member| Err(JsonError { problem: "duplicate key", at: member.key.start });
        // Comparing is faster for few members; for many it would take quadratic time.
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
