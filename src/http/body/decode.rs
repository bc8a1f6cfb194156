//! Decoding of gzip and zstd in bounded steps, so that a body neither exceeds its memory limit nor blocks its worker.
//!
//! The decoder of actix inflates a whole chunk before any limit is checked (spec/security.md 7.4).

use std::io::Read;
use std::sync::Arc;

use actix_web::http::header::{CONTENT_ENCODING, HeaderMap};
use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::gateway::refusal::Refusal;
use crate::memory::Reservation;

/// Content encoding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// No encoding.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// Memory limits of decoding, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Most bytes of the decoded body.
    pub body: usize,
    /// Largest zstd window, a power of two.
    pub window: usize,
}

/// Bytes decoded between two checks of the limits.
const STEP: usize = 64 << 10;
/// Steps between two yields to other requests of the worker: well under a millisecond.
const YIELD_STEPS: usize = 2;
/// Most steps of a small body. A body that needs more is large, and waits for the large bodies before it.
const SMALL_STEPS: usize = 8;
/// Bytes that a gzip decoder allocates for itself.
const GZIP_STATE: usize = 64 << 10;

thread_local! {
    /// Permit to decode a large body. Each worker decodes one at a time: in parallel they would take as long, and more memory.
    static LARGE: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

impl Encoding {
    /// Returns the encoding that the head declares.
    ///
    /// # Errors
    /// The encoding is not supported, or there is more than one.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(CONTENT_ENCODING);
        let Some(value) = values.next() else { return Ok(Self::Identity) };
        let name = value.to_str().unwrap_or("?").trim();
        let known = [("identity", Self::Identity), ("gzip", Self::Gzip), ("zstd", Self::Zstd)];
        match known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)) {
            Some((_, encoding)) if values.next().is_none() => Ok(encoding),
            Some(_) => Err(Refusal::UnsupportedEncoding("several".to_owned())),
            None => Err(Refusal::UnsupportedEncoding(name.chars().take(64).collect())),
        }
    }

    /// Decodes a whole body. `reservation` covers the encoded body before the call and the decoded one after it.
    ///
    /// # Errors
    /// The decoded body exceeds its limit, the content does not match the encoding, or the memory capacity is exhausted.
    pub async fn decode(self, encoded: Bytes, limits: DecodeLimits, reservation: &mut Reservation) -> Result<Bytes, Refusal> {
        // Boxed: these futures are large, and most bodies are not encoded.
        match self {
            Self::Identity => Ok(encoded),
            Self::Gzip => gzip(encoded, limits, reservation).boxed_local().await,
            Self::Zstd => zstd(encoded, limits, reservation).boxed_local().await,
        }
    }
}

async fn gzip(encoded: Bytes, limits: DecodeLimits, reservation: &mut Reservation) -> Result<Bytes, Refusal> {
    drain(MultiGzDecoder::new(&encoded[..]), encoded.len(), GZIP_STATE, limits, reservation).await
}

async fn zstd(encoded: Bytes, limits: DecodeLimits, reservation: &mut Reservation) -> Result<Bytes, Refusal> {
    let mut decoder = ZstdDecoder::with_buffer(&encoded[..]).map_err(|_| Refusal::Internal)?;
    decoder.window_log_max(limits.window.ilog2()).map_err(|_| Refusal::Internal)?;
    drain(decoder, encoded.len(), limits.window, limits, reservation).await
}

/// Reads a decoder to its end. The decoder holds `encoded` bytes of input and `state` bytes of its own.
async fn drain(
    mut decoder: impl Read,
    encoded: usize,
    state: usize,
    limits: DecodeLimits,
    reservation: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::new();
    let mut permit = None;
    for step in 1.. {
        if step > SMALL_STEPS && permit.is_none() {
            permit = LARGE.with(Arc::clone).acquire_owned().await.ok();
        }
        if body.capacity() - body.len() < STEP {
            // Doubles each time, but exceeds the limit by one step at most.
            let capacity = (body.capacity() * 2).clamp(STEP, limits.body.saturating_add(STEP));
            reservation.resize(encoded + state + capacity).map_err(|_| Refusal::Overloaded)?;
            body.reserve(capacity - body.len());
        }
        let begin = body.len();
        body.resize(begin + STEP, 0);
        let read = decoder.read(&mut body[begin..]).map_err(|error| refusal(&error, limits))?;
        body.truncate(begin + read);
        if body.len() > limits.body {
            return Err(Refusal::TooLarge { limit: limits.body });
        }
        if read == 0 {
            break;
        }
        if step % YIELD_STEPS == 0 {
            yield_now().await;
        }
    }
    reservation.resize(body.capacity()).map_err(|_| Refusal::Overloaded)?;
    Ok(body.freeze())
}

/// Maps an error of a decoder. Its text is not shown: the caller cannot act on it.
fn refusal(error: &std::io::Error, limits: DecodeLimits) -> Refusal {
    // zstd distinguishes its errors by their text only.
    if error.to_string().starts_with("Frame requires too much memory") {
        return Refusal::WindowTooLarge { limit: limits.window };
    }
    Refusal::InvalidJson("the body is truncated or does not match its content-encoding".to_owned())
}

#[cfg(test)]
mod tests;
