//! The `openai` dialect, which most providers speak. Bodies pass unchanged.
//!
//! This file makes the few edits that a request needs. Answers are read in `reader`. Nothing is
//! re-serialized.

mod answer;
mod failure;
mod peek;
mod reader;
mod usage;

use crate::dialect::call::{AnswerFormat, Call, JSON, Prepared};
use crate::dialect::contract::Dialect;
use crate::dialect::failure::Failure;
use crate::dialect::quirks::Quirks;
use crate::dialect::reader::Reader;
use crate::dialect::request::{DialectRequest, JsonRequest, Refused};
use crate::json::{Document, Edit, WrongType};
use crate::terms::Operation;

/// Dialect of OpenAI's API.
pub struct OpenAi;

impl Dialect for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn path(&self, operation: Operation) -> Option<&'static str> {
        Some(match operation {
            Operation::Chat => "/chat/completions",
            Operation::Completions => "/completions",
            Operation::Embeddings => "/embeddings",
        })
    }

    fn request(&self, request: &DialectRequest<'_>) -> Result<Prepared, Refused> {
        let request = &request.json()?;
        let Quirks { rename, drop, set, stream_usage, .. } = request.quirks;
        // Serializing a string cannot fail.
        let model = serde_json::to_string(request.upstream_model).unwrap_or_default();
        let options = StreamOptions::of(request)?;
        let usage_options = options.as_ref().filter(|_| *stream_usage).map(StreamOptions::with_usage);
        let mut edits = Vec::with_capacity(2 + rename.len() + drop.len() + set.len());
        edits.push(Edit::Set { name: "model", value: &model });
        edits.extend(usage_options.as_deref().map(|value| Edit::Set { name: "stream_options", value }));
        // The kind's edits come last, so that they win.
        edits.extend(rename.iter().map(|(from, to)| Edit::Rename { from, to }));
        edits.extend(drop.iter().map(|name| Edit::Remove { name }));
        edits.extend(set.iter().map(|(name, value)| Edit::Set { name, value }));
        let body = request.payload.splice(&edits);
        Ok(Prepared {
            call: Call::Http { headers: Vec::new(), content_type: JSON, body },
            reader: new_reader(request, options.as_ref()),
            format: AnswerFormat::of_json(request.stream),
            dropped: Vec::new(),
        })
    }

    fn failure(&self, status: u16, body: &[u8]) -> Failure {
        failure::read(status, body)
    }
}

/// Creates the reader of an answer in OpenAI's format.
///
/// # Errors
/// [`Refused`] if `stream_options` is invalid.
pub(super) fn reader(request: &JsonRequest<'_>) -> Result<Box<dyn Reader>, Refused> {
    Ok(new_reader(request, StreamOptions::of(request)?.as_ref()))
}

fn new_reader(request: &JsonRequest<'_>, options: Option<&StreamOptions>) -> Box<dyn Reader> {
    let wants_usage = options.is_some_and(|options| options.include_usage);
    // Number of choices that a stream must finish. The upstream refuses an invalid `n`.
    let choices = request.payload.get("n").and_then(|n| n.parse().ok()).unwrap_or(1);
    Box::new(reader::OpenAiReader::new(request.operation, wants_usage, choices, request.sse))
}

/// `stream_options` of the client.
struct StreamOptions {
    given: Option<Document>,
    include_usage: bool,
}

impl StreamOptions {
    /// Parses the options. `None` if the operation has none or the request is not a stream.
    fn of(request: &JsonRequest<'_>) -> Result<Option<Self>, Refused> {
        if !request.stream || request.operation == Operation::Embeddings {
            return Ok(None);
        }
        let given = request.payload.object("stream_options").transpose().map_err(|wrong| refused("stream_options", wrong))?;
        let include_usage = given.as_ref().and_then(|options| options.boolean("include_usage")).transpose();
        let include_usage = include_usage.map_err(|wrong| refused("stream_options.include_usage", wrong))?.unwrap_or(false);
        Ok(Some(Self { given, include_usage }))
    }

    /// Returns the client's options with `include_usage` set.
    fn with_usage(&self) -> String {
        match &self.given {
            None => r#"{"include_usage":true}"#.to_owned(),
            Some(given) => String::from_utf8_lossy(&given.splice(&[Edit::Set { name: "include_usage", value: "true" }])).into_owned(),
        }
    }
}

fn refused(param: &str, wrong: WrongType) -> Refused {
    Refused { code: "invalid_value", param: Some(param.to_owned()), message: format!("{param} {wrong}") }
}

#[cfg(test)]
mod tests;
