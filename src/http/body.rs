//! A request's body: read whole, in time, within its limits and the process's budget, and decoded (spec/security.md 7.4).
//!
//! `pace` says how slow it may be, `decode` undoes its encoding. What is in it is not looked at here.

mod decode;
mod pace;

use std::pin::pin;
use std::sync::Arc;

use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::config::Server;
use crate::deadline::timeout_at_lazy;
use crate::gateway::refusal::Refusal;
use crate::memory::{MemoryCapacity, Reservation};
use decode::{Encoding, Room};
use pace::Pace;

/// A body that arrives in pieces.
struct Arriving<'a> {
    payload: web::Payload,
    begun: Instant,
    pace: Pace,
    received: u64,
    limit: usize,
    reservation: &'a mut Reservation,
}

/// As much is allocated because a head promises it; more only as it comes.
const BELIEVED: usize = 1 << 20;

/// Reads and decodes a body that has to be JSON, whose head was `received` then. The bytes hold their share of `budget`.
///
/// # Errors
/// Its head promises what is not taken; it is too large, too slow, cut short or not what its encoding says; the budget is
/// used up. What was not read is never read: the connection has to be closed.
pub async fn read(
    payload: web::Payload,
    headers: &HeaderMap,
    received: std::time::Instant,
    server: &Server,
    memory: &Arc<MemoryCapacity>,
) -> Result<Bytes, Refusal> {
    let encoding = Encoding::of(headers)?;
    expect_json(headers)?;
    let promised = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if promised.is_some_and(|promised| promised > server.max_body) {
        return Err(Refusal::TooLarge { limit: server.max_body });
    }
    let mut reservation = memory.reservation();
    let (begun, pace, limit) = (received.into(), Pace::of(server), server.max_body);
    let arriving = Arriving { payload, begun, pace, received: 0, limit, reservation: &mut reservation };
    let encoded = arriving.whole(promised).await?;
    let room = Room { body: server.max_body, window: server.max_zstd_window };
    let body = encoding.decode(encoded, room, &mut reservation).await?;
    Ok(reservation.attach(body))
}

fn expect_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or("?").split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Refusal::InvalidJson("content-type has to be application/json".to_owned()))
}

impl Arriving<'_> {
    async fn whole(mut self, promised: Option<usize>) -> Result<Bytes, Refusal> {
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        self.hold(first.len())?;
        if promised == Some(first.len()) {
            return Ok(first);
        }
        let mut body = BytesMut::new();
        self.grow(&mut body, promised.map_or(first.len() * 2, |promised| promised.min(BELIEVED)).max(first.len()))?;
        body.extend_from_slice(&first);
        drop(first);
        while let Some(piece) = self.next().await? {
            if body.capacity() - body.len() < piece.len() {
                let wanted = (body.capacity() * 2).min(self.limit).max(body.len() + piece.len());
                self.grow(&mut body, wanted)?;
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// The next piece, if it comes in time and fits.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let due = self.begun + self.pace.due(self.received);
        let next = pin!(self.payload.next());
        let Some(piece) = timeout_at_lazy(due, next).await.ok_or(Refusal::SlowBody)? else { return Ok(None) };
        let piece = piece.map_err(|_| Refusal::InvalidJson("it was cut short".to_owned()))?;
        self.received += piece.len() as u64;
        if self.received > self.limit as u64 {
            return Err(Refusal::TooLarge { limit: self.limit });
        }
        Ok(Some(piece))
    }

    fn grow(&mut self, body: &mut BytesMut, capacity: usize) -> Result<(), Refusal> {
        self.hold(capacity)?;
        body.reserve(capacity - body.len());
        Ok(())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.reservation.resize(bytes).map_err(|_| Refusal::Overloaded)
    }
}
