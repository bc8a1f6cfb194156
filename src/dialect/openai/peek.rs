//! Scan of an event for a handful of keys, at any depth, without parsing.
//!
//! Why this is safe although it ignores nesting: a hit on `usage` or `error` changes nothing by
//! itself. The [`reader`](mod@super::reader) parses the event again before it acts on either, so a
//! false hit costs one parse. `finish_reason` and the length of the text are used as found; they
//! feed the ledger's estimate and the check that a stream without `[DONE]` is complete. A key is
//! never found inside a string, because quotes are escaped there. A key that is itself spelled with
//! escapes is missed: its event is relayed as it is.
//!
//! Why it exists: most events of a stream hold a few bytes of text and nothing to decide on.
//! Parsing each would cost several times as much as relaying it.

use memchr::{memchr_iter, memchr2};

/// Findings of a scan, at any depth.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Peek<'a> {
    /// Whether there is a `usage` other than `null`.
    pub usage: bool,
    /// Whether there is an `error` other than `null`, or `"object": "error"`.
    pub error: bool,
    /// First non-empty `finish_reason`, as spelled.
    pub finish_reason: Option<&'a [u8]>,
    /// Number of non-empty finish reasons.
    pub finished: u64,
    /// Number of UTF-8 bytes of generated text.
    pub text: u64,
}

/// Checks every colon that follows a quote. Quotes inside a string are escaped, so no key is found
/// there.
pub(super) fn peek(json: &[u8]) -> Peek<'_> {
    let mut seen = Peek::default();
    for colon in memchr_iter(b':', json) {
        let Some(key) = json[..colon].trim_ascii_end().strip_suffix(b"\"") else { continue };
        let value = || json[colon + 1..].trim_ascii_start();
        // The last four bytes rule out most other keys.
        match key.last_chunk() {
            Some(b"tent" | b"ning" | b"usal" | b"ents" | b"text") if TEXTS.iter().any(|text| key.ends_with(text)) => {
                seen.text += value().strip_prefix(b"\"").map_or(0, text_len);
            }
            Some(b"ason") if key.ends_with(b"\"finish_reason") => {
                let reason = value().strip_prefix(b"\"").map(|rest| &rest[..memchr2(b'"', b'\\', rest).unwrap_or(rest.len())]);
                if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
                    seen.finish_reason.get_or_insert(reason);
                    seen.finished += 1;
                }
            }
            Some(b"sage") if key.ends_with(b"\"usage") => seen.usage |= !value().starts_with(b"null"),
            Some(b"rror") if key.ends_with(b"\"error") => seen.error |= !value().starts_with(b"null"),
            Some(b"ject") if key.ends_with(b"\"object") => seen.error |= value().starts_with(b"\"error\""),
            _ => {}
        }
    }
    seen
}

/// Keys of generated text, with the opening quote.
const TEXTS: [&[u8]; 6] = [b"\"content", b"\"reasoning_content", b"\"reasoning", b"\"refusal", b"\"arguments", b"\"text"];

/// Returns the UTF-8 length of the string that starts at `rest`, after its opening quote, with
/// escapes resolved.
fn text_len(mut rest: &[u8]) -> u64 {
    let mut len = 0;
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        len += at as u64;
        if rest[at] == b'"' {
            return len;
        }
        let (escape, escaped) = match rest.get(at + 1..at + 6) {
            Some([b'u', digits @ ..]) => (6, unit_len(digits)),
            _ => (2, 1),
        };
        len += escaped;
        rest = rest.get(at + escape..).unwrap_or_default();
    }
    len + rest.len() as u64
}

/// Returns the number of UTF-8 bytes of a UTF-16 code unit. Each half of a surrogate pair counts as
/// two.
fn unit_len(digits: &[u8]) -> u64 {
    let unit = digits.iter().fold(0, |unit, digit| unit << 4 | char::from(*digit).to_digit(16).unwrap_or(0));
    match unit {
        0..0x80 => 1,
        0x80..0x800 | 0xD800..0xE000 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_peek_finds_keys_however_they_are_spaced() {
        for text in [
            r#"{"choices":[{"delta":{"content":"abc"},"finish_reason":"stop"}],"usage":{}}"#,
            "{ \"choices\" : [ { \"delta\" : { \"content\" :\n \"abc\" } , \"finish_reason\"\t: \"stop\" } ] , \"usage\" : { } }",
        ] {
            let expected = Peek { usage: true, error: false, finish_reason: Some(b"stop"), finished: 1, text: 3 };
            assert_eq!(peek(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn null_and_empty_values_are_not_findings() {
        let text = br#"{"usage":null,"error": null,"finish_reason":null,"content":null,"x":{"finish_reason":""}}"#;
        assert_eq!(peek(text), Peek::default());
    }

    #[test]
    fn every_kind_of_generated_text_is_counted() {
        let text = br#"{"content":"1","reasoning_content":"22","reasoning":"333","refusal":"4444","arguments":"55555","text":"666666","role":"x"}"#;
        assert_eq!(peek(text).text, 21);
    }

    proptest! {
        #[test]
        fn keys_quoted_inside_a_text_are_text(text in "(?s).{0,40}", key in "usage|error|finish_reason|content", ascii in any::<bool>()) {
            let content = format!("{text}{{\"{key}\":\"{text}\"}}");
            let mut json = json!({"delta": {"content": content}}).to_string();
            if ascii {
                json = json.chars().map(|c| if c.is_ascii() { c.to_string() } else { c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect() }).collect();
            }
            prop_assert_eq!(peek(json.as_bytes()), Peek { text: content.len() as u64, ..Peek::default() });
        }

        #[test]
        fn no_bytes_make_a_peek_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), cut in 0..70_usize) {
            peek(&bytes);
            let json = Value::from(String::from_utf8_lossy(&bytes)).to_string();
            let json = format!("{{\"content\":{json},\"finish_reason\":{json},\"usage\"");
            peek(&json.as_bytes()[..cut.min(json.len())]);
        }
    }
}
