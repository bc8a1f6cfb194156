//! Translation of a stream: Anthropic events become OpenAI chunks (section 8). Holds at most one
//! event, the thinking that is repeated at the end, and a small record of each open block.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::block::{ContentBlock, EventDelta, Stop};
use super::blocks::{self, Blocks};
use super::chunk::{ChunkWriter, Delta};
use super::error;
use super::expected::{AnswerOrigin, Expected};
use super::usage::Counts;
use crate::dialect::anthropic::text::Lenient;
use crate::dialect::failure::Failure;
use crate::dialect::reader::{Flow, Observed};
use crate::dialect::sse::{self, Scanner, SseLimits};

/// State of one stream.
pub struct Translation {
    pub origin: AnswerOrigin,
    pub expected: Expected,
    scanner: Scanner,
    /// `Some` once the message has started.
    chunks: Option<ChunkWriter>,
    blocks: Blocks,
    stop: Option<Stop>,
    refusal: Option<String>,
    counts: Counts,
    /// Whether the upstream has reported the final output count.
    is_counted: bool,
}

/// Stream event. Its type decides which members are present.
#[derive(Default, Deserialize)]
struct MessageEvent<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Lenient<'a>,
    index: Option<u64>,
    #[serde(borrow)]
    message: Option<Start<'a>>,
    #[serde(borrow)]
    content_block: Option<ContentBlock<'a>>,
    #[serde(borrow)]
    delta: Option<EventDelta<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Start<'a> {
    #[serde(borrow, default)]
    id: Lenient<'a>,
    #[serde(borrow, default)]
    model: Lenient<'a>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// Event types that are translated; others are ignored.
const KNOWN: [&str; 7] =
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop", "error"];

impl Translation {
    /// Creates the state of a stream before its first byte.
    pub fn new(origin: AnswerOrigin, expected: Expected, limits: SseLimits) -> Self {
        Self {
            origin,
            expected,
            scanner: Scanner::new(limits),
            chunks: None,
            blocks: Blocks::new(expected.answers_by_tool),
            stop: None,
            refusal: None,
            counts: Counts::default(),
            is_counted: false,
        }
    }

    /// See [`crate::dialect::reader::Reader::held`].
    pub fn held(&self) -> usize {
        self.scanner.held() + self.blocks.held()
    }

    /// See [`crate::dialect::reader::Reader::push`].
    pub fn push(&mut self, piece: Bytes, out: &mut Vec<Bytes>) -> Flow {
        self.scanner.push(piece);
        loop {
            let flow = match self.scanner.next_event() {
                Ok(None) => return self.flow(),
                Ok(Some(event)) => self.handle(&event, out),
                Err(sse::TooLarge { .. }) => {
                    Flow::Failed(Failure::interrupted("the provider's stream contains an event over the size limit"))
                }
            };
            if matches!(flow, Flow::Done | Flow::Failed(_)) {
                return flow;
            }
        }
    }

    /// See [`crate::dialect::reader::Reader::end`].
    pub fn end(&mut self, out: &mut Vec<Bytes>) -> Flow {
        if let Ok(Some(event)) = self.scanner.finish() {
            // A truncated event is dropped.
            let is_whole = event.data().is_some_and(|data| serde_json::from_slice::<IgnoredAny>(data).is_ok());
            if is_whole {
                let flow = self.handle(&event, out);
                if matches!(flow, Flow::Done | Flow::Failed(_)) {
                    return flow;
                }
            }
        }
        match self.stop {
            Some(_) => self.finish(out),
            None => Flow::Failed(Failure::interrupted("the provider's stream ended before its answer was complete")),
        }
    }

    /// See [`crate::dialect::reader::Reader::observed`].
    pub fn observed(&self) -> Observed {
        // The output count in `message_start` is a start value, not a report: an answer that ends
        // with it has no usage.
        let usage = self.counts.valid_usage().filter(|_| self.is_counted || self.stop.is_none());
        let finish_reason = self.stop.map(|stop| SmolStr::new_static(stop.finish_reason(self.blocks.has_calls())));
        Observed { usage, has_absurd_usage: self.counts.is_absurd(), finish_reason, output_bytes: self.blocks.output_bytes() }
    }

    fn flow(&self) -> Flow {
        if self.chunks.is_some() { Flow::Flowing } else { Flow::Opening }
    }

    /// Handles one scanned block of lines: an event, or comments only.
    fn handle(&mut self, event: &sse::Event, out: &mut Vec<Bytes>) -> Flow {
        let Some(data) = event.data() else { return self.flow() };
        let name = std::str::from_utf8(event.name()).unwrap_or_default();
        match MessageEvent::read(data, name) {
            Ok(Some(parsed)) => self.translate(parsed, data, out),
            Ok(None) => self.flow(),
            Err(failure) => Flow::Failed(failure),
        }
    }

