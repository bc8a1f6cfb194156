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

use super::client::ClientConnection;
use crate::gateway::refusal::Refusal;
use crate::http::response;
use crate::surface::operations;

/// A client's connection.
pub struct ClientStream {
    socket: TcpStream,
    connection: Rc<ClientConnection>,
    header_timeout: Duration,
    /// Rings when the oldest head that it was set for is overdue; set anew only then, so that most requests never touch it.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Some of an answer is written, the rest is not.
    is_mid_answer: bool,
    /// What is left to write of the refusal that takes the place of actix's.
    refusal: Bytes,
    /// Bytes that were read and that actix has not looked at yet.
    unseen: usize,
    /// The last byte of a full part, kept back so that there is always one with which the next part begins.
    kept: Option<u8>,
}

/// Once actix's buffer is as large, about as much is read before it is looked at. actix itself reads on for as long as there is
/// something, up to 128 KiB, and copies all of it each time its buffer becomes too small.
const AT_ONCE: usize = 32 << 10;
/// Where there is less room than this, actix makes room: at the buffer's beginning where all of it was looked at and nobody holds on to
/// it, or else by another buffer.
const ROOM: usize = 1 << 10;

impl ClientStream {
    pub(super) fn new(socket: TcpStream, header_timeout: Duration) -> Self {
        Self {
            socket,
            connection: ClientConnection::new(),
            header_timeout,
            alarm: None,
            is_mid_answer: false,
            refusal: Bytes::new(),
            unseen: 0,
            kept: None,
        }
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// What is known of it.
    pub fn connection(&self) -> &Rc<ClientConnection> {
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

    /// Reads into `buffer`; when a part is full, there is nothing until it has been looked at.
    ///
    /// A full part leaves a buffer of [`AT_ONCE`] just so much room that actix does not make more, and the byte that was kept back takes
    /// the room that makes it do so. Then the whole buffer is free, and a part is one read, not a small one to the buffer's end and another
    /// from its beginning.
    fn poll_some(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.kept.is_some() && self.unseen > 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(byte) = self.kept.take() {
            buffer.put_slice(&[byte]);
            return Poll::Ready(Ok(()));
        }
        let room = buffer.remaining();
        if self.unseen + room < AT_ONCE || room <= ROOM {
            return Pin::new(&mut self.socket).poll_read(cx, buffer);
        }
        let part = room.min(AT_ONCE) - ROOM + 1;
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read_buf(&mut buffer.limit(part)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(read) => {
                    if read == part {
                        self.kept = buffer.filled().last().copied();
                        buffer.set_filled(buffer.filled().len() - 1);
                    }
                    return Poll::Ready(Ok(()));
                }
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
    let id = response::request_id(&HeaderMap::new());
    let (response, body) = response::refused(&refusal.into(), operations::DEFAULT, &id).into_parts();
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

    use bytes::BytesMut;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Reads as actix does: until nothing more comes, into a buffer that is given room whenever little is left.
    async fn read_at_once(client: &mut ClientStream, buffer: &mut BytesMut) {
        poll_fn(|cx| {
            loop {
                let room = buffer.capacity() - buffer.len();
                if room < 1024 {
                    buffer.reserve(8192 - room);
                }
                match tokio_util::io::poll_read_buf(Pin::new(&mut *client), cx, buffer) {
                    Poll::Ready(read) => assert!(read.unwrap() > 0, "the end of the connection"),
                    Poll::Pending if buffer.is_empty() => return Poll::Pending,
                    Poll::Pending => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    #[actix_web::test]
    #[allow(clippy::disallowed_methods, reason = "the peer is the test's own")]
    async fn a_large_body_comes_in_parts_and_whole_and_a_small_one_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for size in [10, AT_ONCE - ROOM, AT_ONCE - ROOM + 1, AT_ONCE, 300_000] {
            let sent: Vec<u8> = (0..size).map(|nth| nth as u8).collect();
            let mut peer = TcpStream::connect(address).await.unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let mut client = ClientStream::new(socket, Duration::from_secs(60));
            let body = sent.clone();
            let sending = actix_web::rt::spawn(async move {
                peer.write_all(&body).await.unwrap();
                peer
            });
            let (mut received, mut buffer, mut full_parts) = (Vec::new(), BytesMut::with_capacity(8192), 0);
            while received.len() < size {
                read_at_once(&mut client, &mut buffer).await;
                let is_full = client.kept.is_some();
                // It leaves the room that the byte that was kept back takes away: the next begins where the buffer does.
                assert!(!is_full || buffer.capacity() != AT_ONCE || buffer.capacity() - buffer.len() == ROOM, "{size}");
                full_parts += usize::from(is_full);
                let part = buffer.split();
                assert!(part.len() < 2 * AT_ONCE, "{size}: {}", part.len());
                received.extend_from_slice(&part);
            }
            assert!(full_parts > 0 || size < 300_000);
            assert!(received == sent, "{size}");
            drop(sending.await.unwrap());
        }
    }
}
