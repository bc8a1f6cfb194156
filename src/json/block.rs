//! Classification of 64 bytes of a string at a time: one bit for each byte that is not plain text.
//!
//! Prompts are long strings full of escapes, and scanning them takes most of the time of a large body. Byte by byte, each escape
//! would cost an unpredictable branch; here the usual ones are found by arithmetic alone.

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch, u8x16, u8x64};

/// Number of bytes in a block.
pub(super) const BLOCK: usize = 64;

/// Special bytes of a block, as bit masks.
pub(super) struct StringBlock {
    /// Quotes, which end the string unless escaped.
    pub quotes: u64,
    /// Backslashes.
    pub backslashes: u64,
    /// Control characters, which a string must not contain.
    pub controls: u64,
    /// `n` and `t`, the most frequent other escapes.
    letters: u64,
}

impl StringBlock {
    /// Classifies the first 64 bytes. Missing bytes count as plain text.
    #[inline(always)]
    pub fn of<S: Simd>(simd: S, bytes: &[u8]) -> Self {
        let mut block = [b' '; BLOCK];
        let block = bytes.first_chunk().unwrap_or_else(|| {
            block[..bytes.len()].copy_from_slice(bytes);
            &block
        });
        let block = u8x64::simd_from(simd, *block);
        let are = |byte: u8| block.simd_eq(byte);
        Self {
            quotes: are(b'"').to_bitmask(),
            backslashes: are(b'\\').to_bitmask(),
            controls: block.simd_lt(b' ').to_bitmask(),
            letters: (are(b'n') | are(b't')).to_bitmask(),
        }
    }

    /// Returns the escaped bytes, and whether the first byte after the block is escaped. `is_first` says whether the block's first
    /// byte is.
    ///
    /// In a run of backslashes every second one is escaped. Adding the first bit of each run that starts at an odd position carries
    /// to just after the run, which marks these runs (G. Langdale, D. Lemire, "Parsing Gigabytes of JSON per Second", 2019, 3.1.1;
    /// one addition instead of two).
    pub fn escaped(&self, is_first: bool) -> (u64, bool) {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let first = u64::from(is_first);
        let escaping = self.backslashes & !first;
        let behind = escaping << 1 | first;
        let (carried, is_next) = (escaping & !EVEN & !behind).overflowing_add(escaping);
        ((EVEN ^ carried << 1) & behind, is_next)
    }

    /// Returns the bytes that form the most frequent valid escapes.
    pub fn usual(&self) -> u64 {
        self.quotes | self.backslashes | self.letters
    }
}

/// Returns the length of a string from the bytes after its opening quote, if it ends within 16 bytes, has no escapes, and at least
/// 16 bytes follow. Keys and most values are such strings; 16-byte vectors exist on every processor.
pub(super) fn short(bytes: &[u8]) -> Option<usize> {
    let lane: &[u8; 16] = bytes.first_chunk()?;
    let specials = dispatch!(Level::baseline(), simd => {
        let lane = u8x16::simd_from(simd, *lane);
        (lane.simd_eq(b'"') | lane.simd_eq(b'\\') | lane.simd_lt(b' ')).to_bitmask()
    });
    let end = specials.trailing_zeros() as usize;
    (lane.get(end) == Some(&b'"')).then_some(end)
}

#[cfg(test)]
mod tests {
    use fearless_simd::Level;
    use proptest::prelude::*;

    use super::*;

    /// Returns the instruction sets of this processor, from the one that all have.
    fn levels() -> Vec<Level> {
        #[cfg(target_arch = "x86_64")]
        let more = [Level::new().as_sse4_2().map(Level::Sse4_2), Level::new().as_avx2().map(Level::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let more: [Option<Level>; 0] = [];
        [Level::baseline(), Level::new()].into_iter().chain(more.into_iter().flatten()).collect()
    }

    fn mask(bytes: &[u8], is: impl Fn(u8) -> bool) -> u64 {
        (0..BLOCK).map(|nth| u64::from(bytes.get(nth).is_some_and(|byte| is(*byte))) << nth).sum()
    }

    proptest! {
        #[test]
        fn every_instruction_set_finds_the_same_bytes(bytes in prop::collection::vec(prop::sample::select(b"\\\"nta \n\x1f\x7f\xc3".to_vec()), 0..80)) {
            for level in levels() {
                let block = dispatch!(level, simd => StringBlock::of(simd, &bytes));
                prop_assert_eq!(block.quotes, mask(&bytes, |byte| byte == b'"'));
                prop_assert_eq!(block.backslashes, mask(&bytes, |byte| byte == b'\\'));
                prop_assert_eq!(block.controls, mask(&bytes, |byte| byte < 0x20));
                prop_assert_eq!(block.usual(), mask(&bytes, |byte| b"\"\\nt".contains(&byte)));
            }
        }

        #[test]
        fn runs_of_backslashes_escape_as_when_read_one_by_one(backslashes: u64, more: u64, is_first: bool) {
            // The union makes long runs as likely as single ones.
            let backslashes = backslashes | more;
            let mut is_escaped = is_first;
            let mut expected = 0;
            for bit in 0..BLOCK {
                expected |= u64::from(is_escaped) << bit;
                is_escaped = !is_escaped && backslashes >> bit & 1 == 1;
            }
            let block = StringBlock { quotes: 0, backslashes, controls: 0, letters: 0 };
            prop_assert_eq!(block.escaped(is_first), (expected, is_escaped));
        }

        #[test]
        fn a_short_string_ends_at_its_first_quote(bytes in prop::collection::vec(prop::sample::select(b"\"\\aaaaa\n".to_vec()), 0..40)) {
            let end = bytes.iter().position(|byte| *byte < 0x20 || b"\"\\".contains(byte));
            let expected = end.filter(|end| bytes.len() >= 16 && *end < 16 && bytes[*end] == b'"');
            prop_assert_eq!(short(&bytes), expected);
        }
    }
}
