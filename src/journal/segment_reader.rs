//! Sequential reader of the records in one segment, or a part of it, in chunks.
//!
//! Damage (a torn tail, a hole left by a power loss) is skipped up to the next complete record. The
//! caller decides what the damage means.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::frame::{self, FrameScan, Record};

/// Number of bytes read at once, unless a record is larger.
const CHUNK: u64 = 256 << 10;

/// Reads the records between two offsets of a segment.
pub struct SegmentReader<'a> {
    file: &'a File,
    buffer: &'a mut Vec<u8>,
    /// Offset in the file of the buffer's first byte.
    base: u64,
    /// Position in the buffer of the next record.
    next: usize,
    /// Offset in the file at which reading ends.
    end: u64,
    in_damage: bool,
    holes: u32,
}

impl<'a> SegmentReader<'a> {
    /// Starts at offset `from`, the first byte of a record, and ends at `end`. `buffer` is only
    /// borrowed for its memory.
    pub fn new(file: &'a File, from: u64, end: u64, buffer: &'a mut Vec<u8>) -> Self {
        buffer.clear();
        Self { file, buffer, base: from, next: 0, end, in_damage: false, holes: 0 }
    }

    /// Returns the offset at which the next record begins, or the end if there is none.
    pub fn offset(&self) -> u64 {
        self.base + self.next as u64
    }

    /// Returns the number of damaged stretches that were followed by a complete record. A torn tail
    /// is not counted.
    pub fn holes(&self) -> u32 {
        self.holes
    }

    /// Returns the next complete record and its offset.
    ///
    /// # Errors
    /// The file cannot be read. The call may be repeated.
    pub fn read(&mut self) -> io::Result<Option<(Record<'_>, u64)>> {
        let frame = loop {
            match frame::scan(&self.buffer[self.next..]) {
                FrameScan::Complete(frame) => break frame,
                FrameScan::Incomplete(needed) if self.fill(needed as u64)? => {}
                _ if self.next == self.buffer.len() => return Ok(None),
                _ => {
                    self.in_damage = true;
                    let skip = frame::next_start(&self.buffer[self.next..]);
                    self.next = skip.map_or(self.buffer.len(), |skip| self.next + skip);
                }
            }
        };
        self.holes += u32::from(std::mem::take(&mut self.in_damage));
        let (at, start) = (self.offset(), self.next);
        self.next += frame.end;
        Ok(Some((frame.record(&self.buffer[start..self.next]), at)))
    }

    /// Reads until `needed` bytes from the start of the next record are buffered; returns `false`
    /// if the file has fewer.
    fn fill(&mut self, needed: u64) -> io::Result<bool> {
        if self.next > 0 {
            self.base += self.next as u64;
            self.buffer.drain(..self.next);
            self.next = 0;
        }
        let buffered = self.buffer.len() as u64;
        let target = needed.max(CHUNK).min(self.end.saturating_sub(self.base));
        let mut filled = buffered;
        self.buffer.resize(target.max(buffered) as usize, 0);
        while filled < target {
            match self.file.read_at(&mut self.buffer[filled as usize..], self.base + filled) {
                Ok(0) => {
                    self.end = self.base + filled;
                    break;
                }
                Ok(read) => filled += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.truncate(buffered as usize);
                    return Err(error);
                }
            }
        }
        self.buffer.truncate(filled as usize);
        Ok(filled >= needed)
    }
}
