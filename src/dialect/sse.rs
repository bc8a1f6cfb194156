//! Incremental scanner of server-sent events: finds the bounds, name and data of each event.
//!
//! An event within one piece is a slice of that piece. Of an event that straddles pieces, at most
//! its own bytes are held. The scanner does not parse JSON; readers decide how to handle an event.

use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr, memchr2};

/// Scanner of one stream: [`push`](Self::push) a piece, call [`next_event`](Self::next_event) until
/// it returns `None`, and call [`finish`](Self::finish) after the last piece.
///
/// Lines end in LF, CRLF or CR. A byte order mark at the start is skipped. The split into pieces
/// changes neither the events nor their raw bytes.
#[derive(Debug, Default)]
pub struct Scanner {
    limits: SseLimits,
    /// Last piece, and the number of its bytes that went into events or `held`.
    piece: Bytes,
    at: usize,
    /// End of the last event within that piece.
    taken: usize,
    /// Start of an event whose end has not arrived.
    held: Vec<u8>,
    block: ScanState,
}

/// Size limits of a stream (spec/security.md 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseLimits {
    /// Maximum size of a line in bytes, without its line end.
    pub line: usize,
    /// Maximum size of an event in bytes, line ends included.
    pub event: usize,
}

impl Default for SseLimits {
    fn default() -> Self {
        Self { line: 8 << 20, event: 16 << 20 }
    }
}

/// A line or an event exceeds its limit. The stream cannot be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {what} of the event stream exceeds {limit} bytes")]
pub struct TooLarge {
    /// `line` or `event`.
    pub what: &'static str,
    /// The limit in bytes.
    pub limit: usize,
}

/// Lines between two blank lines: an event, or comments only.
#[derive(Clone, Debug)]
pub struct Event {
    /// Bytes as received, with the final blank line.
    pub raw: Bytes,
    /// Whether the event began in an earlier piece, so that `raw` is a copy and not a slice of the
    /// last piece.
    pub straddles: bool,
    name: Range<usize>,
    data: Data,
}

#[derive(Clone, Debug, Default)]
enum Data {
    /// No `data` line; by the standard this is not an event.
    #[default]
    Absent,
    /// One `data` line: range of its value within the event.
    Line(Range<usize>),
    /// Several `data` lines, joined by LF.
    Lines(Vec<u8>),
}

impl Event {
    /// Returns the value of the last `event:` line, empty if there is none.
    pub fn name(&self) -> &[u8] {
        self.raw.get(self.name.clone()).unwrap_or_default()
    }

    /// Returns the values of the `data:` lines joined by LF; `None` without such lines.
    pub fn data(&self) -> Option<&[u8]> {
        match &self.data {
            Data::Absent => None,
            Data::Line(span) => self.raw.get(span.clone()),
            Data::Lines(joined) => Some(joined),
        }
    }
}

