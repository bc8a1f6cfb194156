//! One HTTP/1.1 exchange on one connection: a request goes out, a head and a body come in. No time-outs, no retries, no pool.
//!
//! actix-http's codec reads what comes. Head and body of the request leave in one write without being copied together, and an
//! answer that comes before all of it is sent (413, 429) is read all the same. Unlike awc, which is built of the same parts,
//! this makes no clock and no buffers for each request, and knows a body that was cut short from one that is complete.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_http::error::ParseError;
use actix_http::h1::{ClientCodec, ClientPayloadCodec, MessageType};
use actix_http::{ResponseHead, ServiceConfig};
use actix_web::http::Version;
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio_util::codec::Decoder;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::wire::Connection;

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
    /// `None`: it has come to its end.
    codec: Option<ClientPayloadCodec>,
    /// The end of the connection is the end of the body (HTTP/1.0).
    ends_with_connection: bool,
    /// The connection can carry another exchange once the body is read.
    is_reusable: bool,
}

/// Sends `head` and `body` and waits for the answer's head.
///
/// # Errors
/// What broke, and the connection, which says whether it had been used before and whether a byte of an answer had come.
pub async fn exchange(
    mut connection: Connection,
    head: Bytes,
    body: Bytes,
    config: &ServiceConfig,
) -> Result<(ResponseHead, Receiving), (Broken, Connection)> {
    let mut outgoing = Buf::chain(head, body);
    let mut codec = ClientCodec::new(config.clone());
    let mut send_error = None;
    let answered = poll_fn(|cx| {
        if send_error.is_none()
            && let Poll::Ready(Err(error)) = poll_send(&mut connection, cx, &mut outgoing)
        {
            // An answer may have been given before the rest was refused.
            send_error = Some(error);
        }
        match poll_head(&mut connection, cx, &mut codec) {
            Poll::Pending if send_error.is_some() => Poll::Ready(Err(Broken::Send)),
            Poll::Ready(Err(Broken::Closed | Broken::Reset)) if send_error.is_some() => Poll::Ready(Err(Broken::Send)),
            other => other,
        }
    });
    match answered.await {
        Ok(head) => {
            let is_sent = send_error.is_none() && !outgoing.has_remaining();
            let receiving = Receiving::new(connection, codec, &head, is_sent);
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

fn poll_head(connection: &mut Connection, cx: &mut Context<'_>, codec: &mut ClientCodec) -> Poll<Result<ResponseHead, Broken>> {
    loop {
        if !connection.buffer.is_empty() {
            match codec.decode(&mut connection.buffer) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(ParseError::TooLarge) => return Poll::Ready(Err(Broken::HeadTooLarge)),
                Err(_) => return Poll::Ready(Err(Broken::NotHttp)),
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
    fn new(connection: Connection, codec: ClientCodec, head: &ResponseHead, is_sent: bool) -> Self {
        let (has_length, is_chunked) = (head.headers.contains_key(CONTENT_LENGTH), head.headers.contains_key(TRANSFER_ENCODING));
        let is_empty = codec.message_type() == MessageType::None;
        Self {
            connection,
            codec: (!is_empty).then(|| codec.into_payload_codec()),
            ends_with_connection: !has_length && !is_chunked,
            // Two ways of telling its length are one too many to trust what follows (RFC 9112 6.3).
            is_reusable: is_sent && head.keep_alive() && head.version == Version::HTTP_11 && !(has_length && is_chunked),
        }
    }

    /// The next piece; `None`: the body is complete.
    ///
    /// # Errors
    /// It will never be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Cut> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Cut>> {
        let Some(codec) = &mut self.codec else { return Poll::Ready(Ok(None)) };
        loop {
            match codec.decode(&mut self.connection.buffer) {
                Ok(Some(Some(piece))) => return Poll::Ready(Ok(Some(piece))),
                Ok(Some(None)) => {
                    self.codec = None;
                    return Poll::Ready(Ok(None));
                }
                Ok(None) => {}
                Err(_) => return Poll::Ready(Err(Cut::Reset)),
            }
            match ready!(poll_fill(&mut self.connection, cx)) {
                Ok(0) if self.ends_with_connection => {
                    (self.codec, self.is_reusable) = (None, false);
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
        let is_free = self.codec.is_none() && self.is_reusable && self.connection.buffer.is_empty();
        is_free.then_some(self.connection)
    }
}

#[cfg(test)]
mod tests;
