//! Removes the credential of a call from the upstream's error messages, because some upstreams
//! quote it (spec/security.md 7.3).
//!
//! The body of a successful answer passes unchanged; its headers are checked.

use std::collections::HashSet;

use actix_web::http::header::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use memchr::memmem;

use crate::dialect::failure::{Failure, Original};

/// Number of consecutive bytes of a key that count as the key.
const RUN: usize = 12;
const REDACTED: &[u8] = b"[redacted]";

/// Finds a credential: whole, in base64, or any 12-byte run of it. Built when a call has failed.
/// Holds the secret.
#[derive(Default)]
pub struct Redactor {
    runs: Vec<Runs>,
}

/// The runs of one length. A search is linear in the text, for any text.
struct Runs {
    length: usize,
    known: HashSet<Box<[u8]>>,
    /// Bloom filter of the byte pairs in the runs.
    pairs: [u64; 64],
}

/// Whether `text` contains a run of the credential in plain form. Cheap, because the headers of
/// every answer are checked.
pub fn contains_key_fragment(text: &str, sent: Option<&HeaderValue>) -> bool {
    let key = sent.map(key_of).unwrap_or_default();
    let length = RUN.min(key.len());
    if length == 0 {
        return false;
    }
    let mut pairs = [0_u64; 64];
    for pair in key.windows(2) {
        let (word, bit) = slot(pair);
        pairs[word] |= bit;
    }
    let is_likely = |run: &[u8]| {
        run.windows(2).all(|pair| {
            let (word, bit) = slot(pair);
            pairs[word] & bit != 0
        })
    };
    text.as_bytes().windows(length).any(|run| is_likely(run) && memmem::find(key, run).is_some())
}

fn key_of(value: &HeaderValue) -> &[u8] {
    value.as_bytes().strip_prefix(b"Bearer ").unwrap_or(value.as_bytes())
}

impl Redactor {
    /// A redactor of the credential that was sent as `value`.
    pub fn of(value: Option<&HeaderValue>) -> Self {
        let mut redactor = Self { runs: Vec::new() };
        let Some(value) = value else { return redactor };
        let key = key_of(value);
        redactor.learn(key);
        // Base64 maps three bytes to four characters, so text before the key shifts its encoding.
        for skipped in (0..3).filter(|skipped| skipped + RUN <= key.len() || *skipped == 0) {
            redactor.learn(STANDARD_NO_PAD.encode(&key[skipped..]).as_bytes());
            redactor.learn(URL_SAFE_NO_PAD.encode(&key[skipped..]).as_bytes());
        }
        redactor
    }

    fn learn(&mut self, secret: &[u8]) {
        let length = RUN.min(secret.len());
        if length == 0 {
            return;
        }
        let at = self.runs.iter().position(|runs| runs.length == length).unwrap_or_else(|| {
            self.runs.push(Runs { length, known: HashSet::new(), pairs: [0; 64] });
            self.runs.len() - 1
        });
        let runs = &mut self.runs[at];
        runs.known.extend(secret.windows(length).map(Box::from));
        for pair in secret.windows(2) {
            let (word, bit) = slot(pair);
            runs.pairs[word] |= bit;
        }
    }

    /// `body` with the credential replaced. Without a match the bytes are returned unchanged.
    pub fn body(&self, body: Bytes) -> Bytes {
        self.runs.iter().fold(body, |body, runs| runs.without(&body).map_or(body, Bytes::from))
    }

    /// Returns a failure without the credential. A code that quotes it is dropped.
    pub fn failure(&self, failure: Failure) -> Failure {
        let is_clean = failure.ledger_code().is_none_or(|code| !self.matches(code));
        let (code, reported_kind) = if is_clean { (failure.code, failure.reported_kind) } else { (None, None) };
        Failure {
            message: self.text(failure.message),
            kind: self.text(failure.kind.into()).into(),
            param: failure.param.map(|param| self.text(param.into()).into()),
            original: failure.original.map(|original| Box::new(Original { body: self.body(original.body), ..*original })),
            code,
            reported_kind,
            ..failure
        }
    }

    fn text(&self, text: String) -> String {
        String::from_utf8_lossy(&self.body(text.into())).into_owned()
    }

    /// Whether `text` contains a run of the credential.
    pub fn matches(&self, text: &str) -> bool {
        self.runs.iter().any(|runs| runs.find(text.as_bytes(), 0).is_some())
    }
}

