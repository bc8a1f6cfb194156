//! The body of an answer as it comes in, from the network or from a script: with patience, within limits.

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::CallError;
use super::h1::{Cut, Receiving};
use super::pool::Pool;
use crate::deadline::timeout_lazy;
use crate::memory::Reservation;

/// As much is allocated because a head promises it; more only as it comes.
const BELIEVED: usize = 1 << 20;

/// A body as it comes in.
pub enum Incoming {
    /// From the network. Dropped before its end, it closes the connection.
    Remote(Remote),
    /// From a script.
    Played(VecDeque<(Duration, Bytes)>),
}

/// A body from the network, and where its connection goes when it has come to its end.
pub struct Remote {
    /// `None`: it has.
    receiving: Option<Box<Receiving>>,
    /// What the head promised.
    promised: Option<u64>,
    pool: Rc<Pool>,
}

impl Remote {
    /// A body whose head is in.
    pub fn new(receiving: Receiving, pool: &Rc<Pool>) -> Self {
        Self { promised: receiving.promised(), receiving: Some(Box::new(receiving)), pool: Rc::clone(pool) }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, CallError> {
        let Some(receiving) = &mut self.receiving else { return Ok(None) };
        match receiving.next().await {
            Ok(Some(piece)) => Ok(Some(piece)),
            Err(Cut::Truncated) => Err(CallError::TRUNCATED),
            Err(Cut::Reset) => Err(CallError::RESET),
            Ok(None) => {
                if let Some(connection) = self.receiving.take().and_then(|receiving| receiving.into_connection()) {
                    self.pool.put(connection);
                }
                Ok(None)
            }
        }
    }
}

impl Incoming {
    /// The next piece, whenever it comes; `None`: the body is complete.
    ///
    /// # Errors
    /// It broke or was cut short.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, CallError> {
        match self {
            Incoming::Remote(remote) => remote.piece().await,
            Incoming::Played(pieces) => {
                let Some((delay, _)) = pieces.front() else { return Ok(None) };
                if !delay.is_zero() {
                    tokio::time::sleep(*delay).await;
                }
                Ok(pieces.pop_front().map(|(_, piece)| piece))
            }
        }
    }

    /// As [`piece`](Self::piece), if it comes within `idle`.
    ///
    /// # Errors
    /// As there, or nothing came in time.
    pub async fn next(&mut self, idle: Duration) -> Result<Option<Bytes>, CallError> {
        timeout_lazy(idle, pin!(self.piece())).await.unwrap_or(Err(CallError::TIMED_OUT))
    }

    /// The whole body, at most `limit` bytes of it, which `reservation` is made to cover.
    ///
    /// # Errors
    /// As [`next`](Self::next), or the body is larger, or the budget is used up.
    pub async fn whole(mut self, limit: usize, idle: Duration, reservation: &mut Reservation) -> Result<Bytes, CallError> {
        let Some(first) = self.next(idle).await? else { return Ok(Bytes::new()) };
        let expected = match &self {
            Incoming::Remote(remote) => remote.promised.and_then(|promised| usize::try_from(promised).ok()),
            Incoming::Played(_) => None,
        };
        if first.len() > limit || expected.is_some_and(|expected| expected > limit) {
            return Err(CallError::TOO_LARGE);
        }
        reservation.resize(first.len()).map_err(|_| CallError::NO_ROOM)?;
        let Some(second) = self.next(idle).await? else { return Ok(first) };
        let mut body = BytesMut::new();
        let mut pieces = [first, second].into_iter();
        loop {
            let next = match pieces.next() {
                Some(piece) => Some(piece),
                None => self.next(idle).await?,
            };
            let Some(piece) = next else { return Ok(body.freeze()) };
            let length = body.len() + piece.len();
            if length > limit {
                return Err(CallError::TOO_LARGE);
            }
            if length > body.capacity() {
                // What is promised is believed up to a point; past it room is doubled as the body comes.
                let capacity = length.max(expected.unwrap_or(0).min(BELIEVED)).max((body.capacity() * 2).min(limit));
                reservation.resize(capacity).map_err(|_| CallError::NO_ROOM)?;
                body.reserve(capacity - body.len());
            }
            body.extend_from_slice(&piece);
        }
    }
}
