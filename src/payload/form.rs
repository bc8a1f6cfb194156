//! A multipart form (RFC 2046, RFC 7578) as the bytes that came and the spans of its parts.
//!
//! The body goes upstream as it is but for a replaced text field, so another parser reads the same
//! bytes again. That parser must find the same fields, or a client could name one model to the
//! gateway and another to the provider. Whatever parsers are known to disagree about is therefore
//! refused: a preamble or epilogue, bare line breaks before a boundary, a boundary with anything
//! behind it, folded header lines, escaped quotes, repeated parameters and transfer encodings.

mod boundary;
pub mod error;
mod head;
mod parameters;
mod scan;

use std::ops::Range;

use bytes::Bytes;

use error::{FieldError, FormError};

/// A form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    bytes: Bytes,
    content_type: Box<str>,
    /// `--` and the boundary.
    delimiter: Box<[u8]>,
    parts: Vec<FormPart>,
}

/// One part of a [`Form`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct FormPart {
    name: Box<str>,
    content: Range<usize>,
    is_text: bool,
}

impl Form {
    /// Parses a body with this `content-type` header.
    ///
    /// # Errors
    /// The first rule that is broken, and its place.
    pub fn parse(content_type: &str, bytes: Bytes) -> Result<Self, FormError> {
        let delimiter = boundary::delimiter(content_type)?;
        let mut parts = Vec::new();
        for span in scan::parts(&bytes, &delimiter)? {
            let (head, content) = scan::split(&bytes, span)?;
            let at = head.start;
            let head = head::read(&bytes[head]).map_err(|what| FormError { what, at })?;
            parts.push(FormPart { name: head.name.into(), content, is_text: head.is_text });
        }
        Ok(Self { bytes, content_type: content_type.into(), delimiter, parts })
    }

    /// The body as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The `content-type` header as it came, with the boundary.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Returns the content of each part with this name, in their order.
    pub fn contents(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().filter(move |part| &*part.name == name).map(|part| &self.bytes[part.content.clone()])
    }

    /// Returns the text of a field.
    ///
    /// # Errors
    /// There are several parts with this name, or it is not a text in UTF-8.
    pub fn text(&self, name: &str) -> Option<Result<&str, FieldError>> {
        let content = match self.text_part(name) {
            Ok(part) => &self.bytes[part.content.clone()],
            Err(FieldError::Missing) => return None,
            Err(error) => return Some(Err(error)),
        };
        Some(str::from_utf8(content).map_err(|_| FieldError::NotText))
    }

    /// Returns the body with another text in a field. Everything else is copied once, or not at all
    /// if the field has that text already.
    ///
    /// # Errors
    /// As [`text`](Self::text), or the field is missing, or the form cannot hold this text.
    pub fn splice(&self, name: &str, text: &str) -> Result<Bytes, FieldError> {
        let Range { start, end } = self.text_part(name)?.content.clone();
        if self.bytes[start..end] == *text.as_bytes() {
            return Ok(self.bytes.clone());
        }
        // A boundary is recognized at the start of a line, and the content starts one.
        if text.contains(['\r', '\n']) || text.as_bytes().starts_with(&self.delimiter) {
            return Err(FieldError::Unspeakable);
        }
        let mut spliced = Vec::with_capacity(self.bytes.len() - (end - start) + text.len());
        for part in [&self.bytes[..start], text.as_bytes(), &self.bytes[end..]] {
            spliced.extend_from_slice(part);
        }
        Ok(spliced.into())
    }

    fn text_part(&self, name: &str) -> Result<&FormPart, FieldError> {
        let mut named = self.parts.iter().filter(|part| &*part.name == name);
        match (named.next(), named.next()) {
            (None, _) => Err(FieldError::Missing),
            (Some(_), Some(_)) => Err(FieldError::Repeated),
            (Some(part), None) if part.is_text => Ok(part),
            (Some(_), None) => Err(FieldError::NotText),
        }
    }
}

#[cfg(test)]
mod tests;
