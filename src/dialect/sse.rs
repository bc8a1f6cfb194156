//! Server-sent events out of bytes as they arrive: where each event begins and ends, its name, its data.
//!
//! An event that lies whole in one piece is a slice of that piece; of one that straddles pieces at most its own bytes are
//! held. Knows nothing of JSON, and relays nothing: what to do with an event is its reader's business.

use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr, memchr2};

/// Finds events in a stream of pieces: [`push`](Self::push) a piece, then take [`next_event`](Self::next_event) until
/// there is none; after the last piece take [`finish`](Self::finish).
///
/// Lines end in LF, CRLF or CR; a byte order mark at the start is skipped. How the bytes were cut into pieces changes
/// neither the events nor their raw bytes.
#[derive(Debug, Default)]
pub struct Scanner {
    limits: SseLimits,
    /// The piece pushed last, and how much of it has gone into events or into `held`.
    piece: Bytes,
    at: usize,
    /// Where in that piece the event taken last ends.
    taken: usize,
    /// The beginning of an event whose end has not arrived.
    held: Vec<u8>,
    block: Block,
}

/// How much of a stream may have to be held (spec/security.md 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseLimits {
    /// Bytes of a line without its end.
    pub line: usize,
    /// Bytes of an event, line ends included.
    pub event: usize,
}

impl Default for SseLimits {
    fn default() -> Self {
        Self { line: 8 << 20, event: 16 << 20 }
    }
}

/// A line or an event is longer than its limit. Nothing more comes of that stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {what} of the event stream exceeds {limit} bytes")]
pub struct TooLarge {
    /// `line` or `event`.
    pub what: &'static str,
    /// The limit in bytes.
    pub limit: usize,
}

/// What lies between two blank lines: an event, or nothing but comments.
#[derive(Clone, Debug)]
pub struct Event {
    /// The bytes as received, with the blank line that ends them.
    pub raw: Bytes,
    /// Whether the event began in an earlier piece, so that `raw` is a copy and no slice of the piece pushed last.
    pub straddles: bool,
    name: Range<usize>,
    data: Data,
}

#[derive(Clone, Debug, Default)]
enum Data {
    /// No `data` line: by the standard this is no event.
    #[default]
    Absent,
    /// One `data` line: where its value stands in the event.
    Line(Range<usize>),
    /// Several, joined by LF.
    Lines(Vec<u8>),
}

impl Event {
    /// The value of the last `event:` line; empty if there is none.
    pub fn name(&self) -> &[u8] {
        self.raw.get(self.name.clone()).unwrap_or_default()
    }

    /// The values of the `data:` lines joined by LF; `None` if there are none, so that this is a comment or a stray line.
    pub fn data(&self) -> Option<&[u8]> {
        match &self.data {
            Data::Absent => None,
            Data::Line(span) => self.raw.get(span.clone()),
            Data::Lines(joined) => Some(joined),
        }
    }
}

impl Scanner {
    /// A scanner at the start of a stream.
    pub fn new(limits: SseLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the next piece of the stream. The events of the one before must have been taken.
    pub fn push(&mut self, piece: Bytes) {
        debug_assert!(self.at == self.piece.len(), "events of the last piece were not taken");
        self.piece = piece;
        (self.at, self.taken) = (0, 0);
    }

    /// Where the event taken last ends in the piece pushed last.
    pub fn position(&self) -> usize {
        self.taken
    }

    /// Bytes held of an event whose end has not arrived.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The next event that is complete.
    ///
    /// # Errors
    /// [`TooLarge`] when a line or an event passes its limit, complete or not.
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
        // Line by line, so that what follows the event stays in its piece and is not copied.
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

    /// The stream has ended: what is left of it, as an event whose blank line never came. Its last line counts even
    /// without a line end.
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

/// What is known of the event being read. Offsets count from its first byte.
#[derive(Debug, Default)]
struct Block {
    /// Whole lines up to here.
    scanned: usize,
    /// No line end between `scanned` and here.
    searched: usize,
    name: Range<usize>,
    data: Data,
    /// How the last line ended, in this event or the one before.
    ending: Ending,
    /// Whether the first line of the stream is behind us.
    begun: bool,
    /// The event before ended in a bare CR: if LF follows, it belongs to that line end.
    may_open_with_lf: bool,
}

#[derive(Debug, Default, PartialEq)]
enum Ending {
    #[default]
    Lf,
    CrLf,
    Cr,
}

/// What follows the bytes that are scanned.
#[derive(Clone, Copy, PartialEq)]
enum After {
    /// It has not arrived.
    Unknown,
    /// This byte.
    Byte(u8),
    /// The end of the stream.
    End,
}

impl Block {
    /// Reads on in `bytes`, which begin where the event begins. `true`: its blank line was found, it is `scanned` long.
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
            self.begun = true;
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

    /// How the line whose end begins at `end` ends, and where the next begins. `None`: it ends in CR, and whether LF
    /// belongs to it is still open.
    fn line_end(&self, bytes: &[u8], end: usize, blank: bool, after: After) -> Option<(Ending, usize)> {
        if bytes.get(end) == Some(&b'\n') {
            return Some((Ending::Lf, end + 1));
        }
        // Where lines end in bare CRs an event must not wait for the byte after its blank line.
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

    /// Where the text of the line at `scanned` begins: behind the byte order mark, if it is the stream's first.
    fn line_start(&self, bytes: &[u8]) -> usize {
        let marked = !self.begun && bytes[self.scanned..].starts_with(b"\xEF\xBB\xBF");
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

    /// The event is complete; the next one begins.
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