impl Runs {
    /// The text with each run replaced; `None` if it contains none.
    fn without(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut begin = self.find(text, 0)?;
        let (mut clean, mut kept) = (Vec::with_capacity(text.len()), 0);
        loop {
            clean.extend_from_slice(&text[kept..begin]);
            clean.extend_from_slice(REDACTED);
            let mut end = begin + self.length;
            // Extend the match over overlapping runs.
            while end < text.len() && self.known.contains(&text[end + 1 - self.length..=end]) {
                end += 1;
            }
            kept = end;
            match self.find(text, end) {
                Some(next) => begin = next,
                None => break,
            }
        }
        clean.extend_from_slice(&text[kept..]);
        Some(clean)
    }

    /// Position of the first run at or after `from`.
    fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while let Some(window) = text.get(at..at + self.length) {
            // A pair that is in no run rules out all windows that contain it: continue after its
            // first byte.
            let foreign = window.windows(2).rposition(|pair| {
                let (word, bit) = slot(pair);
                self.pairs[word] & bit == 0
            });
            match foreign {
                Some(foreign) => at += foreign + 1,
                None if self.known.contains(window) => return Some(at),
                None => at += 1,
            }
        }
        None
    }
}

fn slot(pair: &[u8]) -> (usize, u64) {
    let hash = pair.iter().fold(0_usize, |hash, byte| hash * 67 + usize::from(*byte));
    ((hash >> 6) & 63, 1 << (hash & 63))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "sk-proj-0123456789abcdefghij";

    fn redactor(key: &str) -> Redactor {
        Redactor::of(Some(&HeaderValue::from_str(&format!("Bearer {key}")).unwrap()))
    }

    fn redacted(body: &str) -> String {
        String::from_utf8(redactor(KEY).body(Bytes::from(body.to_owned())).to_vec()).unwrap()
    }

    #[test]
    fn a_body_without_the_key_is_returned_byte_for_byte() {
        for body in ["", "{}", "sk-proj-", "the key sk-proj-01 is short", "0123456789a"] {
            assert_eq!(redacted(body), body);
            assert!(!redactor(KEY).matches(body) && !contains_key_fragment(body, Some(&HeaderValue::from_static(KEY))));
        }
        assert_eq!(Redactor::of(None).body(Bytes::from_static(b"anything")), "anything");
    }

    #[test]
    fn the_key_whole_encoded_or_in_part_is_removed() {
        assert_eq!(redacted(&format!("bad key {KEY}, {KEY}!")), "bad key [redacted], [redacted]!");
        assert_eq!(redacted(&format!("<{}>", STANDARD.encode(KEY))).trim_end_matches(['=', '>']), "<[redacted]");
        assert_eq!(redacted("ends in 9abcdefghij-"), "ends in 9abcdefghij-");
        assert_eq!(redacted("ends in 89abcdefghij-"), "ends in [redacted]-");
        assert_eq!(redacted("sk-proj-0123456***"), "[redacted]***");
    }

    #[test]
    fn base64_of_a_text_around_the_key_is_redacted() {
        for before in ["", "a", "ab", "Bearer ", "user:"] {
            let encoded = STANDARD.encode(format!("{before}{KEY}!"));
            let clean = redacted(&encoded);
            assert!(clean.contains("[redacted]") && clean.len() < "[redacted]".len() + encoded.len() / 2, "{before:?}: {clean}");
            assert!(redactor(KEY).matches(&encoded));
        }
    }

    #[test]
    fn a_short_key_is_removed_whole() {
        let clean = redactor("sk-7").body(Bytes::from_static(b"no sk-7 here, sk-8 there"));
        assert_eq!(clean, "no [redacted] here, sk-8 there");
        assert_eq!(redactor("").body(Bytes::from_static(b"all of it")), "all of it");
    }

    proptest! {
        #[test]
        fn no_run_of_the_key_survives_in_any_context(key in "[!-~]{12,60}", before in ".{0,40}", after in ".{0,40}", begin in any::<prop::sample::Index>()) {
            let begin = begin.index(key.len() - RUN + 1);
            let text = format!("{before}{}{after}", &key[begin..]);
            prop_assert!(contains_key_fragment(&text, Some(&HeaderValue::from_str(&["Bearer ", &key].concat()).unwrap())));
            let clean = redactor(&key).body(Bytes::from(text));
            prop_assert!(!key.as_bytes().windows(RUN).any(|run| memmem::find(&clean, run).is_some()));
        }
    }
}
