//! The head of an answer: status line and fields, kept as the bytes they came in (RFC 9112 4 and 5).
//!
//! httparse reads them. Nothing is built but the list of where each field stands, because hardly any of them is looked at.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// A head that is longer is not read on.
const LONGEST: usize = 128 << 10;
/// Nor is one of more fields.
const FIELDS: usize = 96;

/// A head, all of it.
#[derive(Debug)]
pub struct Head {
    /// Three digits.
    pub status: u16,
    /// HTTP/1.1, and not 1.0.
    pub is_http_1_1: bool,
    bytes: Bytes,
    fields: Vec<Field>,
}

/// Where a field's name and value stand among the head's bytes.
#[derive(Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

/// Why what came is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHead {
    /// It is longer, or of more fields, than it may be.
    TooLarge,
    /// It is no HTTP/1.
    NotHttp,
}

impl Head {
    /// Takes a head from the front of `buffer`; `None`: it is not complete yet.
    ///
    /// # Errors
    /// It never will be one.
    pub fn take(buffer: &mut BytesMut) -> Result<Option<Self>, NoHead> {
        let mut lines = [const { MaybeUninit::uninit() }; FIELDS];
        let mut answer = httparse::Response::new(&mut []);
        // What stands between a name and its colon is passed over: nothing is sent on under a name it could change.
        let mut lenient = httparse::ParserConfig::default();
        lenient.allow_spaces_after_header_name_in_responses(true);
        let length = match lenient.parse_response_with_uninit_headers(&mut answer, buffer, &mut lines) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if buffer.len() < LONGEST => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(NoHead::TooLarge),
            Err(_) => return Err(NoHead::NotHttp),
        };
        let (Some(status), Some(minor)) = (answer.code, answer.version) else { return Err(NoHead::NotHttp) };
        if !(100..1_000).contains(&status) {
            return Err(NoHead::NotHttp);
        }
        let start = buffer.as_ptr().addr();
        let within = |part: &[u8]| {
            let from = part.as_ptr().addr() - start;
            from..from + part.len()
        };
        let fields = answer.headers.iter().map(|line| Field { name: within(line.name.as_bytes()), value: within(line.value) }).collect();
        Ok(Some(Self { status, is_http_1_1: minor == 1, bytes: buffer.split_to(length).freeze(), fields }))
    }

    /// The values of the fields of that name, which is given in lower case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let is_meant =
            move |field: &&Field| field.name.len() == name.len() && self.bytes[field.name.clone()].eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(is_meant).map(|field| &self.bytes[field.value.clone()])
    }

    /// The value of the first field of that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The same, if it is visible ASCII.
    pub fn text(&self, name: &str) -> Option<&str> {
        let value = self.get(name)?;
        let is_visible = value.iter().all(|byte| matches!(byte, 0x20..=0x7e | b'\t'));
        if is_visible { str::from_utf8(value).ok() } else { None }
    }

    /// Whether another exchange may follow on the connection, as far as the head says (RFC 9112 9.3).
    pub fn keeps_connection(&self) -> bool {
        let ends = |option: &[u8]| [b"close".as_slice(), b"upgrade"].iter().any(|end| option.trim_ascii().eq_ignore_ascii_case(end));
        self.is_http_1_1 && !self.all("connection").any(|options| options.split(|byte| *byte == b',').any(ends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(bytes: &str) -> Result<Option<Head>, NoHead> {
        Head::take(&mut BytesMut::from(bytes))
    }

    #[test]
    fn fields_are_found_by_name_however_it_is_spelled() {
        let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\nX-A: 1\r\nx-b:\t two \r\nx-A: 3\r\nempty:\r\n\r\nbody");
        let head = Head::take(&mut buffer).unwrap().unwrap();
        assert_eq!((head.status, head.is_http_1_1, &buffer[..]), (200, true, b"body".as_slice()));
        assert_eq!(head.all("x-a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!((head.get("x-b"), head.text("empty"), head.get("x-c")), (Some(b"two".as_slice()), Some(""), None));
    }

    #[test]
    fn a_head_cut_anywhere_is_waited_for() {
        let whole = "HTTP/1.1 429 Too Many\r\nretry-after: 7\r\n\r\n";
        for cut in 0..whole.len() {
            assert!(take(&whole[..cut]).unwrap().is_none(), "{cut}");
        }
        assert_eq!(take(whole).unwrap().unwrap().text("retry-after"), Some("7"));
    }

    #[test]
    fn what_is_no_head_is_told_apart_from_too_much_of_one() {
        for noise in ["SSH-2.0\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "{\"a\":1}"] {
            assert_eq!(take(noise).unwrap_err(), NoHead::NotHttp, "{noise}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(FIELDS + 1));
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(LONGEST));
        assert_eq!((take(&many).unwrap_err(), take(&long).unwrap_err()), (NoHead::TooLarge, NoHead::TooLarge));
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
    fn a_value_with_invisible_bytes_is_no_text() {
        let mut buffer = BytesMut::from(b"HTTP/1.1 200 OK\r\na: caf\xe9\r\n\r\n".as_slice());
        let head = Head::take(&mut buffer).unwrap().unwrap();
        assert_eq!((head.get("a"), head.text("a")), (Some(b"caf\xe9".as_slice()), None));
    }
}
