//! The golden cases of the Anthropic dialect: where they are, what is in them, and when an answer
//! equals what they expect.
//!
//! Shared by the dialect's own tests and by those that drive the same cases over HTTP, so nothing
//! here knows how a case is run.
#![allow(dead_code, reason = "each of its users needs a part")]

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// One file of the cases.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name of the file, for messages.
    pub file: String,
    /// Request of the client.
    pub openai_request: Value,
    /// Extra headers of the client.
    pub openai_headers: Map<String, Value>,
    /// Expected upstream request. `None` if the request is refused.
    pub anthropic_request: Option<Value>,
    /// Expected upstream headers.
    pub anthropic_headers: Map<String, Value>,
    /// Scripted answer.
    pub upstream: Option<Answer>,
    /// Expected answer to the client.
    pub expected: Expected,
}

/// What the upstream answers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Map<String, Value>,
    pub body: Body,
}

/// The body of an upstream's answer.
#[derive(Clone, Debug)]
pub enum Body {
    Whole(String),
    Stream(String),
}

/// What the dialect hands back.
#[derive(Clone, Debug)]
pub struct Expected {
    pub status: u16,
    pub headers: Map<String, Value>,
    /// Body of an answer that is not a stream.
    pub body: Option<Value>,
    /// Payloads of a stream's frames.
    pub chunks: Option<Vec<Value>>,
}

/// The folder `shared`, which lies beside the repository or above it; `None` where the repository
/// stands alone.
pub fn shared() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().map(|above| above.join("shared")).find(|shared| shared.join("DESIGN.md").is_file())
}

/// Every case, in the order of their files. Says so and gives none where they are absent.
pub fn load() -> Vec<Case> {
    let Some(folder) = shared().map(|shared| shared.join("cases/anthropic")).filter(|folder| folder.is_dir()) else {
        println!("SKIPPED: the golden cases are not there: no ../shared/cases/anthropic");
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files.iter().map(|file| Case::read(file)).collect()
}

impl Case {
    fn read(file: &Path) -> Self {
        let mut case: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let upstream = case.get_mut("upstream").map(Value::take).filter(|answer| !answer.is_null()).map(|mut answer| Answer {
            status: status(&answer),
            headers: object(&mut answer["headers"]),
            body: match (answer["sse"].take(), answer["body"].take()) {
                (Value::String(sse), _) => Body::Stream(sse),
                (_, Value::String(raw)) => Body::Whole(raw),
                (_, body) => Body::Whole(body.to_string()),
            },
        });
        let mut expected = case["expected"].take();
        Self {
            file: name,
            openai_request: case["openai_request"].take(),
            openai_headers: object(&mut case["openai_headers"]),
            anthropic_request: Some(case["anthropic_request"].take()).filter(|body| !body.is_null()),
            anthropic_headers: object(&mut case["anthropic_headers"]),
            upstream,
            expected: Expected {
                status: status(&expected),
                headers: object(&mut expected["headers"]),
                body: expected.get_mut("body").map(Value::take),
                chunks: expected.get_mut("chunks").map(|chunks| chunks.as_array().unwrap().clone()),
            },
        }
    }

    /// Returns the expected upstream header of that name.
    pub fn upstream_header(&self, name: &str) -> Option<&str> {
        let found = self.anthropic_headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_str())
    }

    /// Returns the text that the upstream sends.
    pub fn upstream_text(&self) -> &str {
        match &self.upstream {
            Some(Answer { body: Body::Whole(text) | Body::Stream(text), .. }) => text,
            None => "",
        }
    }

    /// Compares an answer's body with the expected one.
    pub fn compare_body(&self, actual: &Value) -> Result<(), String> {
        let expected = self.expected.body.as_ref().ok_or("a body was not expected")?;
        difference("body", expected, actual, self.upstream_text())
    }

    /// Compares a stream, the text of all its frames, with the expected chunks.
    pub fn compare_stream(&self, actual: &str) -> Result<(), String> {
        let expected = self.expected.chunks.as_ref().ok_or("a stream was not expected")?;
        let actual = payloads(actual)?;
        for (nth, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
            difference(&format!("chunks[{nth}]"), expected, actual, self.upstream_text())?;
        }
        if expected.len() != actual.len() {
            return Err(format!("{} chunks instead of {}: {actual:?}", actual.len(), expected.len()));
        }
        for key in ["id", "created"] {
            let mut values = actual.iter().filter_map(|chunk| chunk.get(key));
            let first = values.next();
            if values.any(|value| Some(value) != first) {
                return Err(format!("{key} is not the same in all chunks"));
            }
        }
        Ok(())
    }
}

/// The payloads of a stream made of `data: …\n\n` frames and nothing else. `[DONE]` is a string.
pub fn payloads(stream: &str) -> Result<Vec<Value>, String> {
    let Some(frames) = stream.strip_suffix("\n\n") else {
        return if stream.is_empty() { Ok(Vec::new()) } else { Err(format!("the stream does not end with a frame: {stream:?}")) };
    };
    let payload = |frame: &str| match frame.strip_prefix("data: ") {
        Some("[DONE]") => Ok(Value::String("[DONE]".to_owned())),
        Some(json) => serde_json::from_str(json).map_err(|error| format!("{error} in {json}")),
        None => Err(format!("not a data frame: {frame:?}")),
    };
    frames.split("\n\n").map(payload).collect()
}

/// Where `actual` is not what is expected, if anywhere: as JSON values, with `"<any>"` for what
/// cannot be known.
pub fn difference(at: &str, expected: &Value, actual: &Value, upstream: &str) -> Result<(), String> {
    match (expected, actual) {
        (Value::String(any), actual) if any == "<any>" => is_any(at, actual, upstream),
        (Value::Object(expected), Value::Object(actual)) => {
            if let Some(key) = actual.keys().find(|key| !expected.contains_key(*key)) {
                return Err(format!("{at}.{key} should not be there: {}", actual[key]));
            }
            for (key, expected) in expected {
                let actual = actual.get(key).ok_or_else(|| format!("{at}.{key} is missing"))?;
                difference(&format!("{at}.{key}"), expected, actual, upstream)?;
            }
            Ok(())
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => expected
            .iter()
            .zip(actual)
            .enumerate()
            .try_for_each(|(nth, (expected, actual))| difference(&format!("{at}[{nth}]"), expected, actual, upstream)),
        (Value::Number(expected), Value::Number(actual)) if expected.as_f64() == actual.as_f64() => Ok(()),
        _ if expected == actual => Ok(()),
        _ => Err(format!("{at} is {actual}\n  instead of {expected}")),
    }
}

/// Whether `actual` may stand where `"<any>"` is expected: the place says what it has to be.
fn is_any(at: &str, actual: &Value, upstream: &str) -> Result<(), String> {
    let fits = match at.rsplit('.').next() {
        Some("created") => actual.as_u64().is_some_and(|created| created > 0),
        Some("message") => actual.as_str().is_some_and(|text| !text.is_empty() && !quotes(text, upstream)),
        _ => actual.as_str().is_some_and(|text| !text.is_empty()),
    };
    if fits { Ok(()) } else { Err(format!("{at} may be anything but {actual}")) }
}

/// Whether `text` shows something of `upstream`: any 16 bytes of it.
fn quotes(text: &str, upstream: &str) -> bool {
    text.as_bytes().windows(16).any(|window| upstream.as_bytes().windows(16).any(|other| other == window))
}

fn status(of: &Value) -> u16 {
    of["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap()
}

fn object(value: &mut Value) -> Map<String, Value> {
    match value.take() {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
