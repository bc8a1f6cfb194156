//! Response bodies as they arrive, with timeouts and within limits.

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::error::{Class, Error, Stage};
use super::h1::{BodyError, BodyReader};
use super::pool::Pool;
use crate::deadline::timeout_lazy;
use crate::memory::Reservation;
use crate::memory::collect::{CollectError, Collector};

/// Response body as it arrives.
pub enum ResponseBody {
    /// Body read from a connection. Dropping it before its end closes the connection.
    Network(NetworkBody),
    /// Chunks known beforehand, each after a delay.
    Scripted(VecDeque<(Duration, Bytes)>),
}

/// Body read from a connection, which returns to its pool at the end.
pub struct NetworkBody {
    /// `None` at the end.
    reader: Option<Box<BodyReader>>,
    content_length: Option<u64>,
    pool: Rc<Pool>,
}

impl NetworkBody {
    /// Creates the body of a response whose head has been read.
    pub fn new(reader: BodyReader, pool: &Rc<Pool>) -> Self {
        Self { content_length: reader.content_length(), reader: Some(Box::new(reader)), pool: Rc::clone(pool) }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        match reader.chunk().await {
            Ok(Some(chunk)) => Ok(Some(chunk)),
            Err(BodyError::Truncated) => Err(Error::new(Stage::Body, Class::Truncated)),
            Err(BodyError::Reset) => Err(Error::new(Stage::Body, Class::Reset)),
            Ok(None) => {
                if let Some(connection) = self.reader.take().and_then(|reader| reader.into_connection()) {
                    self.pool.put(connection);
                }
                Ok(None)
            }
        }
    }
}

impl ResponseBody {
    /// Creates a body of known chunks, each of which follows the one before it after a delay.
    pub fn scripted(chunks: Vec<(Duration, Bytes)>) -> Self {
        Self::Scripted(chunks.into())
    }

    /// Returns the next chunk whenever it arrives, or `None` at the end of the body.
    ///
    /// # Errors
    /// The connection broke or was closed before the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Network(body) => body.chunk().await,
            Self::Scripted(chunks) => {
                let Some((delay, _)) = chunks.front() else { return Ok(None) };
                if !delay.is_zero() {
                    tokio::time::sleep(*delay).await;
                }
                Ok(chunks.pop_front().map(|(_, chunk)| chunk))
            }
        }
    }

    /// Returns the next chunk if it arrives within `idle`.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk), or a timeout.
    pub async fn next(&mut self, idle: Duration) -> Result<Option<Bytes>, Error> {
        timeout_lazy(idle, pin!(self.chunk())).await.unwrap_or(Err(Error::timeout(Stage::Body)))
    }

    /// Returns the whole body, of at most `limit` bytes. `reservation` grows to cover it.
    ///
    /// # Errors
    /// As [`next`](Self::next), or the body exceeds `limit`, or the memory capacity is exhausted.
    pub async fn collect(mut self, limit: usize, idle: Duration, reservation: &mut Reservation) -> Result<Bytes, Error> {
        let content_length = match &self {
            Self::Network(body) => body.content_length.and_then(|length| usize::try_from(length).ok()),
            Self::Scripted(_) => None,
        };
        let mut collector = Collector::new(limit, content_length, reservation);
        while let Some(chunk) = self.next(idle).await? {
            collector.push(chunk).map_err(uncollected)?;
        }
        Ok(collector.finish())
    }
}

fn uncollected(error: CollectError) -> Error {
    let class = match error {
        CollectError::TooLarge => Class::TooLarge,
        CollectError::OutOfMemory => Class::OutOfMemory,
    };
    Error::new(Stage::Body, class)
}

#[cfg(test)]
mod tests;
