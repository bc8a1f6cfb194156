//! Takes the credential we sent out of what the upstream says when it fails (spec/security.md 7.3). Some quote it back.

use std::borrow::Cow;

use actix_web::http::header::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use memchr::memmem;

/// As few bytes of a key in a row are taken for the key.
const RUN: usize = 12;
const REDACTED: &[u8] = b"[redacted]";

/// `body` without the credential: whole, in base64, or any 12-byte run of it. Byte for byte where there is none.
pub fn credential(body: Bytes, sent: Option<&HeaderValue>) -> Bytes {
    let Some(value) = sent else { return body };
    let key = value.as_bytes().strip_prefix(b"Bearer ").unwrap_or(value.as_bytes());
    if key.is_empty() || body.is_empty() {
        return body;
    }
    let encoded = STANDARD.encode(key);
    let once = without(&body, key);
    match without(&once, encoded.trim_end_matches('=').as_bytes()) {
        Cow::Borrowed(_) if matches!(once, Cow::Borrowed(_)) => body,
        clean => Bytes::from(clean.into_owned()),
    }
}

/// `text` with every run of `secret` (at least [`RUN`] bytes, or all of a shorter one) replaced.
fn without<'a>(text: &'a [u8], secret: &[u8]) -> Cow<'a, [u8]> {
    let run = RUN.min(secret.len());
    let finders: Vec<_> = secret.windows(run).map(memmem::Finder::new).collect();
    let first = |text: &[u8]| finders.iter().filter_map(|finder| finder.find(text)).min();
    let (mut clean, mut rest) = (Vec::new(), text);
    while let Some(at) = first(rest) {
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(REDACTED);
        // What continues the run belongs to it: skip as long as a window still matches here.
        let mut end = at + run;
        while rest.len() > end && secret.windows(run).any(|window| window == &rest[end + 1 - run..=end]) {
            end += 1;
        }
        rest = &rest[end..];
    }
    if clean.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    clean.extend_from_slice(rest);
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-proj-0123456789abcdefghij";

    fn scrubbed(body: &str) -> String {
        let sent = HeaderValue::from_str(&format!("Bearer {KEY}")).unwrap();
        String::from_utf8(credential(Bytes::from(body.to_owned()), Some(&sent)).to_vec()).unwrap()
    }

    #[test]
    fn a_body_without_the_key_is_returned_byte_for_byte() {
        for body in ["", "{}", "sk-proj-", "the key sk-proj-01 is short", "0123456789a"] {
            assert_eq!(scrubbed(body), body);
        }
    }

    #[test]
    fn the_key_whole_encoded_or_in_part_is_taken_out() {
        assert_eq!(scrubbed(&format!("bad key {KEY}, {KEY}!")), "bad key [redacted], [redacted]!");
        assert_eq!(scrubbed(&format!("<{}>", STANDARD.encode(KEY))).trim_end_matches(['=', '>']), "<[redacted]");
        assert_eq!(scrubbed("ends in 9abcdefghij-"), "ends in 9abcdefghij-");
        assert_eq!(scrubbed("ends in 89abcdefghij-"), "ends in [redacted]-");
        assert_eq!(scrubbed("sk-proj-0123456***"), "[redacted]***");
    }
}
