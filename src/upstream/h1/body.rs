//! Framing of response bodies: by length, in chunks, or up to the end of the connection (RFC 9112 6 and 7).
//!
//! Data is returned as slices of the read buffer, never copied. Ambiguous framing is refused: two lengths, an unknown transfer
//! coding, a line that does not end with CRLF.

use bytes::{Buf, Bytes, BytesMut};

use super::head::Head;

/// Framing of a body, and the progress within it.
#[derive(Debug, PartialEq, Eq)]
pub enum Framing {
    /// Body of known length: number of bytes still to come.
    Length(u64),
    /// Chunked body.
    Chunked(Chunks),
    /// Body that ends when the connection is closed.
    UntilClosed,
}

/// Progress within a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunks {
    next: ChunkState,
    /// Bytes that extensions may still take.
    extensions_left: usize,
}

/// Next element of a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkState {
    /// Line with the size of a chunk.
    Size,
    /// Data of a chunk: number of bytes still to come.
    Data(u64),
    /// Line end after a chunk.
    DataEnd,
    /// Trailers up to an empty line: number of bytes still allowed.
    Trailers(usize),
    /// End of the body.
    Ended,
}

/// Result of decoding the front of the read buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Bytes of the body.
    Data(Bytes),
    /// The body is complete.
    End,
    /// More bytes must be read.
    Incomplete,
}

/// The framing is invalid or ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Most bytes of a line with the size and the extensions of a chunk.
const MAX_LINE: usize = 4 << 10;
/// Most bytes of extensions in a whole body. Chunks of one byte could otherwise carry any number of them.
const MAX_EXTENSIONS: usize = 16 << 10;
/// Most bytes of trailers, which are ignored.
const MAX_TRAILERS: usize = 16 << 10;

impl Framing {
    /// Returns the framing of a response to any request but `HEAD`.
    ///
    /// # Errors
    /// The head states the framing twice, or in an unknown way.
    pub fn of(head: &Head) -> Result<Self, Malformed> {
        let length = only(head.all("content-length"))?.map(length).transpose()?;
        let coding = only(head.all("transfer-encoding"))?.map(<[u8]>::trim_ascii);
        let is_chunked = match coding {
            None => false,
            Some(_) if !head.is_http_1_1 => return Err(Malformed),
            Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => true,
            Some(coding) if coding.eq_ignore_ascii_case(b"identity") => false,
            Some(_) => return Err(Malformed),
        };
        Ok(match length {
            _ if head.may_not_have_body() => Self::Length(0),
            _ if is_chunked => Self::Chunked(Chunks::new()),
            Some(length) => Self::Length(length),
            None => Self::UntilClosed,
        })
    }

    /// Whether the body is complete.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunks { next: ChunkState::Ended, .. }))
    }

    /// Takes the next part of the body from the front of `buffer`.
    ///
    /// # Errors
    /// The bytes violate the framing.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Decoded, Malformed> {
        match self {
            Self::Length(0) => Ok(Decoded::End),
            Self::Length(left) => Ok(take(buffer, left)),
            Self::Chunked(chunks) => chunks.next(buffer),
            Self::UntilClosed if buffer.is_empty() => Ok(Decoded::Incomplete),
            Self::UntilClosed => Ok(Decoded::Data(buffer.split().freeze())),
        }
    }
}

impl Chunks {
    fn new() -> Self {
        Self { next: ChunkState::Size, extensions_left: MAX_EXTENSIONS }
    }

    fn next(&mut self, buffer: &mut BytesMut) -> Result<Decoded, Malformed> {
        loop {
            match &mut self.next {
                ChunkState::Size => {
                    let Some(line) = line(buffer, MAX_LINE)? else { return Ok(Decoded::Incomplete) };
                    let taken = line.len() + 2;
                    let (size, extensions) = size(line)?;
                    self.extensions_left = self.extensions_left.checked_sub(extensions).ok_or(Malformed)?;
                    buffer.advance(taken);
                    self.next = if size == 0 { ChunkState::Trailers(MAX_TRAILERS) } else { ChunkState::Data(size) };
                }
                ChunkState::Data(left) => {
                    let decoded = take(buffer, left);
                    if *left == 0 {
                        self.next = ChunkState::DataEnd;
                    }
                    return Ok(decoded);
                }
                ChunkState::DataEnd => match line(buffer, 0)? {
                    None => return Ok(Decoded::Incomplete),
                    Some(_) => {
                        buffer.advance(2);
                        self.next = ChunkState::Size;
                    }
                },
                ChunkState::Trailers(left) => {
                    let Some(line) = line(buffer, *left)? else { return Ok(Decoded::Incomplete) };
                    let (is_last, taken) = (line.is_empty(), line.len() + 2);
                    self.next = if is_last { ChunkState::Ended } else { ChunkState::Trailers(left.saturating_sub(taken)) };
                    buffer.advance(taken);
                }
                ChunkState::Ended => return Ok(Decoded::End),
            }
        }
    }
}

