//! The body of a client's request in the format of its operation. It stays the bytes that came,
//! with the spans of its members.

pub mod form;

use bytes::Bytes;
use smol_str::SmolStr;

use crate::json::{Document, JsonError, JsonLimits, WrongType};
use form::Form;
use form::error::FormError;

/// A request body.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A JSON object.
    Json(Document),
    /// A multipart form.
    Form(Form),
}

/// Format of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadFormat {
    /// A JSON object.
    Json,
    /// A multipart form, of `multipart/form-data`.
    Form,
}

/// The reason why a body is not a payload of the expected format. The text never quotes the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not a valid JSON object, or over a limit.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Not a valid form, or over a limit.
    #[error(transparent)]
    Form(#[from] FormError),
}

impl PayloadFormat {
    /// Media type of bodies in this format, without parameters.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "multipart/form-data",
        }
    }

    /// Parses a body. `content_type` is the value of that header, empty if there is none.
    ///
    /// # Errors
    /// The body is not in this format, or exceeds a limit.
    pub fn parse(self, content_type: &str, bytes: Bytes, limits: JsonLimits) -> Result<Payload, PayloadError> {
        Ok(match self {
            Self::Json => Payload::Json(Document::parse(bytes, limits)?),
            Self::Form => Payload::Form(Form::parse(content_type, bytes)?),
        })
    }
}

impl Payload {
    /// The body as it came.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Json(document) => document.bytes(),
            Self::Form(form) => form.bytes(),
        }
    }

    /// Returns the JSON object, if it is one.
    pub fn json(&self) -> Option<&Document> {
        match self {
            Self::Json(document) => Some(document),
            Self::Form(_) => None,
        }
    }

    /// Returns the text of a top-level member or field.
    ///
    /// # Errors
    /// [`WrongType`] if it is not a text, or a form has several fields of that name.
    pub fn text(&self, name: &str) -> Option<Result<SmolStr, WrongType>> {
        let wrong = WrongType { expected: "a string" };
        match self {
            Self::Json(document) => document.get(name).map(|raw| serde_json::from_str(raw).map_err(|_| wrong)),
            Self::Form(form) => form.text(name).map(|text| text.map(SmolStr::from).map_err(|_| wrong)),
        }
    }

    /// Returns a top-level member or field that is true or false. `null` counts as false.
    ///
    /// # Errors
    /// [`WrongType`] if it is anything else.
    pub fn flag(&self, name: &str) -> Option<Result<bool, WrongType>> {
        let raw = match self {
            Self::Json(document) => document.get(name)?,
            Self::Form(form) => form.text(name)?.unwrap_or_default(),
        };
        Some(match (raw, self) {
            ("true", _) => Ok(true),
            ("false", _) | ("null", Self::Json(_)) => Ok(false),
            _ => Err(WrongType { expected: "true or false" }),
        })
    }

    /// Returns the size in bytes of a top-level member or of all fields with this name.
    pub fn size_of(&self, name: &str) -> u64 {
        match self {
            Self::Json(document) => document.raw(name).map_or(0, |raw| raw.len() as u64),
            Self::Form(form) => form.contents(name).map(|content| content.len() as u64).sum(),
        }
    }
}
