//! The payload's bytes (spec/security.md 1.4):
//! `0x01 ‖ u8 n ‖ n×lp(origin) ‖ u8 auth ‖ lp(header name) ‖ lp(secret) ‖ zeros to a multiple of 128`.
//!
//! Reading is strict: what writing would not have made is refused.

use actix_web::http::header::HeaderName;
use zeroize::Zeroizing;

use super::{Destination, Payload, Presentation};
use crate::seal::key::{Content, Plaintext};
use crate::secret::Secret;

/// Sizes are multiples of this, so that a blob's length says little about its key's.
const BLOCK: usize = 128;
/// More than the longest payload: a plaintext is not even decrypted if it is longer.
const LONGEST: usize = 96 * 1024;
const LAYOUT: u8 = 0x01;
const BEARER: u8 = 1;
/// 3 (AWS SigV4) and 4 (GCP service account) are reserved.
const RAW_HEADER: u8 = 2;

impl Content for Payload {
    fn fits(len: usize) -> bool {
        len > 0 && len <= LONGEST && len.is_multiple_of(BLOCK)
    }

    fn to_plaintext(&self) -> Zeroizing<Vec<u8>> {
        let (auth, header) = match &self.presentation {
            Presentation::Bearer => (BEARER, ""),
            Presentation::Header(name) => (RAW_HEADER, name.as_str()),
        };
        let texts = || self.destinations.iter().map(Destination::as_str).chain([header, self.secret.expose()]);
        let len = 3 + texts().map(|text| 2 + text.len()).sum::<usize>();
        // All of it at once: a vector that grows leaves copies behind.
        // No count or length here is over 8, 2 KiB, 8 KiB or, of header names, 65,535.
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
        // Destinations named twice, needless padding: whatever else has two spellings.
        (*payload.to_plaintext() == opened.bytes()).then_some(payload)
    }
}

fn read(bytes: &[u8]) -> Option<Payload> {
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
    Payload::new(destinations, presentation, secret).ok()
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
