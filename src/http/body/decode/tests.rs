use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::memory::MemoryCapacity;

const LIMITS: DecodeLimits = DecodeLimits { body: 1 << 20, window: 8 << 20 };

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(text, 3).unwrap()
}

fn decode_in(limits: DecodeLimits, capacity: usize, encoding: Encoding, encoded: &[u8]) -> (Result<Bytes, Refusal>, usize) {
    let memory = MemoryCapacity::new(capacity);
    let mut reservation = memory.reservation();
    reservation.resize(encoded.len()).unwrap();
    let mut decoding = Box::pin(encoding.decode(Bytes::copy_from_slice(encoded), limits, &mut reservation));
    // It is pending only when it yields.
    let decoded = loop {
        if let Some(decoded) = decoding.as_mut().now_or_never() {
            break decoded;
        }
    };
    drop(decoding);
    (decoded, memory.used())
}

fn decode(encoding: Encoding, encoded: &[u8]) -> Result<Bytes, Refusal> {
    decode_in(LIMITS, 1 << 30, encoding, encoded).0
}

fn of(values: &[&str]) -> Result<Encoding, Refusal> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(CONTENT_ENCODING, value.parse().unwrap());
    }
    Encoding::of(&headers)
}

#[test]
fn one_encoding_is_supported_and_two_are_not() {
    assert_eq!(of(&[]), Ok(Encoding::Identity));
    for (name, encoding) in [("identity", Encoding::Identity), ("GZip", Encoding::Gzip), (" zstd ", Encoding::Zstd)] {
        assert_eq!(of(&[name]), Ok(encoding));
    }
    for values in [&["br"][..], &["gzip, zstd"], &["gzip", "gzip"], &["identity", "gzip"], &[""], &["deflate"], &["x-gzip"]] {
        assert!(matches!(of(values), Err(Refusal::UnsupportedEncoding(_))), "{values:?}");
    }
}

#[test]
fn a_truncated_body_or_trailing_bytes_are_refused() {
    for (encoding, encoded) in [(Encoding::Gzip, gzip(b"{\"a\":1}")), (Encoding::Zstd, zstd(b"{\"a\":1}"))] {
        for end in 1..encoded.len() {
            assert!(matches!(decode(encoding, &encoded[..end]), Err(Refusal::InvalidJson(_))), "{encoding:?} at {end}");
        }
        assert!(matches!(decode(encoding, &[&encoded[..], b"more"].concat()), Err(Refusal::InvalidJson(_))), "{encoding:?}");
        assert_eq!(decode(encoding, &[&encoded[..], &encoded].concat()).unwrap(), "{\"a\":1}{\"a\":1}");
    }
}

#[test]
fn a_gzip_body_with_a_wrong_checksum_is_refused() {
    let mut encoded = gzip(b"{\"model\":\"gpt\"}");
    let checksum = encoded.len() - 8;
    encoded[checksum] ^= 1;
    assert!(matches!(decode(Encoding::Gzip, &encoded), Err(Refusal::InvalidJson(_))));
}

#[test]
fn a_bomb_stops_at_the_limit_and_its_memory_stays_within_it() {
    let zeros = vec![0; 64 << 20];
    for (encoding, encoded) in [(Encoding::Gzip, gzip(&zeros)), (Encoding::Zstd, zstd(&zeros))] {
        assert!(encoded.len() < 100 << 10);
        let (decoded, used) = decode_in(LIMITS, 64 << 20, encoding, &encoded);
        assert_eq!(decoded, Err(Refusal::TooLarge { limit: 1 << 20 }));
        assert!(used <= encoded.len() + LIMITS.window + LIMITS.body + 2 * STEP, "{encoding:?} held {used}");
    }
}

#[test]
fn a_body_of_exactly_the_limit_is_accepted() {
    let text = vec![b'x'; LIMITS.body];
    assert_eq!(decode(Encoding::Gzip, &gzip(&text)).unwrap().len(), LIMITS.body);
    let text = vec![b'x'; LIMITS.body + 1];
    assert_eq!(decode(Encoding::Zstd, &zstd(&text)), Err(Refusal::TooLarge { limit: LIMITS.body }));
}

#[test]
fn a_window_above_the_limit_is_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&[7; 64]).unwrap();
    let encoded = encoder.finish().unwrap();
    assert_eq!(decode(Encoding::Zstd, &encoded), Err(Refusal::WindowTooLarge { limit: 8 << 20 }));
    assert_eq!(decode_in(DecodeLimits { window: 1 << 24, ..LIMITS }, 1 << 30, Encoding::Zstd, &encoded).0.unwrap().len(), 64);
}

#[test]
fn nothing_is_decoded_without_memory_capacity() {
    let encoded = zstd(&[0; 1000]);
    let (decoded, used) = decode_in(LIMITS, 8 << 20, Encoding::Zstd, &encoded);
    assert_eq!((decoded, used), (Err(Refusal::Overloaded), encoded.len()));
}

proptest! {
    #[test]
    fn a_body_survives_encoding_and_decoding(text in prop::collection::vec(any::<u8>(), 0..5000), times in 1_usize..100) {
        let text = text.repeat(times);
        prop_assert_eq!(&decode(Encoding::Gzip, &gzip(&text)).unwrap()[..], &text);
        prop_assert_eq!(&decode(Encoding::Zstd, &zstd(&text)).unwrap()[..], &text);
    }

    #[test]
    fn garbage_neither_panics_nor_exceeds_the_limit(garbage in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for (encoding, mut damaged) in [(Encoding::Gzip, gzip(&[1; 100])), (Encoding::Zstd, zstd(&[1; 100]))] {
            let at = at.index(damaged.len());
            damaged[at] = byte;
            for encoded in [&garbage, &damaged] {
                if let Ok(body) = decode(encoding, encoded) {
                    prop_assert!(body.len() <= LIMITS.body);
                }
            }
        }
    }
}
