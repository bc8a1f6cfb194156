//! The pass over a body: reads every byte once and finds the top-level members.
//!
//! Does not recurse, so that no body can exhaust the stack.

use fearless_simd::{Level, Simd, dispatch};

use super::block::{BLOCK, StringBlock, short};
use super::error::JsonError;
use super::limits::JsonLimits;
use super::member::Member;

/// Deepest nesting: one bit of a `u128` for each level. serde_json has the same limit.
const DEEPEST: usize = 127;

/// Calls `each` with every top-level member of the object that `bytes` must be, in their order.
pub(super) fn members(bytes: &[u8], limits: JsonLimits, each: impl FnMut(Member)) -> Result<(), JsonError> {
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Err(JsonError { problem: "unexpected byte order mark", at: 0 });
    }
    simdutf8::basic::from_utf8(bytes).map_err(|_| JsonError {
        problem: "invalid UTF-8",
        at: str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len),
    })?;
    let JsonLimits { depth, strings, keys } = limits;
    let mut scan = Scan { bytes, at: 0, depth: depth.min(DEEPEST), strings, keys, wrong: "" };
    scan.document(each).ok_or(JsonError { problem: scan.wrong, at: scan.at })
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Remaining limits.
    depth: usize,
    strings: usize,
    keys: usize,
    /// The problem at the position where the scan stopped.
    wrong: &'static str,
}

/// Result of a step. `None` is a problem, which is kept in [`Scan`]: a result without it is cheaper to return.
type Scanned<T = ()> = Option<T>;