    fn translate(&mut self, event: MessageEvent<'_>, data: &[u8], out: &mut Vec<Bytes>) -> Flow {
        match (event.kind.as_str(), &mut self.chunks) {
            ("error", _) => return Flow::Failed(error::failure(200, data)),
            ("message_start", None) => {
                let start = event.message.unwrap_or_default();
                if let Some(usage) = start.usage {
                    self.counts.update(usage);
                }
                let mut chunks = ChunkWriter::new(&self.origin, start.id.as_str(), start.model.as_str(), self.expected.usage_chunk);
                out.push(chunks.delta(&Delta::OPENING));
                self.chunks = Some(chunks);
            }
            ("message_stop", None) => return Flow::Failed(Failure::interrupted("the provider's stream ended before its first message")),
            // Other events before the start of the message are ignored.
            (_, None) => {}
            ("content_block_start", Some(chunks)) => {
                if let (Some(index), Some(block)) = (event.index, event.content_block) {
                    match self.blocks.start(index, block, chunks) {
                        Ok(chunk) => out.extend(chunk),
                        Err(blocks::TooMany) => {
                            return Flow::Failed(Failure::interrupted("the provider's stream has too many open content blocks"));
                        }
                    }
                }
            }
            ("content_block_delta", Some(chunks)) => {
                if let (Some(index), Some(delta)) = (event.index, event.delta) {
                    out.extend(self.blocks.delta(index, delta, chunks));
                }
            }
            ("content_block_stop", Some(chunks)) => out.extend(event.index.and_then(|index| self.blocks.stop(index, chunks))),
            ("message_delta", Some(_)) => {
                if let Some(usage) = event.usage {
                    self.counts.update(usage);
                    self.is_counted = true;
                }
                let delta = event.delta.unwrap_or_default();
                if let Some(stop_reason) = &delta.stop_reason.0 {
                    self.stop = Some(Stop::of(stop_reason));
                }
                if let Some(stop) = self.stop {
                    self.refusal = stop.refusal(delta.stop_details).or(self.refusal.take());
                }
            }
            ("message_stop", Some(_)) => return self.finish(out),
            _ => {}
        }
        self.flow()
    }

    /// Writes the last chunks of a complete stream (section 8.3).
    fn finish(&mut self, out: &mut Vec<Bytes>) -> Flow {
        let stop = *self.stop.get_or_insert(Stop::Finished);
        let Some(chunks) = &mut self.chunks else { return self.flow() };
        if let Some(thoughts) = self.blocks.thoughts() {
            out.push(chunks.delta(&Delta::ThinkingBlocks(thoughts)));
        }
        if let Some(refusal) = self.refusal.as_deref().filter(|_| stop == Stop::Refused) {
            out.push(chunks.delta(&Delta::Refusal(refusal)));
        }
        out.push(chunks.finish(stop.finish_reason(self.blocks.has_calls())));
        out.extend(chunks.usage(self.counts.usage()));
        out.push(ChunkWriter::done());
        Flow::Done
    }
}

impl<'a> MessageEvent<'a> {
    /// Parses the data of an event called `name`. `None` if its type is unknown.
    fn read(data: &'a [u8], name: &'a str) -> Result<Option<Self>, Failure> {
        let mut event = match serde_json::from_slice::<Self>(data) {
            Ok(event) => event,
            // Some servers send pings as a name without data.
            Err(_) if data.trim_ascii().is_empty() => Self::default(),
            Err(_) => Self::read_malformed(data, name)?,
        };
        if event.kind.0.is_none() {
            event.kind = Lenient(Some(Cow::Borrowed(name)));
        }
        Ok(KNOWN.contains(&event.kind.as_str()).then_some(event))
    }

    /// Handles data that does not parse as an event. Unknown events may have any shape; a known one
    /// fails the stream, because its content would be lost.
    fn read_malformed(data: &'a [u8], name: &str) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct EventKind<'a> {
            #[serde(rename = "type", borrow, default)]
            kind: Lenient<'a>,
        }
        if let Ok(EventKind { kind }) = serde_json::from_slice::<EventKind<'a>>(data) {
            let known = KNOWN.contains(&kind.0.as_deref().unwrap_or(name));
            return if known {
                Err(Failure::interrupted("the provider's stream contains a malformed event"))
            } else {
                Ok(Self { kind, ..Self::default() })
            };
        }
        match serde_json::from_slice::<IgnoredAny>(data) {
            Ok(_) => Ok(Self::default()),
            Err(_) => Err(Failure::interrupted("the provider's stream contains data that is not JSON")),
        }
    }
}