impl Scanner {
    /// Creates a scanner at the start of a stream.
    pub fn new(limits: SseLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Adds the next piece of the stream. The events of the previous piece must have been read.
    pub fn push(&mut self, piece: Bytes) {
        debug_assert!(self.at == self.piece.len(), "events of the last piece were not read");
        self.piece = piece;
        (self.at, self.taken) = (0, 0);
    }

    /// Returns the end of the last event within the last piece.
    pub fn position(&self) -> usize {
        self.taken
    }

    /// Number of bytes held of an event whose end has not arrived.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Returns the next complete event.
    ///
    /// # Errors
    /// [`TooLarge`] if a line or an event exceeds its limit, complete or not.
    pub fn next_event(&mut self) -> Result<Option<Event>, TooLarge> {
        if self.held.is_empty() {
            let rest = &self.piece[self.at..];
            if self.block.scan(rest, After::Unknown, self.limits)? {
                let raw = self.piece.slice(self.at..self.at + self.block.scanned);
                self.at += raw.len();
                self.taken = self.at;
                return Ok(Some(self.block.complete(raw, false)));
            }
            self.held.extend_from_slice(rest);
            self.at = self.piece.len();
            return Ok(None);
        }
        // Line by line, so that the bytes after the event are not copied.
        loop {
            let rest = &self.piece[self.at..];
            let after = rest.first().map_or(After::Unknown, |byte| After::Byte(*byte));
            if self.block.scan(&self.held, after, self.limits)? {
                self.taken = self.at;
                let raw = Bytes::from(std::mem::take(&mut self.held));
                return Ok(Some(self.block.complete(raw, true)));
            }
            if rest.is_empty() {
                return Ok(None);
            }
            let line = memchr2(b'\n', b'\r', rest).map_or(rest.len(), |end| end + 1);
            self.held.extend_from_slice(&rest[..line]);
            self.at += line;
        }
    }

    /// Ends the stream. Returns the rest as an event without its blank line. The last line counts
    /// even without a line end.
    ///
    /// # Errors
    /// As [`next_event`](Self::next_event).
    pub fn finish(&mut self) -> Result<Option<Event>, TooLarge> {
        if !self.block.scan(&self.held, After::End, self.limits)? {
            if self.held.is_empty() {
                return Ok(None);
            }
            let last = self.block.scanned..self.held.len();
            self.block.read_line(&self.held, last);
        }
        let raw = Bytes::from(std::mem::take(&mut self.held));
        Ok(Some(self.block.complete(raw, true)))
    }
}

/// State of the event being scanned. Offsets count from its first byte.
#[derive(Debug, Default)]
struct ScanState {
    /// End of the last complete line.
    scanned: usize,
    /// End of the bytes searched for a line end.
    searched: usize,
    name: Range<usize>,
    data: Data,
    /// Ending of the last line, in this event or the previous one.
    ending: Ending,
    /// Whether the first line of the stream has been read.
    has_started: bool,
    /// Whether the previous event ended in a bare CR. An LF that follows belongs to that line end.
    may_open_with_lf: bool,
}

#[derive(Debug, Default, PartialEq)]
enum Ending {
    #[default]
    Lf,
    CrLf,
    Cr,
}

/// Input after the scanned bytes.
#[derive(Clone, Copy, PartialEq)]
enum After {
    /// Not arrived yet.
    Unknown,
    /// This byte.
    Byte(u8),
    /// The end of the stream.
    End,
}

impl ScanState {
    /// Continues scanning `bytes`, which begin at the start of the event. Returns whether its blank
    /// line was found; the event is then `scanned` bytes long.
    fn scan(&mut self, bytes: &[u8], after: After, limits: SseLimits) -> Result<bool, TooLarge> {
        if self.may_open_with_lf && !bytes.is_empty() {
            self.may_open_with_lf = false;
            if bytes.first() == Some(&b'\n') {
                (self.scanned, self.searched, self.ending) = (1, 1, Ending::CrLf);
            }
        }
        while let Some(found) = memchr2(b'\n', b'\r', &bytes[self.searched..]) {
            let end = self.searched + found;
            let blank = end == self.line_start(bytes);
            let Some((ending, next)) = self.line_end(bytes, end, blank, after) else {
                self.searched = end;
                break;
            };
            limits.check(end - self.scanned, next)?;
            self.may_open_with_lf = blank && ending == Ending::Cr;
            self.ending = ending;
            if !blank {
                self.read_line(bytes, self.scanned..end);
            }
            self.has_started = true;
            (self.scanned, self.searched) = (next, next);
            if blank {
                return Ok(true);
            }
        }
        if !matches!(bytes.get(self.searched), Some(b'\r')) {
            self.searched = bytes.len();
        }
        limits.check(self.searched - self.scanned, bytes.len())?;
        Ok(false)
    }

    /// Returns the ending of the line at `end` and the start of the next line. `None` if it ends in
    /// CR and the next byte, which may be an LF, has not arrived.
    fn line_end(&self, bytes: &[u8], end: usize, blank: bool, after: After) -> Option<(Ending, usize)> {
        if bytes.get(end) == Some(&b'\n') {
            return Some((Ending::Lf, end + 1));
        }
        // In a stream with bare CRs, an event must not wait for the byte after its blank line.
        if blank && self.ending == Ending::Cr {
            return Some((Ending::Cr, end + 1));
        }
        match (bytes.get(end + 1), after) {
            (Some(b'\n'), _) => Some((Ending::CrLf, end + 2)),
            (Some(_), _) | (None, After::End) => Some((Ending::Cr, end + 1)),
            (None, After::Byte(byte)) if byte != b'\n' => Some((Ending::Cr, end + 1)),
            (None, _) => None,
        }
    }

    /// Returns the start of the text of the line at `scanned`, after a byte order mark in the first
    /// line.
    fn line_start(&self, bytes: &[u8]) -> usize {
        let marked = !self.has_started && bytes[self.scanned..].starts_with(b"\xEF\xBB\xBF");
        self.scanned + if marked { 3 } else { 0 }
    }

    fn read_line(&mut self, bytes: &[u8], span: Range<usize>) {
        let start = self.line_start(bytes).min(span.end);
        let line = &bytes[start..span.end];
        let (field, value) = match memchr(b':', line) {
            Some(colon) => (&line[..colon], colon + 1 + usize::from(line.get(colon + 1) == Some(&b' '))),
            None => (line, line.len()),
        };
        let value = start + value..span.end;
        match field {
            b"event" => self.name = value,
            b"data" => match &mut self.data {
                Data::Absent => self.data = Data::Line(value),
                Data::Line(first) => self.data = Data::Lines([&bytes[first.clone()], b"\n", &bytes[value]].concat()),
                Data::Lines(joined) => {
                    joined.push(b'\n');
                    joined.extend_from_slice(&bytes[value]);
                }
            },
            _ => {}
        }
    }

    /// Completes the event and resets the state for the next one.
    fn complete(&mut self, raw: Bytes, straddles: bool) -> Event {
        (self.scanned, self.searched) = (0, 0);
        Event { raw, straddles, name: std::mem::take(&mut self.name), data: std::mem::take(&mut self.data) }
    }
}

impl SseLimits {
    fn check(self, line: usize, event: usize) -> Result<(), TooLarge> {
        if line > self.line {
            return Err(TooLarge { what: "line", limit: self.line });
        }
        if event > self.event {
            return Err(TooLarge { what: "event", limit: self.event });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
