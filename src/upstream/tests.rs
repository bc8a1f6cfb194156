//! Calls against a raw TCP peer: no gateway, no HTTP library on the other side.

use std::time::Instant;

use actix_web::http::Uri;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::memory::MemoryCapacity;
use error::Retry;
use resolver::DnsResolver;

const IDLE: Duration = Duration::from_secs(10);

/// Upstream that may reach loopback.
fn upstream() -> Upstream {
    let network = Network { resolver: Arc::new(DnsResolver::start().unwrap()), self_listen: SelfListen::default() };
    Upstream::new(&network, UpstreamPolicy { source: connector::tests::private(), connect_timeout: IDLE })
}

async fn listen() -> (TcpListener, Uri) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/v1/chat", listener.local_addr().unwrap()).parse().unwrap();
    (listener, target)
}

/// Reads one request with a body of two bytes, and writes `response`.
async fn serve(peer: &mut TcpStream, response: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n{}") {
        assert_ne!(peer.read_buf(&mut request).await.unwrap(), 0, "the client closed the connection");
    }
    peer.write_all(response.as_bytes()).await.unwrap();
    String::from_utf8(request).unwrap()
}

async fn send(upstream: &Upstream, target: &Uri, head_timeout: Duration) -> Result<UpstreamResponse, Error> {
    let now = Instant::now();
    let request = Request {
        target,
        forwarded: &[],
        headers: &[],
        more: &[],
        content_type: "application/json",
        credential: None,
        body: Bytes::from_static(b"{}"),
        started_at: now,
        head_deadline: now + head_timeout,
    };
    upstream.exchange(request).await
}

/// Collects a body.
async fn read(body: ResponseBody) -> Result<Bytes, Error> {
    body.collect(1_000, IDLE, &mut MemoryCapacity::new(1_000).reservation()).await
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nset-cookie: a=b\r\ncontent-length: 2\r\n\r\nok";

#[actix_web::test]
async fn the_connection_is_reused_after_a_body_that_was_read_to_its_end() {
    let (listener, target) = listen().await;
    let upstream = upstream();
    let serving = async {
        let mut peer = listener.accept().await.unwrap().0;
        (serve(&mut peer, OK).await, serve(&mut peer, OK).await)
    };
    let calling = async {
        for _ in 0..2 {
            let response = send(&upstream, &target, IDLE).await.unwrap();
            assert_eq!((response.head.status, response.head.text("set-cookie")), (200, Some("a=b")));
            assert_eq!(read(response.body).await.unwrap(), "ok");
        }
    };
    let ((first, second), ()) = futures_util::future::join(serving, calling).await;
    assert_eq!(first, second);
    assert!(first.starts_with("POST /v1/chat HTTP/1.1\r\n") && first.contains("\r\ncontent-type: application/json\r\n"));
}

#[actix_web::test]
async fn a_body_that_is_dropped_before_its_end_closes_its_connection() {
    let (listener, target) = listen().await;
    let upstream = upstream();
    let serving = async {
        let mut peer = listener.accept().await.unwrap().0;
        serve(&mut peer, OK).await;
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
        serve(&mut listener.accept().await.unwrap().0, OK).await;
    };
    let calling = async {
        drop(send(&upstream, &target, IDLE).await.unwrap());
        read(send(&upstream, &target, IDLE).await.unwrap().body).await.unwrap()
    };
    assert_eq!(futures_util::future::join(serving, calling).await.1, "ok");
}

#[actix_web::test]
async fn a_reused_connection_that_breaks_before_the_head_may_be_retried_at_once() {
    let (listener, target) = listen().await;
    let upstream = upstream();
    let serving = async {
        let mut peer = listener.accept().await.unwrap().0;
        serve(&mut peer, OK).await;
        serve(&mut peer, "").await;
        drop(peer);
        let mut peer = listener.accept().await.unwrap().0;
        serve(&mut peer, "").await;
    };
    let calling = async {
        read(send(&upstream, &target, IDLE).await.unwrap().body).await.unwrap();
        let stale = send(&upstream, &target, IDLE).await.err().unwrap();
        let fresh = send(&upstream, &target, IDLE).await.err().unwrap();
        [stale, fresh].map(|error| (error.stage, error.class, error.retry))
    };
    let (_, got) = futures_util::future::join(serving, calling).await;
    let expected = [Retry::Immediately, Retry::AfterBackoff].map(|retry| (Stage::Head, Class::Disconnected, retry));
    assert_eq!(got, expected);
}

#[actix_web::test]
async fn a_response_that_cannot_be_relayed_faithfully_is_an_error() {
    let cases = [
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Class::Informational, None),
        ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok", Class::Encoded, Some(200)),
        ("HTTP/1.1 500 Oh\r\n\r\n", Class::Framing, Some(500)),
        ("SSH-2.0\r\n\r\n", Class::NotHttp, None),
    ];
    for (response, class, status) in cases {
        let (listener, target) = listen().await;
        let serving = async { serve(&mut listener.accept().await.unwrap().0, response).await };
        let (upstream, target) = (upstream(), target);
        let (_, got) = futures_util::future::join(serving, send(&upstream, &target, IDLE)).await;
        let error = got.err().unwrap();
        assert_eq!((error.stage, error.class, error.status), (Stage::Head, class, status), "{response}");
    }
}

#[actix_web::test]
async fn a_truncated_body_is_an_error() {
    let (listener, target) = listen().await;
    let serving = async { serve(&mut listener.accept().await.unwrap().0, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok").await };
    let upstream = upstream();
    let calling = async { read(send(&upstream, &target, IDLE).await.unwrap().body).await };
    let (_, got) = futures_util::future::join(serving, calling).await;
    assert_eq!(got, Err(Error::new(Stage::Body, Class::Truncated)));
}

#[actix_web::test]
async fn a_head_that_does_not_arrive_in_time_is_a_timeout() {
    let (_listener, target) = listen().await;
    let error = send(&upstream(), &target, Duration::from_millis(20)).await.err().unwrap();
    assert_eq!(error, Error::timeout(Stage::Head));
}

#[actix_web::test]
async fn an_address_that_the_guard_refuses_is_never_retried() {
    let target = Uri::from_static("http://169.254.169.254/latest");
    let error = send(&upstream(), &target, IDLE).await.err().unwrap();
    assert_eq!((error.stage, error.class.as_str(), error.retry), (Stage::Guard, "ssrf.addr_never", Retry::Never));
}
