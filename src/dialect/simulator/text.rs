//! Text and token counts of the simulator's replies.

use serde_json::Value;

use super::refusal::refused;
use crate::dialect::request::{JsonRequest, Refused};
use crate::terms::Operation;

/// Placeholder text of `sim-lorem`.
const LOREM: &str = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna \
    aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat. Duis aute irure \
    dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur. Excepteur sint occaecat cupidatat non proident, \
    sunt in culpa qui officia deserunt mollit anim id est laborum.";

/// Reply to a request.
#[derive(Debug, PartialEq)]
pub(super) struct SimulatedReply {
    /// Choices, in order.
    pub choices: Vec<SimulatedChoice>,
    /// Number of tokens of the prompt.
    pub prompt_tokens: u64,
}

/// Text of one choice.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SimulatedChoice {
    pub text: String,
    /// `stop` or `length`.
    pub finish_reason: &'static str,
}

/// Counts one token per four bytes, rounded up.
pub(super) fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// Generates the reply to a chat or completion. `None` if the model is unknown.
///
/// # Errors
/// [`Refused`] if a parameter is invalid.
pub(super) fn reply(request: &JsonRequest<'_>) -> Result<Option<SimulatedReply>, Refused> {
    let (prompt_bytes, prompts) = if request.operation == Operation::Chat { chat(request)? } else { completion(request)? };
    let limit = limit(request)?;
    let copies = integer(request, "n", 1..=128)?.unwrap_or(1);
    let mut choices = Vec::new();
    for prompt in prompts {
        let text = match request.upstream_model {
            "sim-echo" => prompt,
            "sim-lorem" => LOREM.to_owned(),
            _ => return Ok(None),
        };
        let choice = cut(text, limit);
        choices.extend((0..copies).map(|_| choice.clone()));
    }
    Ok(Some(SimulatedReply { choices, prompt_tokens: tokens(prompt_bytes) }))
}

/// Returns the size in bytes of all messages, and the last user message.
fn chat(request: &JsonRequest<'_>) -> Result<(usize, Vec<String>), Refused> {
    let messages: Vec<Value> = list(request, "messages", "an array of messages, at least one")?;
    let (mut bytes, mut last) = (0, String::new());
    for (nth, message) in messages.iter().enumerate() {
        let Some(role) = message.get("role").and_then(Value::as_str) else {
            return Err(refused(format!("messages[{nth}].role"), "a string"));
        };
        let text = match message.get("content") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
            Some(_) => return Err(refused(format!("messages[{nth}].content"), "a string or an array of parts")),
        };
        bytes += text.len();
        if role == "user" {
            last = text;
        }
    }
    Ok((bytes, vec![last]))
}

/// Returns the size in bytes of all prompts, and the prompts.
fn completion(request: &JsonRequest<'_>) -> Result<(usize, Vec<String>), Refused> {
    let expected = "a string or an array of strings, at least one";
    let prompts = texts(request, "prompt", expected)?;
    Ok((prompts.iter().map(String::len).sum(), prompts))
}

/// Parses a member that is one text or several. Texts given as token ids are spelled as those
/// numbers.
///
/// # Errors
/// [`Refused`] if it is anything else or empty.
pub(super) fn texts(request: &JsonRequest<'_>, name: &str, expected: &str) -> Result<Vec<String>, Refused> {
    let spell = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(tokens) => tokens.iter().all(Value::is_u64).then(|| value.to_string()),
        _ => None,
    };
    let raw = request.payload.get(name).and_then(|raw| serde_json::from_str::<Value>(raw).ok());
    let texts = match &raw {
        Some(Value::Array(items)) if items.iter().all(Value::is_u64) => Some(vec![Value::from(items.clone()).to_string()]),
        Some(Value::Array(items)) => items.iter().map(spell).collect(),
        Some(text) => spell(text).map(|text| vec![text]),
        None => None,
    };
    texts.filter(|_| raw != Some(Value::Array(Vec::new()))).ok_or_else(|| refused(name, expected))
}

fn list(request: &JsonRequest<'_>, name: &str, expected: &str) -> Result<Vec<Value>, Refused> {
    let list: Option<Vec<Value>> = request.payload.get(name).and_then(|raw| serde_json::from_str(raw).ok());
    list.filter(|list| !list.is_empty()).ok_or_else(|| refused(name, expected))
}

/// Returns the maximum number of tokens of a choice.
fn limit(request: &JsonRequest<'_>) -> Result<Option<u64>, Refused> {
    let asked = [integer(request, "max_completion_tokens", 0..=u64::MAX)?, integer(request, "max_tokens", 0..=u64::MAX)?];
    Ok(asked.into_iter().flatten().chain(request.max_output_tokens).min())
}

/// Parses an optional integer within `range`.
///
/// # Errors
/// [`Refused`] if it is anything else.
pub(super) fn integer(request: &JsonRequest<'_>, name: &str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Refused> {
    match request.payload.get(name) {
        None | Some("null") => Ok(None),
        Some(raw) => match raw.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ if *range.end() == u64::MAX => Err(refused(name, "a non-negative integer")),
            _ => Err(refused(name, &format!("an integer from {} to {}", range.start(), range.end()))),
        },
    }
}

/// Truncates a text to `limit` tokens, at a character boundary.
fn cut(mut text: String, limit: Option<u64>) -> SimulatedChoice {
    let most = limit.map_or(usize::MAX, |tokens| usize::try_from(tokens).unwrap_or(usize::MAX).saturating_mul(4));
    let finish_reason = if text.len() > most { "length" } else { "stop" };
    text.truncate(text.floor_char_boundary(most));
    SimulatedChoice { text, finish_reason }
}
