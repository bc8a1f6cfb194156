//! Exchanges with a raw TCP peer that controls the bytes and the boundaries of its writes.

use std::time::Instant;

use actix_web::http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::upstream::connection::{ConnectionOrigin, Transport};

/// Returns a connection and its peer.
async fn pair() -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = crate::upstream::connector::tests::connect(address).await;
    let (peer, _) = listener.accept().await.unwrap();
    (Connection::new(Transport::Plain(stream), ConnectionOrigin::of(&Uri::default()), Instant::now()), peer)
}

/// Reads the head of a request and `body` bytes after it.
async fn read_request(peer: &mut TcpStream, body: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n")
            && bytes.len() >= end + 4 + body
        {
            return bytes;
        }
        if peer.read_buf(&mut bytes).await.unwrap() == 0 {
            return bytes;
        }
    }
}

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n";

/// Returns the client's view of a response: status, body, end of the body, and whether the connection may be reused.
async fn received(answer: &[u8]) -> Result<(u16, Vec<u8>, Result<(), BodyError>, bool), Class> {
    let (connection, mut peer) = pair().await;
    let answer = answer.to_vec();
    let answering = async move {
        read_request(&mut peer, 2).await;
        peer.write_all(&answer).await.unwrap();
        peer.shutdown().await.unwrap();
        peer
    };
    let asking = async {
        let (head, mut reader) =
            exchange(connection, Bytes::from_static(HEAD), Bytes::from_static(b"{}")).await.map_err(|error| error.class)?;
        let mut body = Vec::new();
        let ended = loop {
            match reader.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        Ok((head.status, body, ended, reader.into_connection().is_some()))
    };
    futures_util::future::join(asking, answering).await.0
}

#[actix_web::test]
async fn a_response_of_known_length_leaves_its_connection_reusable() {
    let (status, body, ended, free) = received(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
    assert_eq!((status, body.as_slice(), ended, free), (200, b"hello".as_slice(), Ok(()), true));
}

#[actix_web::test]
async fn a_length_where_no_body_may_follow_ends_the_connection() {
    for (head, is_free) in [
        ("204 No Content\r\n", true),
        ("204 No Content\r\ncontent-length: 0\r\n", true),
        ("204 No Content\r\ncontent-length: 5\r\n", false),
        ("204 No Content\r\ntransfer-encoding: chunked\r\n", false),
        ("304 Not Modified\r\ncontent-length: 5\r\n", false),
    ] {
        let (_, body, ended, free) = received(format!("HTTP/1.1 {head}\r\n").as_bytes()).await.unwrap();
        assert_eq!((body.len(), ended, free), (0, Ok(()), is_free), "{head}");
    }
}

#[actix_web::test]
async fn a_chunked_response_is_complete_only_with_its_last_chunk() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let (_, body, ended, free) = received(format!("{head}0\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!((body.as_slice(), ended, free), (b"hello".as_slice(), Ok(()), true));
    let (_, body, ended, free) = received(head.as_bytes()).await.unwrap();
    assert_eq!((body.as_slice(), ended, free), (b"hello".as_slice(), Err(BodyError::Truncated), false));
}

#[actix_web::test]
async fn a_body_shorter_than_its_length_is_truncated() {
    let (_, body, ended, free) = received(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await.unwrap();
    assert_eq!((body.as_slice(), ended, free), (b"hello".as_slice(), Err(BodyError::Truncated), false));
}

#[actix_web::test]
async fn before_http_1_1_a_body_ends_with_its_connection() {
    let (_, body, ended, free) = received(b"HTTP/1.0 200 OK\r\n\r\nhello").await.unwrap();
    assert_eq!((body.as_slice(), ended, free), (b"hello".as_slice(), Ok(()), false));
}

#[actix_web::test]
async fn a_connection_with_close_or_extra_bytes_is_not_reused() {
    for (answer, free) in [
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
    ] {
        assert_eq!(received(answer.as_bytes()).await.unwrap().3, free, "{answer:?}");
    }
}

#[actix_web::test]
async fn invalid_heads_are_distinguished() {
    assert!(matches!(received(b"").await, Err(Class::Disconnected)));
    assert!(matches!(received(b"HTTP/1.1 200 OK\r\ncontent-").await, Err(Class::Disconnected)));
    assert!(matches!(received(b"SSH-2.0-OpenSSH\r\n\r\n").await, Err(Class::NotHttp)));
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(140_000));
    assert!(matches!(received(endless.as_bytes()).await, Err(Class::HeadTooLarge)));
}

#[actix_web::test]
async fn head_and_body_arrive_unchanged() {
    let (connection, mut peer) = pair().await;
    let body = Bytes::from(vec![b'x'; 3_000_000]);
    let asking = exchange(connection, Bytes::from_static(HEAD), body.clone());
    let answering = async {
        let request = read_request(&mut peer, body.len()).await;
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        request
    };
    let (asked, request) = futures_util::future::join(asking, answering).await;
    assert!(asked.is_ok());
    assert!(request.strip_prefix(HEAD).is_some_and(|sent| sent == body));
}

#[actix_web::test]
async fn a_response_before_the_end_of_the_request_is_read_and_ends_the_connection() {
    let (connection, mut peer) = pair().await;
    let asking = exchange(connection, Bytes::from_static(HEAD), Bytes::from(vec![b'x'; 30_000_000]));
    let answering = async {
        // No more than the head is ever read: the rest does not fit between the two.
        read_request(&mut peer, 0).await;
        peer.write_all(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        peer
    };
    let (asked, _peer) = futures_util::future::join(asking, answering).await;
    let (head, mut reader) = asked.unwrap();
    assert_eq!(head.status, 413);
    assert_eq!(reader.chunk().await.unwrap().unwrap(), "no");
    assert_eq!(reader.chunk().await, Ok(None));
    assert!(reader.into_connection().is_none());
}

#[actix_web::test]
async fn a_response_is_the_same_regardless_of_read_boundaries() {
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-request-id: a\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n";
    for cut in 1..answer.len() {
        let (connection, mut peer) = pair().await;
        let asking = async {
            let answered = exchange(connection, Bytes::from_static(HEAD), Bytes::from_static(b"{}")).await;
            let (head, mut reader) = answered.unwrap();
            let mut body = Vec::new();
            while let Some(chunk) = reader.chunk().await.unwrap() {
                body.extend_from_slice(&chunk);
            }
            (head.status, body, reader.into_connection().is_some())
        };
        let answering = async {
            peer.set_nodelay(true).unwrap();
            read_request(&mut peer, 2).await;
            peer.write_all(&answer[..cut]).await.unwrap();
            tokio::task::yield_now().await;
            peer.write_all(&answer[cut..]).await.unwrap();
        };
        let (got, ()) = futures_util::future::join(asking, answering).await;
        assert_eq!(got, (200, b"hello world".to_vec(), true), "cut at {cut}");
    }
}
