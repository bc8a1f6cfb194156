//! Connections to upstreams: the byte stream, plain or over TLS, and its read buffer.

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

/// Byte stream to an upstream.
pub enum Transport {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<AsyncTlsStream<TcpStream>>),
}

/// Connection to one upstream, idle or in use.
pub struct Connection {
    /// Byte stream.
    pub transport: Transport,
    /// ConnectionOrigin it leads to.
    pub origin: ConnectionOrigin,
    /// Bytes that were read but not parsed yet.
    pub buffer: BytesMut,
    /// Time it was opened.
    pub opened_at: Instant,
    /// Whether it has carried an exchange.
    pub is_reused: bool,
}

/// Scheme, host and port of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionOrigin(Option<Scheme>, Option<Authority>);

impl ConnectionOrigin {
    /// Returns the origin of a URI.
    pub fn of(target: &Uri) -> Self {
        Self(target.scheme().cloned(), target.authority().cloned())
    }

    /// Whether `target` has this origin. Unlike a comparison with [`of`](Self::of), this clones nothing.
    pub fn is_of(&self, target: &Uri) -> bool {
        self.0.as_ref() == target.scheme() && self.1.as_ref() == target.authority()
    }
}

impl Connection {
    /// Creates a connection that was opened `now`.
    pub fn new(transport: Transport, origin: ConnectionOrigin, now: Instant) -> Self {
        Self { transport, origin, buffer: BytesMut::new(), opened_at: now, is_reused: false }
    }
}

impl Transport {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut dyn Stream> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream),
            Transport::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, into)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = ConnectionOrigin::of(&Uri::from_static("http://host:80/a"));
        assert!(origin.is_of(&Uri::from_static("http://host:80/b?c")));
        for other in ["https://host:80/a", "http://host:81/a", "http://other:80/a", "/a"] {
            assert!(!origin.is_of(&Uri::from_static(other)), "{other}");
        }
    }

    #[actix_web::test]
    async fn a_transport_reads_and_writes_its_stream() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = crate::upstream::connector::tests::connect(listener.local_addr().unwrap()).await;
        let mut transport = Transport::Plain(stream);
        let mut peer = listener.accept().await.unwrap().0;
        assert!(transport.is_write_vectored());
        transport.write_all(b"ping").await.unwrap();
        peer.write_all(b"pong").await.unwrap();
        let (mut sent, mut received) = ([0; 4], [0; 4]);
        peer.read_exact(&mut sent).await.unwrap();
        transport.read_exact(&mut received).await.unwrap();
        assert_eq!((&sent, &received), (b"ping", b"pong"));
        transport.shutdown().await.unwrap();
        assert_eq!(peer.read(&mut sent).await.unwrap(), 0);
    }
}
