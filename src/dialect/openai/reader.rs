//! Reader of answers in OpenAI's format: usage, finish reason and errors, while the bytes pass.
//!
//! A body passes byte for byte. The complete events of a piece pass together, as slices of it. Only
//! a usage event that the client did not ask for is removed.

use bytes::Bytes;

use super::answer::OpenAiAnswer;
use super::peek::{Peek, peek};
use super::{failure, usage};
use crate::dialect::failure::Failure;
use crate::dialect::reader::{Flow, Observed, Reader};
use crate::dialect::sse::{Event, Scanner, SseLimits};
use crate::terms::Operation;

/// Reader of one answer.
pub(super) struct OpenAiReader {
    operation: Operation,
    /// Whether the client asked for the usage event.
    wants_usage: bool,
    /// Number of choices requested, and of those that have finished.
    choices: u64,
    finished: u64,
    /// Whether no event has been seen yet.
    opening: bool,
    scanner: Scanner,
    observed: Observed,
}

/// Handling of an event.
enum Verdict {
    Relay,
    Cut,
    Done,
    Failed(Failure),
}

impl OpenAiReader {
    pub(super) fn new(operation: Operation, wants_usage: bool, choices: u64, limits: SseLimits) -> Self {
        let scanner = Scanner::new(limits);
        Self { operation, wants_usage, choices, finished: 0, opening: true, scanner, observed: Observed::default() }
    }

    fn classify_event(&mut self, event: &Event) -> Verdict {
        let data = event.data().unwrap_or_default().trim_ascii();
        if data.is_empty() {
            return Verdict::Relay;
        }
        if data == b"[DONE]" {
            return Verdict::Done;
        }
        let first = std::mem::take(&mut self.opening);
        let seen = peek(data);
        self.record(&seen);
        let named_error = event.name() == b"error";
        if !(first || seen.usage || seen.error || named_error) {
            return Verdict::Relay;
        }
        let Some(answer) = OpenAiAnswer::parse(data) else {
            return if first { Verdict::Failed(Failure::interrupted("the upstream's stream is not valid")) } else { Verdict::Relay };
        };
        if answer.is_error() || named_error {
            return Verdict::Failed(failure::read_hidden(data));
        }
        let Some(reported) = answer.usage else { return Verdict::Relay };
        self.report(reported);
        if !self.wants_usage && answer.is_usage_alone() { Verdict::Cut } else { Verdict::Relay }
    }

    /// Stores a usage report; the last one counts.
    fn report(&mut self, reported: &[u8]) {
        self.observed.usage = str::from_utf8(reported).ok().and_then(usage::read);
        self.observed.has_absurd_usage = self.observed.usage.is_none();
    }

    fn record(&mut self, seen: &Peek<'_>) {
        self.observed.output_bytes += seen.text;
        self.finished += seen.finished;
        if let (None, Some(reason)) = (&self.observed.finish_reason, seen.finish_reason) {
            self.observed.finish_reason = Some(String::from_utf8_lossy(reason).into());
        }
    }
}

impl Reader for OpenAiReader {
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Failure> {
        let Some(answer) = OpenAiAnswer::parse(&body) else {
            return Err(Failure::interrupted("the upstream's answer is not a complete JSON object"));
        };
        if answer.is_error() && !answer.has_choices() && answer.data.is_none() {
            return Err(failure::read_hidden(&body));
        }
        if let Some(reported) = answer.usage {
            self.report(reported);
        }
        if self.operation != Operation::Embeddings {
            self.record(&peek(answer.choices.unwrap_or(&body)));
        }
        Ok(body)
    }

    fn push(&mut self, piece: Bytes, out: &mut Vec<Bytes>) -> Flow {
        self.scanner.push(piece.clone());
        // Range of the piece that is still to be relayed.
        let (mut from, mut to) = (0, 0);
        let relay = |from: usize, to: usize, out: &mut Vec<Bytes>| {
            if from < to {
                out.push(piece.slice(from..to));
            }
        };
        let flow = loop {
            let was_opening = self.opening;
            let event = match self.scanner.next_event() {
                Ok(Some(event)) => event,
                Ok(None) if self.opening => break Flow::Opening,
                Ok(None) => break Flow::Flowing,
                Err(too_large) => {
                    (from, to) = discard_comments(was_opening, out).unwrap_or((from, to));
                    break Flow::Failed(Failure::interrupted(&too_large.to_string()));
                }
            };
            let verdict = self.classify_event(&event);
            let end = self.scanner.position();
            match verdict {
                Verdict::Relay | Verdict::Done if event.straddles => {
                    out.push(event.raw);
                    (from, to) = (end, end);
                }
                Verdict::Relay | Verdict::Done => to = end,
                Verdict::Cut => {
                    relay(from, to, out);
                    (from, to) = (end, end);
                }
                Verdict::Failed(_) => (from, to) = discard_comments(was_opening, out).unwrap_or((from, to)),
            }
            match verdict {
                Verdict::Relay | Verdict::Cut => {}
                Verdict::Done => break Flow::Done,
                Verdict::Failed(failure) => break Flow::Failed(failure),
            }
        };
        relay(from, to, out);
        flow
    }

    fn end(&mut self, out: &mut Vec<Bytes>) -> Flow {
        let was_opening = self.opening;
        let flow = self.finish(out);
        if matches!(flow, Flow::Failed(_)) {
            discard_comments(was_opening, out);
        }
        flow
    }

    fn held(&self) -> usize {
        self.scanner.held()
    }

    fn observed(&self) -> Observed {
        self.observed.clone()
    }
}

/// Discards the comments of a stream that failed before its first event, so that the client gets
/// nothing of that attempt.
fn discard_comments(was_opening: bool, out: &mut Vec<Bytes>) -> Option<(usize, usize)> {
    was_opening.then(|| {
        out.clear();
        (0, 0)
    })
}

impl OpenAiReader {
    /// Handles the pending event at the end, and decides whether the stream is complete.
    fn finish(&mut self, out: &mut Vec<Bytes>) -> Flow {
        let pending = match self.scanner.finish() {
            Ok(pending) => pending,
            Err(too_large) => return Flow::Failed(Failure::interrupted(&too_large.to_string())),
        };
        if let Some(event) = pending {
            let opening = self.opening;
            // Not a stream: some upstreams send an error as plain JSON.
            let bare = event.data().is_none() && opening && OpenAiAnswer::parse(&event.raw).is_some_and(|answer| answer.is_error());
            if bare {
                return Flow::Failed(failure::read_hidden(&event.raw));
            }
            // An event with truncated JSON is dropped.
            let data = event.data().unwrap_or_default().trim_ascii();
            if data == b"[DONE]" || OpenAiAnswer::parse(data).is_some() {
                match self.classify_event(&event) {
                    Verdict::Cut => {}
                    Verdict::Failed(failure) => return Flow::Failed(failure),
                    verdict => {
                        out.extend([event.raw, Bytes::from_static(b"\n\n")]);
                        if let Verdict::Done = verdict {
                            return Flow::Done;
                        }
                    }
                }
            }
        }
        // Some upstreams never send `[DONE]`. A stream whose choices have all finished is complete.
        if self.finished >= self.choices.max(1) {
            return Flow::Done;
        }
        Flow::Failed(Failure::interrupted("the upstream's stream ended before its answer was complete"))
    }
}