/// Takes at most `left` bytes from the buffer.
fn take(buffer: &mut BytesMut, left: &mut u64) -> Decoded {
    if buffer.is_empty() {
        return Decoded::Incomplete;
    }
    let taken = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
    *left -= taken as u64;
    Decoded::Data(buffer.split_to(taken).freeze())
}

/// Returns the line at the front of `bytes`, without its CRLF and of at most `max` bytes, or `None` if it is not complete yet.
fn line(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, Malformed> {
    let bounded = &bytes[..bytes.len().min(max + 2)];
    match memchr::memchr(b'\n', bounded) {
        Some(end) => bounded[..end].strip_suffix(b"\r").map(Some).ok_or(Malformed),
        None if bounded.len() < max + 2 && bounded.strip_suffix(b"\r").unwrap_or(bounded).len() <= max => Ok(None),
        None => Err(Malformed),
    }
}

/// Parses the line before a chunk. Returns the size of the chunk and the number of bytes of its extensions, which are ignored.
fn size(line: &[u8]) -> Result<(u64, usize), Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    let is_extension = extension.trim_ascii_start().first().is_none_or(|byte| *byte == b';');
    if !is_extension || extension.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(Malformed);
    }
    let size = str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(Malformed)?;
    Ok((size, extension.len()))
}

/// Parses the value of `content-length`.
fn length(value: &[u8]) -> Result<u64, Malformed> {
    let digits = str::from_utf8(value.trim_ascii()).map_err(|_| Malformed)?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().map_err(|_| Malformed) } else { Err(Malformed) }
}

