//! The pass itself: every byte of a body is looked at once, nothing is built but the list of members.
//!
//! Without recursion, so that no body can exhaust the stack. What the members mean is [`Document`](super::Document)'s.

use wide::u8x16;

use super::{JsonError, JsonLimits, Member};

/// As deep as one bit of a `u128` per level goes; deeper documents are refused by serde_json as well.
const DEEPEST: usize = 127;

/// Tells `each` of the top-level members of the object that `bytes` must be, in their order.
pub(super) fn members(bytes: &[u8], limits: JsonLimits, each: impl FnMut(Member)) -> Result<(), JsonError> {
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Err(JsonError { what: "a byte order mark", at: 0 });
    }
    simdutf8::basic::from_utf8(bytes).map_err(|_| JsonError {
        what: "bytes that are no UTF-8",
        at: str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len),
    })?;
    let JsonLimits { depth, strings, keys } = limits;
    let mut scan = Scan { bytes, at: 0, depth: depth.min(DEEPEST), strings, keys, wrong: "" };
    scan.document(each).ok_or(JsonError { what: scan.wrong, at: scan.at })
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// What is left of the limits.
    depth: usize,
    strings: usize,
    keys: usize,
    /// What is wrong where the scan stopped.
    wrong: &'static str,
}

/// `None`: something is wrong. What and where is kept aside, because every step of a scan gives one of these.
type Scanned<T = ()> = Option<T>;

impl Scan<'_> {
    fn document(&mut self, mut each: impl FnMut(Member)) -> Scanned {
        self.whitespace();
        self.expect(b'{', "something else than a JSON object")?;
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
                    _ => return self.wrong("neither a comma nor the end of the object"),
                }
                self.whitespace();
            }
        }
        self.whitespace();
        if self.at < self.bytes.len() {
            return self.wrong("something after the end of the object");
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

    /// Passes over one value, however deep.
    fn value(&mut self) -> Scanned {
        // One bit for each container that is open: is it an object? The lowest is the innermost.
        let (mut objects, mut open) = (0_u128, 0_usize);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                    match self.strings.checked_sub(1) {
                        Some(left) => self.strings = left,
                        None => return self.wrong("more strings than allowed"),
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
                _ => return self.wrong("no value"),
            }
            // A value has ended: close what ends with it, then go on with the next one.
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
                    _ => return self.wrong("neither a comma nor the end of the array or object"),
                }
                self.at += 1;
                self.depth += 1;
                (objects, open) = (objects >> 1, open - 1);
            }
        }
    }

    /// Passes over a key; whether it holds escapes.
    fn key(&mut self) -> Scanned<bool> {
        if self.peek() != Some(b'"') {
            return self.wrong("no key in quotes");
        }
        match self.keys.checked_sub(1) {
            Some(left) => self.keys = left,
            None => return self.wrong("more keys than allowed"),
        }
        self.string()
    }

    /// Passes over a string, whose opening quote is here; whether it holds escapes.
    fn string(&mut self) -> Scanned<bool> {
        let mut escaped = false;
        let (mut block, mut next) = (self.at + 1, self.at + 1);
        // Keys and most values are short: one lane finds their end.
        if let Some(lane) = self.bytes.get(block..).and_then(<[u8]>::first_chunk) {
            let end = block + specials_of_lane(lane).trailing_zeros() as usize;
            if end < block + LANE && self.bytes[end] == b'"' {
                self.at = end + 1;
                return Some(false);
            }
            block = end.min(block + LANE);
        }
        while let Some(bytes) = self.bytes.get(block..).filter(|bytes| !bytes.is_empty()) {
            // What an escape that began before has already passed is nothing special.
            let passed = next.saturating_sub(block);
            let mut specials = if passed < BLOCK { specials(bytes) & (u64::MAX << passed) } else { 0 };
            while specials != 0 {
                let bit = specials.trailing_zeros();
                let at = block + bit as usize;
                match self.bytes[at] {
                    b'"' => {
                        self.at = at + 1;
                        return Some(escaped);
                    }
                    b'\\' => {
                        escaped = true;
                        next = match self.bytes.get(at + 1) {
                            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at + 2,
                            _ => self.code_point(at)?,
                        };
                        let passed = next - block;
                        specials = if passed < BLOCK { specials & (u64::MAX << passed) } else { 0 };
                    }
                    _ => {
                        self.at = at;
                        return self.wrong("a control character in a string");
                    }
                }
            }
            block += BLOCK;
        }
        self.at = self.bytes.len();
        self.wrong("the end within a string")
    }

    /// Where the escape ends that begins at `at` and is none of those with one character.
    fn code_point(&mut self, at: usize) -> Scanned<usize> {
        self.at = at;
        if self.bytes.get(at + 1) != Some(&b'u') {
            return self.wrong("an unknown escape");
        }
        match (self.code_unit(at), self.code_unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => Some(at + 12),
            (Some(0xD800..=0xDFFF), _) => self.wrong("half of a surrogate pair"),
            (Some(_), _) => Some(at + 6),
            (None, _) => self.wrong("no four hexadecimal digits"),
        }
    }

    /// The UTF-16 code unit escaped at `at`, if there is one.
    fn code_unit(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
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
                return self.wrong("a number too large");
            }
        }
        Some(())
    }

    fn digits(&mut self) -> Scanned {
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return self.wrong("no digit");
        }
        self.at += digits;
        Some(())
    }

    fn literal(&mut self, literal: &[u8]) -> Scanned {
        if !self.bytes[self.at..].starts_with(literal) {
            return self.wrong("no value");
        }
        self.at += literal.len();
        Some(())
    }

    fn colon(&mut self) -> Scanned {
        self.whitespace();
        self.expect(b':', "no colon after a key")?;
        self.whitespace();
        Some(())
    }

    fn enter(&mut self) -> Scanned {
        match self.depth.checked_sub(1) {
            Some(left) => self.depth = left,
            None => return self.wrong("deeper nesting than allowed"),
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

/// How many bytes are looked at together.
const BLOCK: usize = 4 * LANE;
/// How many one vector holds.
const LANE: usize = 16;

/// Which of the first 64 bytes are no plain text of a string, a bit for each: quotes, backslashes, control characters.
///
/// Prompts are long strings, so this is where the time of a large body goes; in vectors it is a third of what a search
/// from one such byte to the next costs.
fn specials(bytes: &[u8]) -> u64 {
    let of = |block: &[u8; BLOCK]| {
        let lanes = block.as_chunks().0.iter().rev();
        lanes.fold(0, |mask, lane| mask << LANE | u64::from(specials_of_lane(lane)))
    };
    bytes.first_chunk().map_or_else(
        || {
            let mut last = [b' '; BLOCK];
            last[..bytes.len()].copy_from_slice(bytes);
            of(&last)
        },
        of,
    )
}

fn specials_of_lane(lane: &[u8; LANE]) -> u32 {
    let lane = u8x16::new(*lane);
    // Makes the quote, 0x22, the next after the control characters: so one comparison finds them all.
    let swapped = lane ^ u8x16::splat(b'"' ^ 0x20);
    let is_low = swapped.min(u8x16::splat(0x20)).simd_eq(swapped);
    (is_low | lane.simd_eq(u8x16::splat(b'\\'))).to_bitmask()
}
