//! A client's connection as actix reads and writes it, with two things actix does not do: every head has a time to arrive in (actix
//! times a connection's first alone, and a later one that has begun not at all), and a head that is refused is told why.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::header::HeaderMap;
use actix_web::rt::net::TcpStream;
use bytes::{Buf, Bytes};
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
}

impl ClientStream {
    pub(super) fn new(socket: TcpStream, header_timeout: Duration) -> Self {
        Self { socket, connection: Connection::new(), header_timeout, alarm: None, is_mid_answer: false, refusal: Bytes::new() }
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
        if let Poll::Ready(read) = Pin::new(&mut self.socket).poll_read(cx, buffer) {
            if buffer.filled().len() > before {
                self.connection.received();
            }
            return Poll::Ready(read);
        }
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
