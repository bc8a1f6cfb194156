//! JSON that stays text: one pass checks that a body is one valid object within its limits, and finds the spans of its top-level
//! members.
//!
//! The same spans of the same bytes are read, checked and replaced, so what was authorised is what is sent (spec/security.md 7.5).
//! There is no parser to values here: serde_json parses a span where its value is needed.

mod block;
mod document;
mod error;
mod limits;
mod member;
mod plain;
mod scan;
mod splice;
#[cfg(test)]
mod tests;

pub use document::Document;
pub use error::{JsonError, WrongType};
pub use limits::JsonLimits;
pub use member::Member;
pub use plain::members;
pub use splice::Edit;
