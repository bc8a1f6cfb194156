//! One HTTP/1.1 exchange on one connection: sends a request, and receives a head and a body. It has no timeouts, no retries and
//! no pool.
//!
//! `head` parses the status line and the fields, `body` finds the end of the body. Head and body of the request leave in one
//! vectored write, without being copied together. A response that arrives before the whole request is sent (413, 429) is read
//! all the same. A truncated body is never taken for a complete one. General-purpose codecs build a header map that is hardly
//! used and step through chunks byte by byte; `benches/RESULTS.md` states the cost.

mod body;
mod head;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::connection::Connection;
use super::error::{Class, Error, Retry, Stage};
use body::{Decoded, Framing};
use head::HeadError;

pub use head::Head;

/// Bytes added to the read buffer when it is full.
const READ_SIZE: usize = 8 << 10;
/// Smallest free space that is worth a read.
const MIN_FREE: usize = 1 << 10;

/// Reason why a body did not arrive completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The peer closed the connection before the end.
    Truncated,
    /// The connection broke, or the bytes violate the framing.
    Reset,
}

/// Reader of a response body. Dropping it before the end closes the connection.
pub struct BodyReader {
    connection: Connection,
    framing: Framing,
    /// Whether the connection can carry another exchange after the body.
    is_reusable: bool,
}

/// Sends `head` and `body` and waits for the head of the response.
///
/// # Errors
/// The connection broke, or the response has no valid head. [`Retry::Immediately`] says that the connection was a reused one and
/// broke before the first byte of the response.
pub async fn exchange(mut connection: Connection, head: Bytes, body: Bytes) -> Result<(Head, BodyReader), Error> {
    let mut outgoing = Buf::chain(head, body);
    let mut is_broken = false;
    let response = poll_fn(|cx| {
        if !is_broken && matches!(poll_send(&mut connection, cx, &mut outgoing), Poll::Ready(Err(_))) {
            // The peer may have responded before it refused the rest of the request.
            is_broken = true;
        }
        match poll_head(&mut connection, cx) {
            Poll::Pending if is_broken => Poll::Ready(Err(Error::new(Stage::Send, Class::Send))),
            Poll::Ready(Err(Error { class: Class::Disconnected | Class::Reset, .. })) if is_broken => {
                Poll::Ready(Err(Error::new(Stage::Send, Class::Send)))
            }
            other => other,
        }
    });
    let response = response.await.and_then(|head| match Framing::of(&head) {
        Ok(framing) => Ok((head, framing)),
        Err(_) => Err(Error::new(Stage::Head, Class::NotHttp)),
    });
    match response {
        Ok((head, framing)) => {
            let is_sent = !is_broken && !outgoing.has_remaining();
            let reader = BodyReader::new(connection, framing, &head, is_sent);
            Ok((head, reader))
        }
        Err(error) => Err(with_retry(error, &connection)),
    }
}

/// Marks a failure that a stale pooled connection explains.
fn with_retry(error: Error, connection: &Connection) -> Error {
    let is_break = matches!(error.class, Class::Disconnected | Class::Reset | Class::Send);
    let retry = if is_break && connection.is_reused && connection.buffer.is_empty() { Retry::Immediately } else { error.retry };
    Error { retry, ..error }
}

/// Writes as much as the peer accepts.
fn poll_send(connection: &mut Connection, cx: &mut Context<'_>, outgoing: &mut impl Buf) -> Poll<io::Result<()>> {
    while outgoing.has_remaining() {
        if ready!(poll_write_buf(Pin::new(&mut connection.transport), cx, outgoing))? == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
    }
    Pin::new(&mut connection.transport).poll_flush(cx)
}

fn poll_head(connection: &mut Connection, cx: &mut Context<'_>) -> Poll<Result<Head, Error>> {
    let failed = |class| Poll::Ready(Err(Error::new(Stage::Head, class)));
    loop {
        if !connection.buffer.is_empty() {
            match Head::take(&mut connection.buffer) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(HeadError::TooLarge) => return failed(Class::HeadTooLarge),
                Err(HeadError::NotHttp) => return failed(Class::NotHttp),
            }
        }
        match ready!(poll_fill(connection, cx)) {
            Ok(0) => return failed(Class::Disconnected),
            Ok(_) => {}
            Err(_) => return failed(Class::Reset),
        }
    }
}

fn poll_fill(connection: &mut Connection, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    if connection.buffer.capacity() - connection.buffer.len() < MIN_FREE {
        connection.buffer.reserve(READ_SIZE);
    }
    poll_read_buf(Pin::new(&mut connection.transport), cx, &mut connection.buffer)
}

impl BodyReader {
    fn new(connection: Connection, framing: Framing, head: &Head, is_sent: bool) -> Self {
        let has_length = head.get("content-length").is_some_and(|length| length != b"0");
        // Two conflicting lengths make the bytes after the body suspect (RFC 9112 6.3), and so does a length where no body may
        // follow: the peer may send one.
        let is_ambiguous = match framing {
            Framing::Chunked(_) => head.get("content-length").is_some(),
            Framing::Length(_) => head.may_not_have_body() && (has_length || head.get("transfer-encoding").is_some()),
            Framing::UntilClosed => false,
        };
        let is_reusable = is_sent && head.keeps_connection() && framing != Framing::UntilClosed && !is_ambiguous;
        Self { connection, framing, is_reusable }
    }

    /// Returns the number of bytes still to come, if the head states the length.
    pub fn content_length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked(_) | Framing::UntilClosed => None,
        }
    }

    /// Whether the body ends when the connection is closed.
    pub fn ends_with_connection(&self) -> bool {
        self.framing == Framing::UntilClosed
    }

    /// Returns the next chunk, or `None` at the end of the body.
    ///
    /// # Errors
    /// The body cannot become complete.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            match self.framing.next(&mut self.connection.buffer) {
                Ok(Decoded::Data(chunk)) => return Poll::Ready(Ok(Some(chunk))),
                Ok(Decoded::End) => return Poll::Ready(Ok(None)),
                Ok(Decoded::Incomplete) => {}
                Err(_) => return Poll::Ready(Err(BodyError::Reset)),
            }
            match ready!(poll_fill(&mut self.connection, cx)) {
                Ok(0) if self.framing == Framing::UntilClosed => {
                    self.framing = Framing::Length(0);
                    return Poll::Ready(Ok(None));
                }
                Ok(0) => return Poll::Ready(Err(BodyError::Truncated)),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(BodyError::Reset)),
            }
        }
    }

    /// Returns the connection, if the body was read to its end and another exchange may follow.
    pub fn into_connection(self) -> Option<Connection> {
        let is_free = self.framing.has_ended() && self.is_reusable && self.connection.buffer.is_empty();
        is_free.then_some(self.connection)
    }
}

#[cfg(test)]
mod tests;
