//! One HTTP/1.1 exchange on one connection: a request goes out, a head and a body come in. No time-outs, no retries, no pool.
//!
//! `head` reads what comes first, `body` where the body ends. Head and body of the request leave in one write without being
//! copied together; an answer that comes before all of it is sent (413, 429) is read all the same; and a body that was cut short
//! is told from one that is complete. The codecs of larger libraries build a map of headers that nobody asks for, and step through
//! chunks byte by byte: `benches/RESULTS.md` says what that costs.

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
use body::{Framing, Piece};
use head::NoHead;

pub use head::Head;

/// Room for one read.
const READ: usize = 8 << 10;
/// Less room than this is not read into.
const ROOM: usize = 1 << 10;

/// Why no head came.
#[derive(Debug)]
pub enum Broken {
    /// The peer closed the connection before its head was complete.
    Closed,
    /// The connection broke while the head was awaited.
    Reset,
    /// The connection broke while the request was sent.
    Send,
    /// The head is larger than 128 KiB.
    HeadTooLarge,
    /// What came is no HTTP.
    NotHttp,
}

/// Why a body did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The connection was closed before.
    Truncated,
    /// The connection broke, or what came is no body.
    Reset,
}

/// A body that is being received. Dropped before its end, it closes the connection.
pub struct Receiving {
    connection: Connection,
    framing: Framing,
    /// The connection can carry another exchange once the body is read.
    is_reusable: bool,
}

/// Sends `head` and `body` and waits for the answer's head.
///
/// # Errors
/// What broke, and the connection, which says whether it had been used before and whether a byte of an answer had come.
pub async fn exchange(mut connection: Connection, head: Bytes, body: Bytes) -> Result<(Head, Receiving), (Broken, Connection)> {
    let mut outgoing = Buf::chain(head, body);
    let mut send_error = None;
    let answered = poll_fn(|cx| {
        if send_error.is_none()
            && let Poll::Ready(Err(error)) = poll_send(&mut connection, cx, &mut outgoing)
        {
            // An answer may have been given before the rest was refused.
            send_error = Some(error);
        }
        match poll_head(&mut connection, cx) {
            Poll::Pending if send_error.is_some() => Poll::Ready(Err(Broken::Send)),
            Poll::Ready(Err(Broken::Closed | Broken::Reset)) if send_error.is_some() => Poll::Ready(Err(Broken::Send)),
            other => other,
        }
    });
    let answered = answered.await.and_then(|head| Framing::of(&head).map(|framing| (head, framing)).map_err(|_| Broken::NotHttp));
    match answered {
        Ok((head, framing)) => {
            let is_sent = send_error.is_none() && !outgoing.has_remaining();
            let receiving = Receiving::new(connection, framing, &head, is_sent);
            Ok((head, receiving))
        }
        Err(broken) => Err((broken, connection)),
    }
}

/// Writes as much as the peer takes.
fn poll_send(connection: &mut Connection, cx: &mut Context<'_>, outgoing: &mut impl Buf) -> Poll<io::Result<()>> {
    while outgoing.has_remaining() {
        if ready!(poll_write_buf(Pin::new(&mut connection.wire), cx, outgoing))? == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
    }
    Pin::new(&mut connection.wire).poll_flush(cx)
}

fn poll_head(connection: &mut Connection, cx: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
    loop {
        if !connection.buffer.is_empty() {
            match Head::take(&mut connection.buffer) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(NoHead::TooLarge) => return Poll::Ready(Err(Broken::HeadTooLarge)),
                Err(NoHead::NotHttp) => return Poll::Ready(Err(Broken::NotHttp)),
            }
        }
        match ready!(poll_fill(connection, cx)) {
            Ok(0) => return Poll::Ready(Err(Broken::Closed)),
            Ok(_) => {}
            Err(_) => return Poll::Ready(Err(Broken::Reset)),
        }
    }
}

fn poll_fill(connection: &mut Connection, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    if connection.buffer.capacity() - connection.buffer.len() < ROOM {
        connection.buffer.reserve(READ);
    }
    poll_read_buf(Pin::new(&mut connection.wire), cx, &mut connection.buffer)
}

impl Receiving {
    fn new(connection: Connection, framing: Framing, head: &Head, is_sent: bool) -> Self {
        // Two ways of telling its length are one too many to trust what follows (RFC 9112 6.3).
        let is_told_twice = matches!(framing, Framing::Chunked(_)) && head.get("content-length").is_some();
        let is_reusable = is_sent && head.keeps_connection() && framing != Framing::UntilClosed && !is_told_twice;
        Self { connection, framing, is_reusable }
    }

    /// How much of the body is still to come, if the head told its length.
    pub fn promised(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked(_) | Framing::UntilClosed => None,
        }
    }

    /// Whether the end of the connection is the end of the body.
    pub fn ends_with_connection(&self) -> bool {
        self.framing == Framing::UntilClosed
    }

    /// The next piece; `None`: the body is complete.
    ///
    /// # Errors
    /// It will never be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Cut> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Cut>> {
        loop {
            match self.framing.next(&mut self.connection.buffer) {
                Ok(Piece::Data(piece)) => return Poll::Ready(Ok(Some(piece))),
                Ok(Piece::End) => return Poll::Ready(Ok(None)),
                Ok(Piece::Short) => {}
                Err(_) => return Poll::Ready(Err(Cut::Reset)),
            }
            match ready!(poll_fill(&mut self.connection, cx)) {
                Ok(0) if self.framing == Framing::UntilClosed => {
                    self.framing = Framing::Length(0);
                    return Poll::Ready(Ok(None));
                }
                Ok(0) => return Poll::Ready(Err(Cut::Truncated)),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(Cut::Reset)),
            }
        }
    }

    /// The connection, if the body was read to its end and another exchange can follow.
    pub fn into_connection(self) -> Option<Connection> {
        let is_free = self.framing.has_ended() && self.is_reusable && self.connection.buffer.is_empty();
        is_free.then_some(self.connection)
    }
}

#[cfg(test)]
mod tests;
