//! Where an answer's body ends: by its stated length, by its last chunk, or with its connection (RFC 9112 6 and 7).
//!
//! Pieces are slices of what was read, never copies. What could be understood in two ways is refused: two lengths, an unknown
//! transfer coding, a line end that is not CRLF.

use bytes::{Buf, Bytes, BytesMut};

use super::head::Head;

/// How a body is delimited, and how far it has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// In chunks.
    Chunked(Chunk),
    /// All until the connection is closed.
    UntilClosed,
}

/// What comes next of a body in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// The line with the size of a chunk.
    Size,
    /// So many bytes of a chunk.
    Data(u64),
    /// The end of the line after a chunk.
    DataEnd,
    /// Trailers, of which so many bytes may still come, up to an empty line.
    Trailers(usize),
    /// Nothing.
    Ended,
}

/// What a look at the buffer gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body.
    Data(Bytes),
    /// The body is complete.
    End,
    /// More has to be read.
    Short,
}

/// What came is not framed as its head says, or cannot be understood in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The longest line with a chunk's size and extensions.
const LINE: usize = 4 << 10;
/// The most bytes of trailers, which are passed over.
const TRAILERS: usize = 16 << 10;

impl Framing {
    /// Of an answer to a request that is no `HEAD`.
    ///
    /// # Errors
    /// The head says it in two ways, or in one that is not known.
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
        Ok(match (head.status, length) {
            (..200 | 204 | 304, _) => Self::Length(0),
            _ if is_chunked => Self::Chunked(Chunk::Size),
            (_, Some(length)) => Self::Length(length),
            (_, None) => Self::UntilClosed,
        })
    }

    /// Whether nothing more is to come.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Ended))
    }

    /// Takes the next piece from the front of `buffer`.
    ///
    /// # Errors
    /// What stands there belongs to no body of this framing.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, Malformed> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            Self::Length(left) => Ok(take(buffer, left)),
            Self::Chunked(chunk) => chunk.next(buffer),
            Self::UntilClosed if buffer.is_empty() => Ok(Piece::Short),
            Self::UntilClosed => Ok(Piece::Data(buffer.split().freeze())),
        }
    }
}

impl Chunk {
    fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, Malformed> {
        loop {
            match self {
                Self::Size => {
                    let Some(line) = line(buffer, LINE)? else { return Ok(Piece::Short) };
                    let taken = line.len() + 2;
                    let size = size(line)?;
                    buffer.advance(taken);
                    *self = if size == 0 { Self::Trailers(TRAILERS) } else { Self::Data(size) };
                }
                Self::Data(left) => {
                    let piece = take(buffer, left);
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(piece);
                }
                Self::DataEnd => match line(buffer, 0)? {
                    None => return Ok(Piece::Short),
                    Some(_) => {
                        buffer.advance(2);
                        *self = Self::Size;
                    }
                },
                Self::Trailers(left) => {
                    let Some(line) = line(buffer, *left)? else { return Ok(Piece::Short) };
                    let (is_last, taken) = (line.is_empty(), line.len() + 2);
                    buffer.advance(taken);
                    *self = if is_last { Self::Ended } else { Self::Trailers(left.saturating_sub(taken)) };
                }
                Self::Ended => return Ok(Piece::End),
            }
        }
    }
}

/// As many of the bytes that are `left` as there are.
fn take(buffer: &mut BytesMut, left: &mut u64) -> Piece {
    if buffer.is_empty() {
        return Piece::Short;
    }
    let taken = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
    *left -= taken as u64;
    Piece::Data(buffer.split_to(taken).freeze())
}

/// The line at the front of `bytes`, of at most `most` bytes without its end, CRLF; `None`: it is not complete yet.
fn line(bytes: &[u8], most: usize) -> Result<Option<&[u8]>, Malformed> {
    let bounded = &bytes[..bytes.len().min(most + 2)];
    match memchr::memchr(b'\n', bounded) {
        Some(end) => bounded[..end].strip_suffix(b"\r").map(Some).ok_or(Malformed),
        None if bounded.len() < most + 2 && bounded.strip_suffix(b"\r").unwrap_or(bounded).len() <= most => Ok(None),
        None => Err(Malformed),
    }
}

