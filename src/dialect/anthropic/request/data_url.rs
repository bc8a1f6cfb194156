//! `data:` URLs and base64, checked in place without decoding. Only text files are decoded later.

use std::borrow::Cow;

/// `data:` URL with a base64 payload.
#[derive(Debug, PartialEq, Eq)]
pub struct DataUrl<'a> {
    /// Media type in lower case, without parameters.
    pub media_type: String,
    /// Payload, still encoded.
    pub data: Cow<'a, str>,
}

/// Whether `url` has this scheme, such as `https:`. Case is ignored.
pub fn has_scheme(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Parses a `data:` URL. `None` if it is another URL or not base64.
pub fn parse<'a>(url: &Cow<'a, str>) -> Option<DataUrl<'a>> {
    if !has_scheme(url, "data:") {
        return None;
    }
    let comma = memchr::memchr(b',', url.as_bytes())?;
    let head = url[..comma].get("data:".len()..)?;
    let (media, encoding) = head.rsplit_once(';')?;
    if !encoding.trim().eq_ignore_ascii_case("base64") {
        return None;
    }
    let media_type = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let data = match url {
        Cow::Borrowed(url) => Cow::Borrowed(&url[comma + 1..]),
        Cow::Owned(url) => Cow::Owned(url[comma + 1..].to_owned()),
    };
    Some(DataUrl { media_type, data })
}

/// Whether `data` is base64 of the standard alphabet, padded, and not empty.
pub fn is_base64(data: &str) -> bool {
    let bytes = data.as_bytes();
    if bytes.is_empty() || !bytes.len().is_multiple_of(4) {
        return false;
    }
    let padding = bytes.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    bytes[..bytes.len() - padding].iter().all(|byte| ALPHABET[usize::from(*byte)])
}

const ALPHABET: [bool; 256] = {
    let mut alphabet = [false; 256];
    let characters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut at = 0;
    while at < characters.len() {
        alphabet[characters[at] as usize] = true;
        at += 1;
    }
    alphabet
};

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Option<(String, String)> {
        parse(&Cow::Borrowed(url)).map(|parsed| (parsed.media_type, parsed.data.into_owned()))
    }

    #[test]
    fn base64_urls_are_parsed_with_any_parameters() {
        let png = || Some(("image/png".to_owned(), "AAAA".to_owned()));
        assert_eq!(parts("data:image/png;base64,AAAA"), png());
        assert_eq!(parts("DATA:Image/PNG;charset=utf-8;BASE64,AAAA"), png());
        assert_eq!(parts("data:image/png,AAAA"), None);
        assert_eq!(parts("data:;base64,AAAA"), Some((String::new(), "AAAA".to_owned())));
        assert_eq!(parts("data:image/png;base64"), None);
        assert_eq!(parts("https://example.com/;base64,AAAA"), None);
    }

    #[test]
    fn base64_is_checked_by_alphabet_and_length() {
        for good in ["AAAA", "AAA=", "AA==", "ab+/", "aGVsbG8gd29ybGQ="] {
            assert!(is_base64(good), "{good}");
        }
        for bad in ["", "A", "AA", "AAA", "A===", "AA=A", "====", "ab-_", "AAA\n", "AA A", "AAAAé==", "AA==AAAA"] {
            assert!(!is_base64(bad), "{bad}");
        }
    }
}
