//! Request bodies: read whole, within time, size and memory limits, and decoded (spec/security.md 7.4).
//!
//! `pace` holds the minimum rate, `decode` the content encodings. The content is not interpreted here.

mod decode;
mod pace;

use std::pin::pin;
use std::sync::Arc;

use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::config::Server;
use crate::deadline::timeout_at_lazy;
use crate::gateway::refusal::Refusal;
use crate::memory::collect::{CollectError, Collector};
use crate::memory::{MemoryCapacity, Reservation};
use crate::payload::PayloadFormat;
use decode::{DecodeLimits, Encoding};
use pace::MinRate;

/// Body that arrives in chunks, each of which has a deadline.
struct TimedBody {
    payload: web::Payload,
    started_at: Instant,
    rate: MinRate,
    received: u64,
}

/// Reads and decodes a body that must be JSON. `started_at` is the time at which the request head was complete. The bytes keep
/// their reservation of `memory`.
///
/// # Errors
/// The head announces an unsupported body; the body is too large, too slow, truncated or not encoded as announced; or the memory
/// capacity is exhausted. The rest of the body stays unread, so the connection must be closed.
pub async fn read(
    payload: web::Payload,
    headers: &HeaderMap,
    format: PayloadFormat,
    started_at: std::time::Instant,
    server: &Server,
    memory: &Arc<MemoryCapacity>,
) -> Result<Bytes, Refusal> {
    let encoding = Encoding::of(headers)?;
    expect(format, headers)?;
    let content_length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if content_length.is_some_and(|length| length > server.max_body) {
        return Err(Refusal::TooLarge { limit: server.max_body });
    }
    let mut reservation = memory.reservation();
    let body = TimedBody { payload, started_at: started_at.into(), rate: MinRate::of(server), received: 0 };
    let encoded = body.collect(server.max_body, content_length, &mut reservation).await?;
    let limits = DecodeLimits { body: server.max_body, window: server.max_zstd_window };
    let body = encoding.decode(encoded, limits, &mut reservation).await?;
    Ok(reservation.attach(body))
}

/// Checks the content type. A body without one is taken to be JSON.
fn expect(format: PayloadFormat, headers: &HeaderMap) -> Result<(), Refusal> {
    let value = match headers.get(CONTENT_TYPE) {
        Some(value) => value.to_str().unwrap_or("?"),
        None => PayloadFormat::Json.media_type(),
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(format.media_type()) { Ok(()) } else { Err(Refusal::UnsupportedContentType(format)) }
}

impl TimedBody {
    async fn collect(mut self, limit: usize, content_length: Option<usize>, reservation: &mut Reservation) -> Result<Bytes, Refusal> {
        let mut collector = Collector::new(limit, content_length, reservation);
        while let Some(chunk) = self.next().await? {
            // A body that arrives as one chunk is complete without another poll.
            let is_whole = content_length == Some(chunk.len());
            collector.push(chunk).map_err(|error| match error {
                CollectError::TooLarge => Refusal::TooLarge { limit },
                CollectError::OutOfMemory => Refusal::Overloaded,
            })?;
            if is_whole {
                break;
            }
        }
        Ok(collector.finish())
    }

    /// Returns the next chunk if it arrives in time.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let deadline = self.started_at + self.rate.due(self.received);
        let next = pin!(self.payload.next());
        let Some(chunk) = timeout_at_lazy(deadline, next).await.ok_or(Refusal::SlowBody)? else { return Ok(None) };
        let chunk = chunk.map_err(|_| Refusal::InvalidJson("unexpected end of the body".to_owned()))?;
        self.received += chunk.len() as u64;
        Ok(Some(chunk))
    }
}