impl Scan<'_> {
    fn document(&mut self, mut each: impl FnMut(Member)) -> Scanned {
        self.whitespace();
        self.expect(b'{', "expected `{`")?;
        self.enter()?;
        self.whitespace();
        if self.peek() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                each(self.member()?);
                self.whitespace();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b'}') => break self.at += 1,
                    _ => return self.wrong("expected `,` or `}`"),
                }
                self.whitespace();
            }
        }
        self.whitespace();
        if self.at < self.bytes.len() {
            return self.wrong("unexpected data after the object");
        }
        Some(())
    }

    fn member(&mut self) -> Scanned<Member> {
        let key_start = self.at;
        let escaped = self.key()?;
        let key = key_start..self.at;
        self.colon()?;
        let value_start = self.at;
        self.value()?;
        let unescaped = if escaped { serde_json::from_slice(&self.bytes[key.clone()]).ok() } else { None };
        Some(Member { unescaped, key, value: value_start..self.at })
    }

    /// Skips one value, however deep.
    fn value(&mut self) -> Scanned {
        // One bit for each open container, set for an object. The lowest bit is the innermost.
        let (mut objects, mut open) = (0_u128, 0_usize);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                    match self.strings.checked_sub(1) {
                        Some(left) => self.strings = left,
                        None => return self.wrong("too many strings"),
                    }
                }
                Some(byte @ (b'{' | b'[')) => {
                    let object = byte == b'{';
                    self.enter()?;
                    self.at += 1;
                    (objects, open) = (objects << 1 | u128::from(object), open + 1);
                    self.whitespace();
                    let empty = self.peek() == Some(if object { b'}' } else { b']' });
                    if !empty {
                        if object {
                            self.key()?;
                            self.colon()?;
                        }
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                _ => return self.wrong("expected a value"),
            }
            // A value has ended: close the containers that end with it, then continue with the next value.
            loop {
                if open == 0 {
                    return Some(());
                }
                self.whitespace();
                let object = objects & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.whitespace();
                        if object {
                            self.key()?;
                            self.colon()?;
                        }
                        break;
                    }
                    Some(b'}') if object => {}
                    Some(b']') if !object => {}
                    _ => return self.wrong("expected `,` or the end of the array or object"),
                }
                self.at += 1;
                self.depth += 1;
                (objects, open) = (objects >> 1, open - 1);
            }
        }
    }

    /// Skips a key. Returns whether it has escapes.
    fn key(&mut self) -> Scanned<bool> {
        if self.peek() != Some(b'"') {
            return self.wrong("expected a quoted key");
        }
        match self.keys.checked_sub(1) {
            Some(left) => self.keys = left,
            None => return self.wrong("too many keys"),
        }
        self.string()
    }

    /// Skips a string that starts here. Returns whether it has escapes.
    fn string(&mut self) -> Scanned<bool> {
        if let Some(length) = short(&self.bytes[self.at + 1..]) {
            self.at += length + 2;
            return Some(false);
        }
        dispatch!(Level::new(), simd => self.blocks(simd))
    }

    /// Skips a string of any length and content. Inlined, so that it is compiled for the processor it is dispatched to.
    #[inline(always)]
    fn blocks<S: Simd>(&mut self, simd: S) -> Scanned<bool> {
        let mut at = self.at + 1;
        let (mut has_escapes, mut is_escaped, mut passed) = (false, false, at);
        while let Some(bytes) = self.bytes.get(at..).filter(|bytes| !bytes.is_empty()) {
            let block = StringBlock::of(simd, bytes);
            let (escaped, is_next_escaped) = block.escaped(is_escaped);
            let ends = block.quotes & !escaped | block.controls;
            let rare = escaped & !block.usual();
            if ends | rare != 0 {
                let end = ends.trailing_zeros() as usize;
                passed = self.escapes(rare & below(end), at, passed)?;
                if end < BLOCK {
                    self.at = at + end;
                    self.expect(b'"', "unescaped control character in a string")?;
                    return Some(has_escapes || block.backslashes & below(end) != 0);
                }
            }
            has_escapes |= block.backslashes != 0;
            is_escaped = is_next_escaped;
            at += BLOCK;
        }
        self.at = self.bytes.len();
        self.wrong("unterminated string")
    }

    /// Checks the escaped bytes of the block `at` one by one, except those before `passed`. Returns the end of the checked part.
    fn escapes(&mut self, mut escaped: u64, at: usize, mut passed: usize) -> Scanned<usize> {
        while escaped != 0 {
            let byte = at + escaped.trailing_zeros() as usize;
            escaped &= escaped - 1;
            if byte > passed && !matches!(self.bytes.get(byte), Some(b'/' | b'b' | b'f' | b'r')) {
                passed = self.code_point(byte - 1)?;
            }
        }
        Some(passed)
    }

    /// Returns the end of the escape at `at`, which is not a one-character escape.
    fn code_point(&mut self, at: usize) -> Scanned<usize> {
        self.at = at;
        if self.bytes.get(at + 1) != Some(&b'u') {
            return self.wrong("invalid escape");
        }
        match self.code_unit(at) {
            Some(0xD800..=0xDBFF) if matches!(self.code_unit(at + 6), Some(0xDC00..=0xDFFF)) => Some(at + 12),
            Some(0xD800..=0xDFFF) => self.wrong("lone surrogate"),
            Some(_) => Some(at + 6),
            None => self.wrong("expected four hexadecimal digits"),
        }
    }

    /// Returns the UTF-16 code unit escaped at `at`, if there is one.
    fn code_unit(&self, at: usize) -> Option<u16> {
        let digits: &[u8; 4] = self.bytes.get(at..)?.strip_prefix(b"\\u")?.first_chunk()?;
        let [a, b, c, d] = digits.map(|digit| HEX[usize::from(digit)]);
        (a | b | c | d < 16).then(|| u16::from_be_bytes([a << 4 | b, c << 4 | d]))
    }

    fn number(&mut self) -> Scanned {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let mut huge = self.at - start > 300;
        if let Some(b'e' | b'E') = self.peek() {
            huge = true;
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        if huge {
            let number = str::from_utf8(&self.bytes[start..self.at]).ok().and_then(|text| text.parse::<f64>().ok());
            if !number.is_some_and(f64::is_finite) {
                self.at = start;
                return self.wrong("number out of range");
            }
        }
        Some(())
    }

    fn digits(&mut self) -> Scanned {
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return self.wrong("expected a digit");
        }
        self.at += digits;
        Some(())
    }

    fn literal(&mut self, literal: &[u8]) -> Scanned {
        if !self.bytes[self.at..].starts_with(literal) {
            return self.wrong("expected a value");
        }
        self.at += literal.len();
        Some(())
    }

    fn colon(&mut self) -> Scanned {
        self.whitespace();
        self.expect(b':', "expected `:`")?;
        self.whitespace();
        Some(())
    }

    fn enter(&mut self) -> Scanned {
        match self.depth.checked_sub(1) {
            Some(left) => self.depth = left,
            None => return self.wrong("nesting too deep"),
        }
        Some(())
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Scanned {
        if self.peek() != Some(byte) {
            return self.wrong(what);
        }
        self.at += 1;
        Some(())
    }

    fn whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[cold]
    fn wrong<T>(&mut self, what: &'static str) -> Scanned<T> {
        self.wrong = what;
        None
    }
}

/// Value of a hexadecimal digit, and 255 for any other byte. A table, because branches on a mix of digits and letters are
/// unpredictable.
const HEX: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut byte = 0;
    while byte < values.len() {
        if let Some(value) = (byte as u8 as char).to_digit(16) {
            values[byte] = value as u8;
        }
        byte += 1;
    }
    values
};

/// Returns the bits below `bit`, or all bits if `bit` is out of range.
fn below(bit: usize) -> u64 {
    1_u64.checked_shl(bit as u32).map_or(u64::MAX, |bit| bit - 1)
}
