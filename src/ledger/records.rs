//! Walks over the records of one segment, or a part of it, in chunks.
//!
//! Damage (a torn tail, a hole left by a power cut) is stepped over to the next whole record; what it means is the
//! caller's to say.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::frame::{self, Kind, Scan};

/// How much is read at once, unless a record is larger.
const CHUNK: u64 = 256 << 10;

/// A walk over the bytes of a segment from one offset to another.
pub struct Records<'a> {
    file: &'a File,
    buffer: &'a mut Vec<u8>,
    /// The offset in the file of the buffer's first byte.
    base: u64,
    /// The next record's place in the buffer.
    next: usize,
    /// The walk ends here.
    end: u64,
    in_damage: bool,
    holes: u32,
}

/// One record of a segment.
pub struct Record<'a> {
    /// What it says.
    pub kind: Kind,
    /// Its entry's id.
    pub id: &'a [u8],
    /// Its entry, see [`frame::decode`].
    pub body: &'a [u8],
    /// The offset of its first byte in the segment.
    pub at: u64,
}

impl<'a> Records<'a> {
    /// Begins at offset `from`, which must be a record's first byte, and ends at `end`. `buffer` is only lent for its memory.
    pub fn new(file: &'a File, from: u64, end: u64, buffer: &'a mut Vec<u8>) -> Self {
        buffer.clear();
        Self { file, buffer, base: from, next: 0, end, in_damage: false, holes: 0 }
    }

    /// The offset at which the next record begins; the end, once there is none.
    pub fn offset(&self) -> u64 {
        self.base + self.next as u64
    }

    /// How many damaged stretches were followed by a whole record: more than a torn tail.
    pub fn holes(&self) -> u32 {
        self.holes
    }

    /// The next whole record.
    ///
    /// # Errors
    /// As the operating system says; the walk may be tried again.
    pub fn read(&mut self) -> io::Result<Option<Record<'_>>> {
        let layout = loop {
            match frame::scan(&self.buffer[self.next..]) {
                Scan::Whole(layout) => break layout,
                Scan::Short(needed) if self.fill(needed as u64)? => {}
                _ if self.next == self.buffer.len() => return Ok(None),
                _ => {
                    self.in_damage = true;
                    self.next = frame::next_start(&self.buffer[self.next..]).map_or(self.buffer.len(), |skip| self.next + skip);
                }
            }
        };
        self.holes += u32::from(std::mem::take(&mut self.in_damage));
        let at = self.offset();
        let bytes = &self.buffer[self.next..self.next + layout.end];
        self.next += layout.end;
        Ok(Some(Record { kind: layout.kind, id: &bytes[frame::HEADER..layout.body], body: &bytes[layout.body..], at }))
    }

    /// Reads on until `needed` bytes from the next record's start are there; `false` if there are not so many.
    fn fill(&mut self, needed: u64) -> io::Result<bool> {
        if self.next > 0 {
            self.base += self.next as u64;
            self.buffer.drain(..self.next);
            self.next = 0;
        }
        let have = self.buffer.len() as u64;
        let wanted = needed.max(CHUNK).min(self.end.saturating_sub(self.base));
        let mut filled = have;
        self.buffer.resize(wanted.max(have) as usize, 0);
        while filled < wanted {
            match self.file.read_at(&mut self.buffer[filled as usize..], self.base + filled) {
                Ok(0) => {
                    self.end = self.base + filled;
                    break;
                }
                Ok(read) => filled += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.truncate(have as usize);
                    return Err(error);
                }
            }
        }
        self.buffer.truncate(filled as usize);
        Ok(filled >= needed)
    }
}
