//! Writer of OpenAI stream chunks as SSE frames. The part that all chunks of a stream share is
//! serialized once.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::block::ThinkingBlock;
use super::expected::AnswerOrigin;
use super::usage::UsageObject;
use crate::terms::Usage;

/// Size in bytes of the buffers that frames share, so that few events allocate.
const BUFFER: usize = 4096;

const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// Content of a chunk.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delta<'a> {
    Content(&'a str),
    ReasoningContent(&'a str),
    ToolCalls([CallDelta<'a>; 1]),
    ThinkingBlocks(&'a [ThinkingBlock<'static>]),
    Refusal(&'a str),
    /// First chunk of a stream.
    #[serde(untagged)]
    Opening {
        role: &'static str,
        content: &'static str,
    },
    /// Finish chunk.
    #[serde(untagged)]
    Nothing {},
}

/// Start or continuation of a tool call.
#[derive(Serialize)]
pub struct CallDelta<'a> {
    /// Index of the call within the answer, from 0.
    pub index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    pub function: FunctionDelta<'a>,
}

#[derive(Serialize)]
pub struct FunctionDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    pub arguments: &'a str,
}

impl<'a> Delta<'a> {
    /// First chunk of every stream.
    pub const OPENING: Self = Self::Opening { role: "assistant", content: "" };

    /// Creates the delta that starts a tool call.
    pub fn call(index: u32, id: Cow<'a, str>, name: Cow<'a, str>) -> Self {
        let function = FunctionDelta { name: Some(name), arguments: "" };
        Self::ToolCalls([CallDelta { index, id: Some(id), kind: Some("function"), function }])
    }

    /// Creates the delta that continues a tool call's arguments.
    pub fn arguments(index: u32, arguments: &'a str) -> Self {
        Self::ToolCalls([CallDelta { index, id: None, kind: None, function: FunctionDelta { name: None, arguments } }])
    }
}

/// Writer of the chunks of one stream.
pub struct ChunkWriter {
    /// `data: {…"choices":[`
    head: Vec<u8>,
    /// Whether the stream ends with its usage. If so, every other chunk has `"usage":null`.
    has_usage: bool,
    buffer: BytesMut,
}

impl ChunkWriter {
    /// Creates the writer of a stream with this id and model.
    pub fn new(origin: &AnswerOrigin, id: &str, model: &str, has_usage: bool) -> Self {
        #[derive(Serialize)]
        struct ChunkHead<'a> {
            id: &'a str,
            object: &'static str,
            created: u64,
            model: &'a str,
        }
        let mut head = b"data: ".to_vec();
        let shared = ChunkHead {
            id: &origin.completion_id(id),
            object: "chat.completion.chunk",
            created: origin.created,
            model: origin.model_or(model),
        };
        // Serializing strings and a number into a vector cannot fail.
        if serde_json::to_writer(&mut head, &shared).is_ok() {
            head.pop();
        }
        head.extend_from_slice(br#","choices":["#);
        Self { head, has_usage, buffer: BytesMut::new() }
    }

    /// Writes a chunk with a delta.
    pub fn delta(&mut self, delta: &Delta<'_>) -> Bytes {
        self.choice(delta, None)
    }

    /// Writes the chunk with the finish reason.
    pub fn finish(&mut self, finish_reason: &'static str) -> Bytes {
        self.choice(&Delta::Nothing {}, Some(finish_reason))
    }

    /// Writes the usage chunk, if the client asked for it.
    pub fn usage(&mut self, usage: Usage) -> Option<Bytes> {
        self.has_usage.then(|| {
            self.begin();
            self.buffer.put_slice(br#"],"usage":"#);
            self.json(&UsageObject::from(usage));
            self.end(b"}\n\n")
        })
    }

    /// Returns the frame after the last chunk.
    pub fn done() -> Bytes {
        DONE
    }

    fn choice(&mut self, delta: &Delta<'_>, finish_reason: Option<&'static str>) -> Bytes {
        self.begin();
        self.buffer.put_slice(br#"{"index":0,"delta":"#);
        self.json(delta);
        self.buffer.put_slice(br#","finish_reason":"#);
        self.json(&finish_reason);
        self.end(if self.has_usage { b"}],\"usage\":null}\n\n" } else { b"}]}\n\n" })
    }

    fn begin(&mut self) {
        if self.buffer.capacity() < self.head.len() + 256 {
            self.buffer.reserve(self.head.len() + BUFFER);
        }
        self.buffer.put_slice(&self.head);
    }

    fn json(&mut self, value: &impl Serialize) {
        // Serializing types without maps into memory cannot fail.
        let _ = serde_json::to_writer((&mut self.buffer).writer(), value);
    }

    fn end(&mut self, tail: &[u8]) -> Bytes {
        self.buffer.put_slice(tail);
        self.buffer.split().freeze()
    }
}
