//! Content blocks of a stream: the open ones, the text they have produced, the thinking that is
//! kept.

use std::borrow::Cow;

use bytes::Bytes;

use super::block::{ContentBlock, EventDelta, ThinkingBlock, arguments};
use super::chunk::{ChunkWriter, Delta};
use super::expected::JSON_RESPONSE;

/// Maximum number of blocks open at once. Upstreams open one.
const MAX_OPEN: usize = 256;

/// Maximum size in bytes of thinking kept for `thinking_blocks`.
const MAX_KEPT: usize = 16 << 20;

/// Memory per thinking block in bytes, besides its text.
const OVERHEAD: usize = size_of::<ThinkingBlock<'static>>();

/// Content blocks of one stream.
pub struct Blocks {
    /// Whether calls of `json_response` carry the answer.
    answers_by_tool: bool,
    open: Vec<(u64, Open)>,
    /// Number of tool calls started.
    calls: u32,
    thoughts: Vec<ThinkingBlock<'static>>,
    /// Size of `thoughts` in bytes.
    kept: usize,
    /// Whether a block other than thinking has started.
    others: bool,
    /// Whether the thinking cannot be sent back: it was not first, or it is too large.
    is_discarded: bool,
    output_bytes: u64,
}

/// More than [`MAX_OPEN`] blocks are open.
#[derive(Debug)]
pub struct TooMany;

/// State of an open block.
enum Open {
    /// Text or redacted thinking.
    Plain,
    /// Thinking, with its index in `thoughts`.
    Thinking(usize),
    /// Tool call: its index, and its initial arguments while no delta has replaced them.
    Call(u32, Option<String>),
    /// Tool call that carries the answer.
    Answer(Option<String>),
}

impl Blocks {
    /// Creates the state of a stream without blocks.
    pub fn new(answers_by_tool: bool) -> Self {
        Self {
            answers_by_tool,
            open: Vec::new(),
            calls: 0,
            thoughts: Vec::new(),
            kept: 0,
            others: false,
            is_discarded: false,
            output_bytes: 0,
        }
    }

    /// Starts a block.
    pub fn start(&mut self, index: u64, block: ContentBlock<'_>, chunks: &mut ChunkWriter) -> Result<Option<Bytes>, TooMany> {
        self.open.retain(|(open, _)| *open != index);
        if self.open.len() >= MAX_OPEN {
            return Err(TooMany);
        }
        let is_thought = matches!(block.kind.as_str(), "thinking" | "redacted_thinking");
        self.is_discarded |= is_thought && self.others;
        self.others |= !is_thought;
        let (open, chunk) = match block.kind.as_str() {
            "text" => (Open::Plain, self.text_chunk(block.text.as_str(), Delta::Content, chunks)),
            "thinking" => {
                let chunk = self.text_chunk(block.thinking.as_str(), Delta::ReasoningContent, chunks);
                let thinking = block.thinking.into_string().unwrap_or_default();
                self.kept += thinking.len() + OVERHEAD;
                self.thoughts
                    .push(ThinkingBlock::Thinking { thinking: thinking.into(), signature: block.signature.into_string().map(Cow::Owned) });
                (Open::Thinking(self.thoughts.len() - 1), chunk)
            }
            "redacted_thinking" => {
                let data = block.data.into_string().unwrap_or_default();
                self.kept += data.len() + OVERHEAD;
                self.thoughts.push(ThinkingBlock::RedactedThinking { data: data.into() });
                (Open::Plain, None)
            }
            "tool_use" => {
                let arguments = Some(arguments(block.input));
                if self.answers_by_tool && block.name.as_str() == JSON_RESPONSE {
                    (Open::Answer(arguments), None)
                } else {
                    let number = self.calls;
                    self.calls += 1;
                    let delta = Delta::call(number, block.id.0.unwrap_or_default(), block.name.0.unwrap_or_default());
                    (Open::Call(number, arguments), Some(chunks.delta(&delta)))
                }
            }
            _ => return Ok(None),
        };
        self.limit_thoughts();
        self.open.push((index, open));
        Ok(chunk)
    }

