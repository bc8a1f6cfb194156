//! Response heads: status line and header fields, kept as the bytes received (RFC 9112 4 and 5).
//!
//! httparse parses them. Only the positions of the fields are stored, because few fields are ever read.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Most bytes of a head.
const MAX_BYTES: usize = 128 << 10;
/// Most header fields of a head.
const MAX_FIELDS: usize = 96;

/// Complete response head.
#[derive(Debug)]
pub struct Head {
    /// Status, from 100 to 999.
    pub status: u16,
    /// Whether the version is HTTP/1.1 rather than 1.0.
    pub is_http_1_1: bool,
    bytes: Bytes,
    fields: Vec<Field>,
}

/// Positions of a field's name and value within the bytes of the head.
#[derive(Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

/// Reason why the bytes received are not a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The head has too many bytes or too many fields.
    TooLarge,
    /// The bytes are not HTTP/1.
    NotHttp,
}

impl Head {
    /// Takes a head from the front of `buffer`. Returns `None` if the head is not complete yet.
    ///
    /// # Errors
    /// The bytes are not a head, or exceed its limits.
    pub fn take(buffer: &mut BytesMut) -> Result<Option<Self>, HeadError> {
        let mut lines = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        // Spaces between a name and its colon are ignored: no header is forwarded under a name that they could change.
        let mut lenient = httparse::ParserConfig::default();
        lenient.allow_spaces_after_header_name_in_responses(true);
        let length = match lenient.parse_response_with_uninit_headers(&mut response, buffer, &mut lines) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if buffer.len() < MAX_BYTES => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
            Err(_) => return Err(HeadError::NotHttp),
        };
        let (Some(status), Some(minor)) = (response.code, response.version) else { return Err(HeadError::NotHttp) };
        if !(100..1_000).contains(&status) {
            return Err(HeadError::NotHttp);
        }
        let start = buffer.as_ptr().addr();
        let within = |part: &[u8]| {
            let from = part.as_ptr().addr() - start;
            from..from + part.len()
        };
        let fields = response.headers.iter().map(|line| Field { name: within(line.name.as_bytes()), value: within(line.value) }).collect();
        Ok(Some(Self { status, is_http_1_1: minor == 1, bytes: buffer.split_to(length).freeze(), fields }))
    }

    /// Returns the values of all fields named `name`, which must be in lower case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let is_match =
            move |field: &&Field| field.name.len() == name.len() && self.bytes[field.name.clone()].eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(is_match).map(|field| &self.bytes[field.value.clone()])
    }

    /// Returns the value of the first field named `name`, which must be in lower case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Returns the value of the first field named `name` if it is visible ASCII.
    pub fn text(&self, name: &str) -> Option<&str> {
        let value = self.get(name)?;
        let is_visible = value.iter().all(|byte| matches!(byte, 0x20..=0x7e | b'\t'));
        if is_visible { str::from_utf8(value).ok() } else { None }
    }

    /// Whether the status rules out a body, whatever the fields say (RFC 9112 6.3).
    pub fn may_not_have_body(&self) -> bool {
        matches!(self.status, ..200 | 204 | 304)
    }

    /// Whether the head permits another exchange on the connection (RFC 9112 9.3).
    pub fn keeps_connection(&self) -> bool {
        let ends = |option: &[u8]| [b"close".as_slice(), b"upgrade"].iter().any(|end| option.trim_ascii().eq_ignore_ascii_case(end));
        self.is_http_1_1 && !self.all("connection").any(|options| options.split(|byte| *byte == b',').any(ends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(bytes: &str) -> Result<Option<Head>, HeadError> {
        Head::take(&mut BytesMut::from(bytes))
    }

    #[test]
    fn fields_are_found_regardless_of_case() {
        let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\nX-A: 1\r\nx-b:\t two \r\nx-A: 3\r\nempty:\r\n\r\nbody");
        let head = Head::take(&mut buffer).unwrap().unwrap();
        assert_eq!((head.status, head.is_http_1_1, &buffer[..]), (200, true, b"body".as_slice()));
        assert_eq!(head.all("x-a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!((head.get("x-b"), head.text("empty"), head.get("x-c")), (Some(b"two".as_slice()), Some(""), None));
    }

    #[test]
    fn an_incomplete_head_is_not_an_error() {
        let whole = "HTTP/1.1 429 Too Many\r\nretry-after: 7\r\n\r\n";
        for cut in 0..whole.len() {
            assert!(take(&whole[..cut]).unwrap().is_none(), "{cut}");
        }
        assert_eq!(take(whole).unwrap().unwrap().text("retry-after"), Some("7"));
    }

    #[test]
    fn other_protocols_are_distinguished_from_heads_that_are_too_large() {
        for noise in ["SSH-2.0\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "{\"a\":1}"] {
            assert_eq!(take(noise).unwrap_err(), HeadError::NotHttp, "{noise}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(MAX_BYTES));
        assert_eq!((take(&many).unwrap_err(), take(&long).unwrap_err()), (HeadError::TooLarge, HeadError::TooLarge));
    }

    #[test]
    fn a_connection_is_kept_unless_the_head_ends_it() {
        let keeps =
            |version: &str, field: &str| take(&format!("HTTP/{version} 200 OK\r\n{field}\r\n")).unwrap().unwrap().keeps_connection();
        assert!(keeps("1.1", "") && keeps("1.1", "connection: keep-alive\r\n"));
        assert!(!keeps("1.1", "connection: x, Close\r\n") && !keeps("1.1", "connection: a\r\nconnection: upgrade\r\n"));
        assert!(!keeps("1.0", "connection: keep-alive\r\n"));
    }

    #[test]
    fn a_value_with_invisible_bytes_is_not_text() {
        let mut buffer = BytesMut::from(b"HTTP/1.1 200 OK\r\na: caf\xe9\r\n\r\n".as_slice());
        let head = Head::take(&mut buffer).unwrap().unwrap();
        assert_eq!((head.get("a"), head.text("a")), (Some(b"caf\xe9".as_slice()), None));
    }
}
