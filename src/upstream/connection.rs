//! The bytes between this process and an upstream: plain or over TLS, and what was read ahead of them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_tls::connect::rustls_0_23::reexports::AsyncTlsStream;
use actix_web::http::Uri;
use actix_web::http::uri::{Authority, Scheme};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream to an upstream.
pub enum Wire {
    /// TCP.
    Plain(TcpStream),
    /// TLS over it.
    Tls(Box<AsyncTlsStream<TcpStream>>),
}

/// A connection to one upstream, between two exchanges or within one.
pub struct Connection {
    /// The stream.
    pub wire: Wire,
    /// Where it leads.
    pub origin: Origin,
    /// What was read and not looked at yet.
    pub buffer: BytesMut,
    /// When it was opened.
    pub opened: Instant,
    /// Whether it has carried an exchange before.
    pub is_reused: bool,
}

/// Where a connection leads: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Option<Scheme>, Option<Authority>);

impl Origin {
    /// Of a URI.
    pub fn of(target: &Uri) -> Self {
        Self(target.scheme().cloned(), target.authority().cloned())
    }

    /// Whether it is that of a URI.
    pub fn is_of(&self, target: &Uri) -> bool {
        self.0.as_ref() == target.scheme() && self.1.as_ref() == target.authority()
    }
}

impl Connection {
    /// A new one.
    pub fn new(wire: Wire, origin: Origin, now: Instant) -> Self {
        Self { wire, origin, buffer: BytesMut::new(), opened: now, is_reused: false }
    }
}

impl Wire {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut dyn Stream> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream),
            Wire::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
