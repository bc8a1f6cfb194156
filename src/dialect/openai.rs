//! The universal path: OpenAI's own language, spoken by most providers, so that bodies pass as they are.
//!
//! Here: what is changed in a request on its way up. Answers are read in `reader`; nothing is ever written anew.

mod answer;
mod failure;
mod peek;
mod reader;
mod usage;

use crate::dialect::{Ask, Call, Dialect, Failure, Prepared, Quirks, Reader, Refused};
use crate::json::{Document, Edit, WrongType};
use crate::terms::Operation;

/// OpenAI's own language.
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

    fn request(&self, ask: &Ask<'_>) -> Result<Prepared, Refused> {
        let Quirks { rename, drop, set, stream_usage, .. } = ask.quirks;
        // A string is always JSON.
        let model = serde_json::to_string(ask.upstream_model).unwrap_or_default();
        let options = StreamOptions::of(ask)?;
        let asked = options.as_ref().filter(|_| *stream_usage).map(StreamOptions::with_usage);
        let mut edits = Vec::with_capacity(2 + rename.len() + drop.len() + set.len());
        edits.push(Edit::Set { name: "model", value: &model });
        edits.extend(asked.as_deref().map(|value| Edit::Set { name: "stream_options", value }));
        // The kind has the last word.
        edits.extend(rename.iter().map(|(from, to)| Edit::Rename { from, to }));
        edits.extend(drop.iter().map(|name| Edit::Remove { name }));
        edits.extend(set.iter().map(|(name, value)| Edit::Set { name, value }));
        let body = ask.document.splice(&edits);
        Ok(Prepared { call: Call::Http { headers: Vec::new(), body }, reader: reader_of(ask, options.as_ref()), dropped: Vec::new() })
    }

    fn failure(&self, status: u16, body: &[u8]) -> Failure {
        failure::read(status, body)
    }
}

/// Who reads the answer to `ask`, if it comes in OpenAI's language.
///
/// # Errors
/// [`Refused`] where `stream_options` cannot be read.
pub(super) fn reader(ask: &Ask<'_>) -> Result<Box<dyn Reader>, Refused> {
    Ok(reader_of(ask, StreamOptions::of(ask)?.as_ref()))
}

fn reader_of(ask: &Ask<'_>, options: Option<&StreamOptions>) -> Box<dyn Reader> {
    let wants_usage = options.is_some_and(|options| options.include_usage);
    // How many choices a stream has to finish; whatever else stands there is the upstream's to refuse.
    let choices = ask.document.get("n").and_then(|n| n.parse().ok()).unwrap_or(1);
    Box::new(reader::OpenAiReader::new(ask.operation, wants_usage, choices, ask.sse))
}

/// What the client says about its stream.
struct StreamOptions {
    given: Option<Document>,
    include_usage: bool,
}

impl StreamOptions {
    /// `None` where the operation knows no such options or no stream is asked for.
    fn of(ask: &Ask<'_>) -> Result<Option<Self>, Refused> {
        if !ask.stream || ask.operation == Operation::Embeddings {
            return Ok(None);
        }
        let given = ask.document.object("stream_options").transpose().map_err(|wrong| refused("stream_options", wrong))?;
        let include_usage = given.as_ref().and_then(|options| options.boolean("include_usage")).transpose();
        let include_usage = include_usage.map_err(|wrong| refused("stream_options.include_usage", wrong))?.unwrap_or(false);
        Ok(Some(Self { given, include_usage }))
    }

    /// The options as the upstream is to get them, the client's others kept.
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
