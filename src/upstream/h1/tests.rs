//! Exchanges against a peer that says exactly what a test wants, in the pieces it wants.

use std::time::Instant;

use actix_web::http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::upstream::connection::{Origin, Wire};

/// A connection, and its other end.
async fn pair() -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = super::super::connector::tests::bare(address).await;
    let (peer, _) = listener.accept().await.unwrap();
    (Connection::new(Wire::Plain(stream), Origin::of(&Uri::default()), Instant::now()), peer)
}

/// Reads a request's head and `body` bytes more.
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

/// What a client sees of an answer: status, body, how the body ended, and whether the connection may be used again.
async fn seen(answer: &[u8]) -> Result<(u16, Vec<u8>, Result<(), Cut>, bool), Broken> {
    let (connection, mut peer) = pair().await;
    let answer = answer.to_vec();
    let answering = async move {
        read_request(&mut peer, 2).await;
        peer.write_all(&answer).await.unwrap();
        peer.shutdown().await.unwrap();
        peer
    };
    let asking = async {
        let (head, mut receiving) =
            exchange(connection, Bytes::from_static(HEAD), Bytes::from_static(b"{}")).await.map_err(|(broken, _)| broken)?;
        let mut body = Vec::new();
        let ended = loop {
            match receiving.next().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => break Ok(()),
                Err(cut) => break Err(cut),
            }
        };
        Ok((head.status, body, ended, receiving.into_connection().is_some()))
    };
    futures_util::future::join(asking, answering).await.0
}

#[actix_web::test]
async fn an_answer_of_a_stated_length_leaves_its_connection_free() {
    let (status, body, ended, free) = seen(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
    assert_eq!((status, body.as_slice(), ended, free), (200, b"hello".as_slice(), Ok(()), true));
}

#[actix_web::test]
async fn an_answer_in_chunks_is_complete_with_its_last_chunk_alone() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let (_, body, ended, free) = seen(format!("{head}0\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!((body.as_slice(), ended, free), (b"hello".as_slice(), Ok(()), true));
    let (_, body, ended, free) = seen(head.as_bytes()).await.unwrap();
    assert_eq!((body.as_slice(), ended, free), (b"hello".as_slice(), Err(Cut::Truncated), false));
}

#[actix_web::test]
async fn a_body_shorter_than_its_length_is_cut_short() {
    let (_, body, ended, free) = seen(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await.unwrap();
    assert_eq!((body.as_slice(), ended, free), (b"hello".as_slice(), Err(Cut::Truncated), false));
}

#[actix_web::test]
async fn before_http_1_1_a_body_ends_with_its_connection() {
    let (_, body, ended, free) = seen(b"HTTP/1.0 200 OK\r\n\r\nhello").await.unwrap();
    assert_eq!((body.as_slice(), ended, free), (b"hello".as_slice(), Ok(()), false));
}

#[actix_web::test]
async fn a_connection_that_is_to_be_closed_or_says_too_much_is_not_used_again() {
    for (answer, free) in [
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
    ] {
        assert_eq!(seen(answer.as_bytes()).await.unwrap().3, free, "{answer:?}");
    }
}

#[actix_web::test]
async fn what_is_no_answer_is_told_apart() {
    assert!(matches!(seen(b"").await, Err(Broken::Closed)));
    assert!(matches!(seen(b"HTTP/1.1 200 OK\r\ncontent-").await, Err(Broken::Closed)));
    assert!(matches!(seen(b"SSH-2.0-OpenSSH\r\n\r\n").await, Err(Broken::NotHttp)));
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(140_000));
    assert!(matches!(seen(endless.as_bytes()).await, Err(Broken::HeadTooLarge)));
}

#[actix_web::test]
async fn head_and_body_arrive_as_they_were_given() {
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
async fn an_answer_before_the_whole_request_is_sent_is_read_and_ends_the_connection() {
    let (connection, mut peer) = pair().await;
    let asking = exchange(connection, Bytes::from_static(HEAD), Bytes::from(vec![b'x'; 30_000_000]));
    let answering = async {
        // No more than the head is ever read: the rest does not fit between the two.
        read_request(&mut peer, 0).await;
        peer.write_all(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        peer
    };
    let (asked, _peer) = futures_util::future::join(asking, answering).await;
    let (head, mut receiving) = asked.map_err(|(broken, _)| broken).unwrap();
    assert_eq!(head.status, 413);
    assert_eq!(receiving.next().await.unwrap().unwrap(), "no");
    assert_eq!(receiving.next().await, Ok(None));
    assert!(receiving.into_connection().is_none());
}

#[actix_web::test]
async fn however_an_answer_is_cut_into_reads_it_is_the_same() {
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-request-id: a\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n";
    for cut in 1..answer.len() {
        let (connection, mut peer) = pair().await;
        let asking = async {
            let answered = exchange(connection, Bytes::from_static(HEAD), Bytes::from_static(b"{}")).await;
            let (head, mut receiving) = answered.map_err(|(broken, _)| broken).unwrap();
            let mut body = Vec::new();
            while let Some(piece) = receiving.next().await.unwrap() {
                body.extend_from_slice(&piece);
            }
            (head.status, body, receiving.into_connection().is_some())
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
