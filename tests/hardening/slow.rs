//! Slow peers: clients that send slowly, clients that read slowly.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{raw, statuses};
use crate::support::LIMIT;
use crate::support::client::Connection;
use crate::support::eventually;
use crate::support::own_gateway::OwnGateway;
use crate::support::upstream::{Answer, completion, delta};

#[test]
fn a_body_that_does_not_begin_gets_408_and_the_connection_is_closed() {
    let own = OwnGateway::new("body_start_timeout = \"100ms\"", "");
    let answer = raw(own.gateway.address, &own.head("content-length: 100\r\n"));
    assert_eq!(statuses(&answer), [408], "{answer}");
    assert!(answer.contains("request_timeout") && answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    let answer = raw(own.gateway.address, &own.head("transfer-encoding: chunked\r\n"));
    assert_eq!(statuses(&answer), [408], "{answer}");
    assert!(own.script.calls().is_empty());
}

#[test]
fn a_body_below_the_minimum_rate_gets_408_and_a_faster_one_passes() {
    let own = OwnGateway::new("body_start_timeout = \"5s\"\nmin_body_rate = \"1MiB\"\nbody_rate_grace = \"100ms\"", "");
    let mut slow = own.head("content-length: 100000\r\n");
    slow.extend_from_slice(&[b' '; 1000]);
    assert_eq!(statuses(&raw(own.gateway.address, &slow)), [408]);
    let body = own.body().to_string();
    let mut quick = own.head(&format!("content-length: {}\r\nconnection: close\r\n", body.len()));
    quick.extend_from_slice(body.as_bytes());
    assert_eq!(statuses(&raw(own.gateway.address, &quick)), [200]);
}

#[test]
fn a_body_that_takes_too_long_in_all_gets_408() {
    let own = OwnGateway::new("body_timeout = \"200ms\"\nmin_body_rate = \"0B\"", "");
    let mut slow = own.head("content-length: 100000\r\n");
    slow.extend_from_slice(&[b' '; 90_000]);
    assert_eq!(statuses(&raw(own.gateway.address, &slow)), [408]);
}

#[test]
fn a_head_that_does_not_end_gets_408() {
    let own = OwnGateway::new("header_timeout = \"1s\"", "");
    for started in ["", "G", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let answer = raw(own.gateway.address, started.as_bytes());
        assert_eq!(statuses(&answer), [408], "{started:?}: {answer}");
        assert!(answer.contains(r#""code":"request_timeout""#) && answer.contains("connection: close"), "{answer}");
    }
}

#[test]
fn the_time_for_a_later_head_starts_with_its_first_byte() {
    let own = OwnGateway::new("header_timeout = \"1s\"\nkeep_alive = \"60s\"", "");
    for drips in [false, true] {
        let mut stream = TcpStream::connect(own.gateway.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let (mut answers, mut buffer, mut started) = (Vec::new(), [0; 4096], None);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => answers.extend_from_slice(&buffer[..read]),
                // The read timeout sets the pace of the bytes.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if started.is_none() || drips {
                        let _ = stream.write_all(b"G");
                    }
                    assert!(started.get_or_insert_with(Instant::now).elapsed() < LIMIT, "a head that is never complete is waited for");
                }
                Err(_) => break,
            }
        }
        assert_eq!(statuses(&String::from_utf8_lossy(&answers)), [200, 408]);
        assert!(started.is_some_and(|started| started.elapsed() >= Duration::from_millis(900)));
    }
}

#[test]
fn a_partial_pipelined_head_is_kept_like_an_idle_connection() {
    let own = OwnGateway::new("header_timeout = \"1s\"\nkeep_alive = \"1s\"", "");
    let answer = raw(own.gateway.address, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /heal");
    assert_eq!(statuses(&answer), [200], "{answer}");
}

#[test]
fn a_stream_is_not_cut_by_the_header_timeout() {
    let own = OwnGateway::new("header_timeout = \"1s\"\nkeep_alive = \"1s\"", "");
    own.script.on("alpha", [Answer::stream().delta("a").pause(Duration::from_millis(1500)).delta("b").event("[DONE]")]);
    let mut request = own.chat(true).wire();
    request.extend_from_slice(b"GET /healthz HT");
    let answer = raw(own.gateway.address, &request);
    assert_eq!(statuses(&answer)[0], 200);
    assert!(answer.contains("[DONE]"), "{answer}");
}

#[test]
fn an_unread_stream_is_cut_off_with_its_upstream_call() {
    let own = OwnGateway::new("write_timeout = \"200ms\"", "");
    let event = format!("data: {}\n\n", delta(&"x".repeat(60_000)));
    let endless = (0..2000).fold(Answer::stream(), |answer, _| answer.piece(event.as_bytes()));
    own.script.on("alpha", [endless.hang()]);
    let connection = own.chat(true).header("x-request-id", "slow-reader-1").start();
    own.script.gone();
    let entry = own.gateway.entry("slow-reader-1");
    assert_eq!((&entry["outcome"], &entry["error_code"]), (&"client_closed".into(), &"client_stalled".into()), "{entry}");
    drop(connection);
}

#[cfg(target_os = "linux")]
#[test]
fn an_unread_whole_answer_does_not_hold_its_connection() {
    // One connection for the unread answer, one to check whether it is still open.
    let own = OwnGateway::new("write_timeout = \"300ms\"\nmax_connections_per_address = 2", "");
    own.script.on("alpha", [Answer::json(200, &completion(&"x".repeat(32 << 20)))]);
    let unread = own.chat(false).start();
    own.script.until("the answer to be given", |calls| calls.first().and_then(|call| call.done));
    let second = Connection::open(own.gateway.address);
    eventually("the connection of the slow reader to be given up", || own.gateway.get("/healthz").start().try_reply().ok().map(drop));
    drop((unread, second));
}