/// The size a chunk's line tells. Extensions are passed over.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    let is_extension = extension.trim_ascii_start().first().is_none_or(|byte| *byte == b';');
    if !is_extension || extension.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(Malformed);
    }
    str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(Malformed)
}

/// The length that `content-length` states.
fn length(value: &[u8]) -> Result<u64, Malformed> {
    let digits = str::from_utf8(value.trim_ascii()).map_err(|_| Malformed)?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().map_err(|_| Malformed) } else { Err(Malformed) }
}

/// The one of these; there may be none, but not two.
fn only<T>(mut of: impl Iterator<Item = T>) -> Result<Option<T>, Malformed> {
    let first = of.next();
    if of.next().is_some() { Err(Malformed) } else { Ok(first) }
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
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked(Chunk::Size)));
        assert_eq!(framing("transfer-encoding: chunked\r\ncontent-length: 3\r\n"), Ok(Framing::Chunked(Chunk::Size)));
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
    fn some_answers_have_no_body_whatever_their_fields_say() {
        for status in [101, 204, 304] {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 5\r\n\r\n");
            assert_eq!(Framing::of(&Head::take(&mut BytesMut::from(head.as_str())).unwrap().unwrap()), Ok(Framing::Length(0)), "{status}");
        }
        let old = Head::take(&mut BytesMut::from("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")).unwrap().unwrap();
        assert_eq!(Framing::of(&old), Err(Malformed));
    }

    /// All of the body, and what is left in the buffer; `None` if it is not complete.
    fn read(bytes: &[u8], cuts: &[usize]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
        let (mut chunks, mut buffer, mut body, mut fed) = (Framing::Chunked(Chunk::Size), BytesMut::new(), Vec::new(), 0);
        for end in cuts.iter().copied().chain([bytes.len()]) {
            buffer.extend_from_slice(&bytes[fed..end.max(fed)]);
            fed = end.max(fed);
            loop {
                match chunks.next(&mut buffer)? {
                    Piece::Data(data) => body.extend_from_slice(&data),
                    Piece::Short => break,
                    Piece::End => return Ok(Some((body, buffer.len() + bytes.len() - fed))),
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
    fn what_is_no_chunk_is_refused() {
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
        let endless = [("5;", LINE), ("0\r\na:", TRAILERS)].map(|(start, most)| format!("{start}{}", "x".repeat(most)));
        assert!(endless.iter().all(|bytes| read(bytes.as_bytes(), &[]) == Err(Malformed)));
        let many = format!("0\r\n{}", "a: b\r\n".repeat(TRAILERS / 6 + 2));
        assert_eq!(read(many.as_bytes(), &[]), Err(Malformed));
    }

    /// Chunks, and pieces of such.
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

    /// What actix-http makes of the same bytes.
    fn rival(bytes: &[u8]) -> Option<Vec<u8>> {
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
        fn whatever_is_sent_in_chunks_comes_out_again_however_it_is_cut(
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

    /// In a runtime, because making actix's codec starts a clock.
    #[actix_web::test]
    async fn noise_never_panics_and_means_nothing_that_actix_does_not_read_the_same() {
        let words = prop::collection::vec(prop::sample::select(WORDS.as_slice()), 0..6);
        let ends = prop::sample::select(["0\r\n\r\n", "00 ;x\r\nt: v\r\n\r\n", "0\r\n", "0\n\n", ""].as_slice());
        let judge = |(words, end, cut): (Vec<&str>, &str, usize)| {
            let bytes = (words.concat() + end).into_bytes();
            let whole = read(&bytes, &[]);
            prop_assert_eq!(&read(&bytes, &[cut.min(bytes.len())]), &whole);
            if words.iter().all(|word| word.len() > 4) && end.ends_with("\r\n\r\n") {
                prop_assert!(matches!(whole, Ok(Some(_))), "{:?}", words);
            }
            if let Ok(Some((body, _))) = whole {
                prop_assert_eq!(Some(body), rival(&bytes));
            }
            Ok(())
        };
        TestRunner::default().run(&(words, ends, 0..60_usize), judge).unwrap();
    }
}