    /// Adds a delta to a block.
    pub fn delta(&mut self, index: u64, delta: EventDelta<'_>, chunks: &mut ChunkWriter) -> Option<Bytes> {
        let at = self.open.iter().rposition(|(open, _)| *open == index)?;
        match delta.kind.as_str() {
            "text_delta" => self.text_chunk(delta.text.as_str(), Delta::Content, chunks),
            "thinking_delta" => {
                let text = delta.thinking.as_str();
                if let Some(ThinkingBlock::Thinking { thinking, .. }) = self.thought(at) {
                    thinking.to_mut().push_str(text);
                    self.kept += text.len();
                    self.limit_thoughts();
                }
                self.text_chunk(text, Delta::ReasoningContent, chunks)
            }
            "signature_delta" => {
                let new = delta.signature.into_string()?;
                if let Some(ThinkingBlock::Thinking { signature, .. }) = self.thought(at) {
                    let length = new.len();
                    let before = signature.replace(Cow::Owned(new)).map_or(0, |old| old.len());
                    self.kept = self.kept.saturating_sub(before) + length;
                    self.limit_thoughts();
                }
                None
            }
            "input_json_delta" => {
                let text = delta.partial_json.as_str();
                if text.is_empty() {
                    return None;
                }
                let (_, open) = self.open.get_mut(at)?;
                match open {
                    Open::Call(number, initial) => {
                        *initial = None;
                        let number = *number;
                        self.text_chunk(text, |text| Delta::arguments(number, text), chunks)
                    }
                    Open::Answer(initial) => {
                        *initial = None;
                        self.text_chunk(text, Delta::Content, chunks)
                    }
                    Open::Plain | Open::Thinking(_) => None,
                }
            }
            _ => None,
        }
    }

    /// Ends a block.
    pub fn stop(&mut self, index: u64, chunks: &mut ChunkWriter) -> Option<Bytes> {
        let at = self.open.iter().rposition(|(open, _)| *open == index)?;
        match self.open.swap_remove(at).1 {
            Open::Call(number, Some(arguments)) => self.text_chunk(&arguments, |text| Delta::arguments(number, text), chunks),
            Open::Answer(Some(arguments)) => self.text_chunk(&arguments, Delta::Content, chunks),
            _ => None,
        }
    }

    /// Returns the thinking blocks, if they can be sent back.
    pub fn thoughts(&self) -> Option<&[ThinkingBlock<'static>]> {
        (!self.is_discarded && !self.thoughts.is_empty()).then_some(&self.thoughts)
    }

    /// Size in bytes of the thinking kept for the end of the stream.
    pub fn held(&self) -> usize {
        if self.thoughts.is_empty() { 0 } else { self.kept }
    }

    /// Whether the client got a tool call.
    pub fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// Number of UTF-8 bytes generated so far.
    pub fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    /// Returns the chunk with `text`; `None` if it is empty.
    fn text_chunk<'t>(&mut self, text: &'t str, delta: impl FnOnce(&'t str) -> Delta<'t>, chunks: &mut ChunkWriter) -> Option<Bytes> {
        self.output_bytes += text.len() as u64;
        (!text.is_empty()).then(|| chunks.delta(&delta(text)))
    }

    /// Returns the kept thinking of the open block at `at`.
    fn thought(&mut self, at: usize) -> Option<&mut ThinkingBlock<'static>> {
        match self.open.get(at)? {
            (_, Open::Thinking(kept)) => self.thoughts.get_mut(*kept),
            _ => None,
        }
    }

    /// Frees thinking that cannot be sent back.
    fn limit_thoughts(&mut self) {
        self.is_discarded |= self.kept > MAX_KEPT;
        if self.is_discarded {
            self.thoughts.clear();
        }
    }
}