/// Returns the only item, or `None` if there is none. Two are an error.
fn only<T>(mut items: impl Iterator<Item = T>) -> Result<Option<T>, Malformed> {
    let first = items.next();
    if items.next().is_some() { Err(Malformed) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use actix_http::h1::{ClientCodec, ClientPayloadCodec};
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;
    use tokio_util::codec::Decoder;

    use super::*;

    fn framing(fields: &str) -> Result<Framing, Malformed> {
        Framing::of(&Head::take(&mut BytesMut::from(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_str())).unwrap().unwrap())
    }

    #[test]
    fn a_length_or_chunks_and_nothing_that_could_be_either() {
        assert_eq!(framing("content-length: 12\r\n"), Ok(Framing::Length(12)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked(Chunks::new())));
        assert_eq!(framing("transfer-encoding: chunked\r\ncontent-length: 3\r\n"), Ok(Framing::Chunked(Chunks::new())));
        assert_eq!(framing("transfer-encoding: identity\r\ncontent-length: 3\r\n"), Ok(Framing::Length(3)));
        assert_eq!(framing(""), Ok(Framing::UntilClosed));
        for wrong in [
            "content-length: 1\r\ncontent-length: 1\r\n",
            "content-length: +1\r\n",
            "content-length: 1, 1\r\n",
            "content-length:\r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        ] {
            assert_eq!(framing(wrong), Err(Malformed), "{wrong}");
        }
    }

    #[test]
    fn some_statuses_have_no_body_regardless_of_the_fields() {
        for status in [101, 204, 304] {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 5\r\n\r\n");
            assert_eq!(Framing::of(&Head::take(&mut BytesMut::from(head.as_str())).unwrap().unwrap()), Ok(Framing::Length(0)), "{status}");
        }
        let old = Head::take(&mut BytesMut::from("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")).unwrap().unwrap();
        assert_eq!(Framing::of(&old), Err(Malformed));
    }

    /// Returns the body and the number of bytes after it, or `None` if the body is not complete.
    fn read(bytes: &[u8], cuts: &[usize]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
        let (mut chunks, mut buffer, mut body, mut fed) = (Framing::Chunked(Chunks::new()), BytesMut::new(), Vec::new(), 0);
        for end in cuts.iter().copied().chain([bytes.len()]) {
            buffer.extend_from_slice(&bytes[fed..end.max(fed)]);
            fed = end.max(fed);
            loop {
                match chunks.next(&mut buffer)? {
                    Decoded::Data(data) => body.extend_from_slice(&data),
                    Decoded::Incomplete => break,
                    Decoded::End => return Ok(Some((body, buffer.len() + bytes.len() - fed))),
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_with_extensions_and_trailers_are_read() {
        let bytes = b"5\r\nhello\r\n6 ;x=\"y\"\r\n world\r\n000\r\ntrailer: a\r\nb: c\r\n\r\nnext";
        assert_eq!(read(bytes, &[]), Ok(Some((b"hello world".to_vec(), 4))));
    }

    #[test]
    fn invalid_chunks_are_refused() {
        for wrong in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "0x5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5\nhello\n",
            "5 5\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n",
            "5;\u{1}\r\n",
            "11111111111111111\r\n",
            "0\r\nx\n\r\n",
        ] {
            assert_eq!(read(wrong.as_bytes(), &[]), Err(Malformed), "{wrong:?}");
        }
        let endless = [("5;", MAX_LINE), ("0\r\na:", MAX_TRAILERS)].map(|(start, max)| format!("{start}{}", "x".repeat(max)));
        assert!(endless.iter().all(|bytes| read(bytes.as_bytes(), &[]) == Err(Malformed)));
        let many = format!("0\r\n{}", "a: b\r\n".repeat(MAX_TRAILERS / 6 + 2));
        assert_eq!(read(many.as_bytes(), &[]), Err(Malformed));
    }

    #[test]
    fn extensions_are_bounded_over_the_whole_body() {
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(1023));
        let body = |chunks: usize| format!("{}0\r\n\r\n", chunk.repeat(chunks));
        assert!(matches!(read(body(MAX_EXTENSIONS / 1024).as_bytes(), &[]), Ok(Some(_))));
        assert_eq!(read(body(MAX_EXTENSIONS / 1024 + 1).as_bytes(), &[]), Err(Malformed));
    }

    /// Chunks, and fragments of chunks.
    const WORDS: [&str; 12] = [
        "1\r\na\r\n",
        "2;x\r\nab\r\n",
        "03 \t; y=\"z\"\r\nabc\r\n",
        "A\r\n0123456789\r\n",
        "1\na\n",
        "2\r\na",
        "1",
        "g",
        " ",
        ";",
        "\r\n",
        "\n",
    ];

    /// Decodes the same bytes with actix-http.
    fn actix(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let mut codec = ClientCodec::default();
        codec.decode(&mut buffer).unwrap().unwrap();
        let mut codec: ClientPayloadCodec = codec.into_payload_codec();
        buffer.extend_from_slice(bytes);
        let mut body = Vec::new();
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(Some(data))) => body.extend_from_slice(&data),
                Ok(Some(None)) => return Some(body),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    proptest! {
        #[test]
        fn a_chunked_body_is_decoded_regardless_of_read_boundaries(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in prop::collection::vec(0..300_usize, 0..8),
        ) {
            let mut bytes = Vec::new();
            for piece in &pieces {
                bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                bytes.extend_from_slice(piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(read(&bytes, &cuts), Ok(Some((pieces.concat(), 0))));
        }
    }

    /// Runs within a runtime because the codec of actix starts a clock.
    #[actix_web::test]
    async fn noise_never_panics_and_is_never_decoded_differently_from_actix() {
        let words = prop::collection::vec(prop::sample::select(WORDS.as_slice()), 0..6);
        let ends = prop::sample::select(["0\r\n\r\n", "00 ;x\r\nt: v\r\n\r\n", "0\r\n", "0\n\n", ""].as_slice());
        let check = |(words, end, cut): (Vec<&str>, &str, usize)| {
            let bytes = (words.concat() + end).into_bytes();
            let whole = read(&bytes, &[]);
            prop_assert_eq!(&read(&bytes, &[cut.min(bytes.len())]), &whole);
            if words.iter().all(|word| word.len() > 4) && end.ends_with("\r\n\r\n") {
                prop_assert!(matches!(whole, Ok(Some(_))), "{:?}", words);
            }
            if let Ok(Some((body, _))) = whole {
                prop_assert_eq!(Some(body), actix(&bytes));
            }
            Ok(())
        };
        TestRunner::default().run(&(words, ends, 0..60_usize), check).unwrap();
    }
}
