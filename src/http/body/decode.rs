//! gzip and zstd, undone in bounded steps: no body makes more memory than it may, nor keeps its worker from other requests.
//!
//! actix's own decoder would inflate a whole piece before any limit is looked at (spec/security.md 7.4).

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

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// What a decoder may use, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// For what comes out.
    pub body: usize,
    /// For the window of zstd: a power of two.
    pub window: usize,
}

/// Bytes decoded between two looks at the limits.
const STEP: usize = 64 << 10;
/// Steps until other requests of the worker get their turn: well under a millisecond.
const TURN: usize = 2;
/// So many steps a body may have while another is decoded; what takes more is large and waits for the large ones before it.
const SMALL: usize = 8;
/// What a gzip decoder itself needs.
const GZIP_STATE: usize = 64 << 10;

thread_local! {
    /// Large bodies are decoded one at a time on each worker: together they would take as long, and the memory of all of them.
    static LARGE: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

impl Encoding {
    /// What the head says.
    ///
    /// # Errors
    /// It names an encoding that is not understood, or more than one.
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

    /// Decodes a whole body. `reservation` is what the encoded body holds; it is for the decoded one afterwards.
    ///
    /// # Errors
    /// There is more in it than fits, it is not what its encoding says, or the budget is used up.
    pub async fn decode(self, encoded: Bytes, room: Room, reservation: &mut Reservation) -> Result<Bytes, Refusal> {
        // Boxed: decoding takes room, in the future and on the stack, that most bodies do without.
        match self {
            Self::Identity => Ok(encoded),
            Self::Gzip => gzip(encoded, room, reservation).boxed_local().await,
            Self::Zstd => zstd(encoded, room, reservation).boxed_local().await,
        }
    }
}

async fn gzip(encoded: Bytes, room: Room, reservation: &mut Reservation) -> Result<Bytes, Refusal> {
    drain(MultiGzDecoder::new(&encoded[..]), encoded.len(), GZIP_STATE, room, reservation).await
}

async fn zstd(encoded: Bytes, room: Room, reservation: &mut Reservation) -> Result<Bytes, Refusal> {
    let mut decoder = ZstdDecoder::with_buffer(&encoded[..]).map_err(|_| Refusal::Internal)?;
    decoder.window_log_max(room.window.ilog2()).map_err(|_| Refusal::Internal)?;
    drain(decoder, encoded.len(), room.window, room, reservation).await
}

/// Reads a decoder to its end. It holds `encoded` bytes of input and `state` bytes of its own.
async fn drain(mut decoder: impl Read, encoded: usize, state: usize, room: Room, reservation: &mut Reservation) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::new();
    let mut turn = None;
    for step in 1.. {
        if step > SMALL && turn.is_none() {
            turn = LARGE.with(Arc::clone).acquire_owned().await.ok();
        }
        if body.capacity() - body.len() < STEP {
            // Doubled each time, but never past the limit by more than a step.
            let capacity = (body.capacity() * 2).clamp(STEP, room.body.saturating_add(STEP));
            reservation.resize(encoded + state + capacity).map_err(|_| Refusal::Overloaded)?;
            body.reserve(capacity - body.len());
        }
        let begin = body.len();
        body.resize(begin + STEP, 0);
        let read = decoder.read(&mut body[begin..]).map_err(|error| faulty(&error, room))?;
        body.truncate(begin + read);
        if body.len() > room.body {
            return Err(Refusal::TooLarge { limit: room.body });
        }
        if read == 0 {
            break;
        }
        if step % TURN == 0 {
            yield_now().await;
        }
    }
    reservation.resize(body.capacity()).map_err(|_| Refusal::Overloaded)?;
    Ok(body.freeze())
}

/// What a decoder's complaint means. Its words are not shown: they are another library's, and say nothing a caller can act on.
fn faulty(error: &std::io::Error, room: Room) -> Refusal {
    // zstd tells its errors apart by their words alone.
    if error.to_string().starts_with("Frame requires too much memory") {
        return Refusal::WindowTooLarge { limit: room.window };
    }
    Refusal::InvalidJson("it is not, or not to its end, what its content-encoding says".to_owned())
}

#[cfg(test)]
mod tests;
