//! Encoding of payloads (spec/security.md 1.4):
//! `0x01 ‖ u8 n ‖ n×lp(origin) ‖ u8 auth ‖ lp(header name) ‖ lp(secret) ‖ zeros to a multiple of 128`.
//!
//! Decoding is strict: it accepts only what encoding produces.

use actix_web::http::header::HeaderName;
use zeroize::Zeroizing;

use super::{Destination, KeyPayload, Presentation};
use crate::seal::key::{BlobContent, Plaintext};
use crate::secret::Secret;

/// Payloads are padded to a multiple of this, so that a blob reveals little about the length of its
/// key.
const BLOCK: usize = 128;
/// Limit in bytes, larger than any payload; longer plaintexts are refused before decryption.
const MAX_LENGTH: usize = 96 * 1024;
const LAYOUT: u8 = 0x01;
const BEARER: u8 = 1;
/// 3 (AWS SigV4) and 4 (GCP service account) are reserved.
const RAW_HEADER: u8 = 2;

impl BlobContent for KeyPayload {
    fn fits(len: usize) -> bool {
        len > 0 && len <= MAX_LENGTH && len.is_multiple_of(BLOCK)
    }

    fn to_plaintext(&self) -> Zeroizing<Vec<u8>> {
        let (auth, header) = match &self.presentation {
            Presentation::Bearer => (BEARER, ""),
            Presentation::Header(name) => (RAW_HEADER, name.as_str()),
        };
        let texts = || self.destinations.iter().map(Destination::as_str).chain([header, self.secret.expose()]);
        let len = 3 + texts().map(|text| 2 + text.len()).sum::<usize>();
        // Allocated at once: a vector that grows leaves copies of the secret behind. The casts
        // below cannot truncate: there are at most 8 destinations of 2 KiB, a secret of 8 KiB and a
        // header name of 64 KiB.
        let mut bytes = Zeroizing::new(Vec::with_capacity(len.next_multiple_of(BLOCK)));
        bytes.extend([LAYOUT, self.destinations.len() as u8]);
        for (at, text) in texts().enumerate() {
            if at == self.destinations.len() {
                bytes.push(auth);
            }
            bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.resize(len.next_multiple_of(BLOCK), 0);
        bytes
    }

    fn from_plaintext(opened: &Plaintext) -> Option<Self> {
        let payload = read(opened.bytes())?;
        // Refuses every other spelling, such as duplicate destinations or longer padding.
        (*payload.to_plaintext() == opened.bytes()).then_some(payload)
    }
}

fn read(bytes: &[u8]) -> Option<KeyPayload> {
    let mut rest = bytes;
    if byte(&mut rest)? != LAYOUT {
        return None;
    }
    let count = byte(&mut rest)?;
    let destinations = (0..count).map(|_| Destination::parse(text(&mut rest)?)).collect::<Option<Vec<_>>>()?;
    let presentation = match (byte(&mut rest)?, text(&mut rest)?) {
        (BEARER, "") => Presentation::Bearer,
        (RAW_HEADER, name) => Presentation::Header(HeaderName::from_lowercase(name.as_bytes()).ok()?),
        _ => return None,
    };
    let secret = Secret::new(text(&mut rest)?);
    KeyPayload::new(destinations, presentation, secret).ok()
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, behind) = rest.split_first()?;
    *rest = behind;
    Some(*first)
}

/// `lp`: length in two bytes, big-endian, then the text.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (len, behind) = rest.split_first_chunk::<2>()?;
    let (text, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    *rest = behind;
    std::str::from_utf8(text).ok()
}
