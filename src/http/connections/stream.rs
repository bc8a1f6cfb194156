//! A client's connection as actix reads and writes it, with three things actix does not do: every head has a time to arrive in (actix
//! times a connection's first alone, and a later one that has begun not at all), a head that is refused is told why, and a body is
//! handled as it comes.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::header::HeaderMap;
use actix_web::rt::net::TcpStream;
use bytes::{Buf, BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Connection;
use crate::gateway::messages::Refusal;
use crate::http::answer;

/// A client's connection.
pub struct ClientStream {
    socket: TcpStream,
    connection: Rc<Connection>,
    header_timeout: Duration,
    /// Rings when the oldest head that it was set for is overdue; set anew only then, so that most requests never touch it.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Some of an answer is written, the rest is not.
    is_mid_answer: bool,
    /// What is left to write of the refusal that takes the place of actix's.
    refusal: Bytes,
    /// Bytes that were read and that actix has not looked at yet.
    unseen: usize,
}

/// As much is read before what came is looked at. actix itself reads on for as long as there is something, up to 128 KiB, and copies
/// all of it each time its buffer becomes too small.
const AT_ONCE: usize = 32 << 10;
/// Where there is less room than this, actix makes its buffer larger.
const ROOM: usize = 1 << 10;

impl ClientStream {
    pub(super) fn new(socket: TcpStream, header_timeout: Duration) -> Self {
        Self { socket, connection: Connection::new(), header_timeout, alarm: None, is_mid_answer: false, refusal: Bytes::new(), unseen: 0 }
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// What is known of it.
    pub fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Ready once a head is overdue.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(since) = self.connection.head_due_since() else { return Poll::Pending };
        let due = since + self.header_timeout;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
    }

    /// Reads into `buffer`, but no more than is to be read at once; when that has come, there is nothing until it has been looked at.
    fn poll_some(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unseen + buffer.remaining() < AT_ONCE {
            return Pin::new(&mut self.socket).poll_read(cx, buffer);
        }
        if self.unseen + ROOM >= AT_ONCE {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = (AT_ONCE - self.unseen).min(buffer.remaining()) - ROOM;
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read_buf(&mut buffer.limit(most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }

    /// Writes the refusal, for which actix meant to write `instead_of` bytes.
    fn poll_refuse(&mut self, cx: &mut Context<'_>, instead_of: usize) -> Poll<io::Result<usize>> {
        while self.refusal.has_remaining() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.refusal))?;
            self.refusal.advance(written);
        }
        Poll::Ready(Ok(instead_of))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = self.poll_some(cx, buffer) {
            let received = buffer.filled().len() - before;
            self.unseen += received;
            if received > 0 {
                self.connection.received();
            }
            return Poll::Ready(read);
        }
        // actix looks at what it has once nothing more comes.
        self.unseen = 0;
        ready!(self.poll_overdue(cx));
        if !self.is_mid_answer {
            self.refusal = rendered(Refusal::SlowHead);
            // A client that does not even take these few bytes is not waited for.
            let _ = self.poll_refuse(cx, 0);
        }
        // As if the client had closed: what is left of the connection ends.
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.refusal.has_remaining() {
            return self.poll_refuse(cx, bytes.len());
        }
        if !self.is_mid_answer
            && self.connection.head_due_since().is_some()
            && let Some(refusal) = refused_by_actix(bytes)
        {
            self.refusal = rendered(refusal);
            return self.poll_refuse(cx, bytes.len());
        }
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
        self.is_mid_answer = written < bytes.len();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// What actix refuses by these bytes, before any handler has seen a request: it answers a head it cannot take with a status alone.
fn refused_by_actix(answer: &[u8]) -> Option<Refusal> {
    let rest = answer.strip_prefix(b"HTTP/1.1 ")?.strip_suffix(b"\r\n\r\n")?;
    match rest.get(..4)? {
        b"400 " => Some(Refusal::BadRequest("the request is not well-formed HTTP/1.1")),
        b"431 " => Some(Refusal::HeadTooLarge),
        _ => None,
    }
}

/// A refusal as the bytes of an answer that closes its connection.
fn rendered(refusal: Refusal) -> Bytes {
    let id = answer::request_id(&HeaderMap::new());
    let (response, body) = answer::refused(&refusal.into(), &id).into_parts();
    let body = BoxBody::try_into_bytes(body).unwrap_or_default();
    let status = response.status();
    let mut bytes = format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    bytes.extend_from_slice(format!("content-length: {}\r\nconnection: close\r\ndate: {date}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Reads as actix does: until nothing more comes, into a buffer that has always room.
    async fn read_at_once(client: &mut ClientStream) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 << 20);
        poll_fn(|cx| {
            while let Poll::Ready(read) = tokio_util::io::poll_read_buf(Pin::new(&mut *client), cx, &mut bytes) {
                if read.unwrap() == 0 {
                    return Poll::Ready(());
                }
            }
            if bytes.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        bytes
    }

    #[actix_web::test]
    #[allow(clippy::disallowed_methods, reason = "the peer is the test's own")]
    async fn a_large_body_comes_in_parts_and_whole_and_a_small_one_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for size in [10, AT_ONCE - ROOM, AT_ONCE, 300_000] {
            let sent: Vec<u8> = (0..size).map(|nth| nth as u8).collect();
            let mut peer = TcpStream::connect(address).await.unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let mut client = ClientStream::new(socket, Duration::from_secs(60));
            let body = sent.clone();
            let sending = actix_web::rt::spawn(async move {
                peer.write_all(&body).await.unwrap();
                peer
            });
            let mut received = Vec::new();
            while received.len() < size {
                let part = read_at_once(&mut client).await;
                assert!(!part.is_empty() && part.len() < AT_ONCE, "{size}: {}", part.len());
                received.extend(part);
            }
            assert!(received == sent, "{size}");
            drop(sending.await.unwrap());
        }
    }
}
