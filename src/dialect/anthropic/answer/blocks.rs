//! The content blocks of a stream: which are open, what has been said in them, what is kept of them.

use std::borrow::Cow;

use bytes::Bytes;

use super::block::{Block, EventDelta, ThinkingBlock, arguments};
use super::chunk::{Chunks, Delta};
use super::expected::JSON_RESPONSE;

/// More blocks than this are never open at once; upstreams open one.
const MOST_OPEN: usize = 256;

/// Thinking beyond this many bytes is not kept to be replayed.
const MOST_KEPT: usize = 16 << 20;

/// What a thinking block costs besides its text.
const OVERHEAD: usize = size_of::<ThinkingBlock<'static>>();

/// The content blocks of one stream.
pub struct Blocks {
    /// Calls of `json_response` are the answer.
    answers_by_tool: bool,
    open: Vec<(u64, Open)>,
    /// Tool calls begun.
    calls: u32,
    thoughts: Vec<ThinkingBlock<'static>>,
    kept: usize,
    /// A block that is not thinking was begun.
    others: bool,
    /// The thoughts cannot be replayed: they were not first, or there are too many.
    is_unfit: bool,
    output_bytes: u64,
}

/// More blocks are open than any upstream opens.
#[derive(Debug)]
pub struct TooMany;

/// An open block.
enum Open {
    /// Text, or redacted thinking.
    Plain,
    /// Thinking, and where it is kept.
    Thinking(usize),
    /// A tool call: its number, and its arguments should none follow.
    Call(u32, Option<String>),
    /// The call that is the answer.
    Answer(Option<String>),
}

impl Blocks {
    pub fn new(answers_by_tool: bool) -> Self {
        Self { answers_by_tool, open: Vec::new(), calls: 0, thoughts: Vec::new(), kept: 0, others: false, is_unfit: false, output_bytes: 0 }
    }

    /// A block begins.
    pub fn start(&mut self, index: u64, block: Block<'_>, chunks: &mut Chunks) -> Result<Option<Bytes>, TooMany> {
        self.open.retain(|(open, _)| *open != index);
        if self.open.len() >= MOST_OPEN {
            return Err(TooMany);
        }
        let is_thought = matches!(block.kind.as_str(), "thinking" | "redacted_thinking");
        self.is_unfit |= is_thought && self.others;
        self.others |= !is_thought;
        let (open, chunk) = match block.kind.as_str() {
            "text" => (Open::Plain, self.say(block.text.as_str(), Delta::Content, chunks)),
            "thinking" => {
                let chunk = self.say(block.thinking.as_str(), Delta::ReasoningContent, chunks);
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

    /// More of a block.
    pub fn delta(&mut self, index: u64, delta: EventDelta<'_>, chunks: &mut Chunks) -> Option<Bytes> {
        let at = self.open.iter().rposition(|(open, _)| *open == index)?;
        match delta.kind.as_str() {
            "text_delta" => self.say(delta.text.as_str(), Delta::Content, chunks),
            "thinking_delta" => {
                let text = delta.thinking.as_str();
                if let Some(ThinkingBlock::Thinking { thinking, .. }) = self.thought(at) {
                    thinking.to_mut().push_str(text);
                    self.kept += text.len();
                    self.limit_thoughts();
                }
                self.say(text, Delta::ReasoningContent, chunks)
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
                    Open::Call(number, otherwise) => {
                        *otherwise = None;
                        let number = *number;
                        self.say(text, |text| Delta::arguments(number, text), chunks)
                    }
                    Open::Answer(otherwise) => {
                        *otherwise = None;
                        self.say(text, Delta::Content, chunks)
                    }
                    Open::Plain | Open::Thinking(_) => None,
                }
            }
            _ => None,
        }
    }

    /// A block ends.
    pub fn stop(&mut self, index: u64, chunks: &mut Chunks) -> Option<Bytes> {
        let at = self.open.iter().rposition(|(open, _)| *open == index)?;
        match self.open.swap_remove(at).1 {
            Open::Call(number, Some(arguments)) => self.say(&arguments, |text| Delta::arguments(number, text), chunks),
            Open::Answer(Some(arguments)) => self.say(&arguments, Delta::Content, chunks),
            _ => None,
        }
    }

    /// The thinking blocks, if they may be replayed.
    pub fn thoughts(&self) -> Option<&[ThinkingBlock<'static>]> {
        (!self.is_unfit && !self.thoughts.is_empty()).then_some(&self.thoughts)
    }

    /// Bytes of thinking that are kept to be shown at the end.
    pub fn held(&self) -> usize {
        if self.thoughts.is_empty() { 0 } else { self.kept }
    }

    /// Whether the client was given a tool call.
    pub fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// UTF-8 bytes generated so far.
    pub fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    /// The chunk that says `text`; none if there is nothing to say.
    fn say<'t>(&mut self, text: &'t str, delta: impl FnOnce(&'t str) -> Delta<'t>, chunks: &mut Chunks) -> Option<Bytes> {
        self.output_bytes += text.len() as u64;
        (!text.is_empty()).then(|| chunks.delta(&delta(text)))
    }

    /// What is kept of the thinking block that is open at `at`.
    fn thought(&mut self, at: usize) -> Option<&mut ThinkingBlock<'static>> {
        match self.open.get(at)? {
            (_, Open::Thinking(kept)) => self.thoughts.get_mut(*kept),
            _ => None,
        }
    }

    /// Keeps no thought that cannot be replayed anyway.
    fn limit_thoughts(&mut self) {
        self.is_unfit |= self.kept > MOST_KEPT;
        if self.is_unfit {
            self.thoughts.clear();
        }
    }
}
