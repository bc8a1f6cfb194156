//! Each row of 7.4, at its limit and one above it, with small limits. Slow peers are in `slow`.

use std::time::Instant;

use serde_json::json;

use super::{raw, statuses};
use crate::support::client::Connection;
use crate::support::own_gateway::OwnGateway;
use crate::support::test_gateway::{keyless, models, session};
use crate::support::upstream::{Answer, Gate, chunk, completion};
use crate::support::{LIMIT, eventually};

const ONCE: &str = "[retry]\nattempts = 1\ncooldown = { failures = 0, window = \"30s\", rest = \"15s\" }\n";

#[test]
fn a_head_that_is_too_large_or_has_too_many_lines_gets_431() {
    let session = session();
    let address = session.shared.gateway.address;
    for head in [format!("x-long: {}\r\n", "x".repeat(130 << 10)), "x-many: 1\r\n".repeat(97)] {
        let answer = raw(address, format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n").as_bytes());
        assert_eq!(statuses(&answer), [431], "{answer}");
        assert!(answer.contains(r#""code":"headers_too_large""#) && answer.contains("connection: close"), "{answer}");
    }
    let fits = "x-many: 1\r\n".repeat(94);
    let answer = raw(address, format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fits}\r\n").as_bytes());
    assert_eq!(statuses(&answer), [200], "{answer}");
}

#[test]
fn a_body_of_exactly_the_limit_passes_and_one_byte_more_closes_the_connection() {
    let own = OwnGateway::new("max_body = \"64KiB\"", "");
    let body = own.body().to_string();
    let fits = format!("{body}{}", " ".repeat((64 << 10) - body.len()));
    for (body, status) in [(fits.clone(), 200), (format!("{fits} "), 413)] {
        let mut whole = own.head(&format!("content-length: {}\r\nconnection: close\r\n", body.len()));
        whole.extend_from_slice(body.as_bytes());
        assert_eq!(statuses(&raw(own.gateway.address, &whole)), [status]);
        let mut chunked = own.head("transfer-encoding: chunked\r\nconnection: close\r\n");
        chunked.extend_from_slice(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes());
        assert_eq!(statuses(&raw(own.gateway.address, &chunked)), [status]);
    }
    assert_eq!(own.script.calls().len(), 2);
}

#[test]
fn endless_chunks_are_not_read_beyond_the_limit() {
    let own = OwnGateway::new("max_body = \"64KiB\"", "");
    // The request does not ask for a close; the gateway closes the connection. It keeps reading for
    // one second, so that a client that sends everything before it reads still gets the answer.
    let is_cut_off = |head: Vec<u8>| {
        let mut connection = Connection::open(own.gateway.address);
        connection.write(&head);
        let piece = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
        let started_at = Instant::now();
        while started_at.elapsed() < LIMIT {
            if !connection.try_write(piece.as_bytes()) {
                return true;
            }
        }
        false
    };
    assert!(is_cut_off(own.head("transfer-encoding: chunked\r\n")), "chunks are read for as long as they come");
    let nobody = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    assert!(is_cut_off(nobody), "chunks are read for as long as they come, and without a key");
}

#[test]
fn json_depth_and_size_are_limited() {
    let session = session();
    let strings = format!("[{}\"\"]", "\"\",".repeat(100_001));
    let keys = format!("[{}{{}}]", "{\"a\":0},".repeat(200_001));
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    for member in [deep, strings, keys] {
        let body = format!(r#"{{"model":"solo","messages":[],"x":{member}}}"#);
        let response = session.shared.gateway.request("POST", "/v1/chat/completions").bearer(&session.key.secret);
        let encoded = zstd::stream::encode_all(body.as_bytes(), 1).unwrap();
        let response = response.header("content-type", "application/json").header("content-encoding", "zstd").body(&encoded).send();
        // The shared gateway accepts bodies of up to 1 MiB.
        assert!(matches!(response.status, 400 | 413), "{}", response.text());
    }
    let fits = format!("{}{}", "[".repeat(63), "]".repeat(63));
    let body = format!(r#"{{"model":"solo","messages":[],"x":{fits},"x_script":"MARK"}}"#);
    session.raw("/v1/chat/completions", &body).send().expect(200);
}

#[test]
fn bodies_in_flight_share_one_memory_limit() {
    let own = OwnGateway::new("max_body = \"1MiB\"\nbuffer_budget = \"1MiB\"", ONCE);
    let gate = Gate::default();
    let waiting = Answer::head(200).gate(&gate).before_head().piece(completion("x").to_string().as_bytes());
    own.script.on("alpha", [waiting, Answer::good()]);
    let mut large = own.body();
    large["x"] = json!("x".repeat(800 << 10));
    let large = own.gateway.chat(&own.key, &large);
    let first = large.start();
    own.script.arrived(1);
    let refused = large.send();
    refused.error(503, "server_error", "overloaded");
    assert!(refused.header("retry-after").is_some());
    own.chat(false).send().expect(200);
    gate.open();
    first.reply().whole().expect(200);
    eventually("the budget to be given back", || (large.send().status == 200).then_some(()));
}

#[test]
fn a_declared_length_alone_reserves_no_memory() {
    let own = OwnGateway::new("max_body = \"1MiB\"\nbuffer_budget = \"1MiB\"", "");
    let idle: Vec<_> = (0..8)
        .map(|_| {
            let mut connection = Connection::open(own.gateway.address);
            connection.write(&own.head("content-length: 1000000\r\n"));
            connection
        })
        .collect();
    own.chat(false).send().expect(200);
    drop(idle);
}

#[test]
fn an_answer_over_the_memory_limit_fails_its_call() {
    let own = OwnGateway::new("max_body = \"1MiB\"\nbuffer_budget = \"1MiB\"", ONCE);
    own.script.on("alpha", [Answer::json(200, &completion(&"x".repeat(2 << 20))), Answer::good()]);
    own.chat(false).send().error(502, "upstream_error", "all_providers_failed");
    own.chat(false).send().expect(200);
}

#[test]
fn an_event_over_the_memory_limit_breaks_its_stream() {
    let own = OwnGateway::new("max_body = \"1MiB\"\nbuffer_budget = \"1MiB\"", ONCE);
    let large = chunk(json!({"content": "x".repeat(2 << 20)}), json!(null));
    own.script.on("alpha", [Answer::stream().delta("hi").event(&large).event("[DONE]"), Answer::good()]);
    let frames = own.chat(true).open().frames();
    assert!(frames.last().is_some_and(|frame| frame.contains("upstream_interrupted")), "{} frames", frames.len());
    assert_eq!(own.chat(true).open().frames().last().map(String::as_str), Some("data: [DONE]"));
}

#[test]
fn lines_and_events_are_limited_in_size() {
    let own = OwnGateway::new("", &format!("{ONCE}\n[upstream]\nmax_line = \"16KiB\"\nmax_event = \"32KiB\"\n"));
    let line = |length: usize| chunk(json!({"content": "x".repeat(length)}), json!(null));
    let event = |lines: usize| {
        format!(
            "{}data: {}\n\n",
            ": comment of a hundred bytes or so, which counts as much as anything else in an event does here\n".repeat(lines),
            line(10)
        )
    };
    for (answer, passes) in [
        (Answer::stream().delta("hi").event(&line(15 << 10)), true),
        (Answer::stream().delta("hi").event(&line(17 << 10)), false),
        (Answer::stream().delta("hi").piece(event(200).as_bytes()), true),
        (Answer::stream().delta("hi").piece(event(400).as_bytes()), false),
        (Answer::stream().delta("hi").piece(&b"x".repeat(20 << 10)), false),
    ] {
        own.script.on("alpha", [answer.event("[DONE]")]);
        let frames = own.chat(true).open().frames();
        assert_eq!(frames.last().map(String::as_str) == Some("data: [DONE]"), passes, "{:?}", frames.last());
    }
}

#[test]
fn comments_before_the_first_event_are_limited() {
    let own = OwnGateway::new("", &format!("{ONCE}\n[upstream]\nmax_event = \"32KiB\"\n"));
    let comments = (0..100).fold(Answer::stream(), |answer, _| answer.piece(format!(": {}\n\n", "x".repeat(1000)).as_bytes()));
    own.script.on("alpha", [comments.hang()]);
    own.chat(true).send().error(502, "upstream_error", "all_providers_failed");
}

#[test]
fn a_whole_answer_is_limited_with_any_framing() {
    let own = OwnGateway::new("", &format!("{ONCE}\n[upstream]\nmax_body = \"16KiB\"\n"));
    let body = |length: usize| completion(&"x".repeat(length)).to_string();
    for (length, passes) in [(15 << 10, true), (16 << 10, false)] {
        let whole = Answer::text(200, "application/json", &body(length));
        let chunked = body(length)
            .as_bytes()
            .chunks(1000)
            .fold(Answer::head(200).header("content-type", "application/json").chunked(), |answer, piece| answer.piece(piece));
        for answer in [whole, chunked] {
            own.script.on("alpha", [answer]);
            assert_eq!(own.chat(false).send().status, if passes { 200 } else { 502 });
        }
    }
}

#[test]
fn an_error_body_is_limited_in_size() {
    let own = OwnGateway::new("", &format!("{ONCE}\n[upstream]\nmax_error_body = \"4KiB\"\n"));
    let error = |length: usize| json!({"error": {"message": "x".repeat(length), "type": "t", "param": null, "code": "c"}});
    own.script.on("alpha", [Answer::json(400, &error(3 << 10)), Answer::json(400, &error(4 << 10)), Answer::json(429, &error(4 << 10))]);
    own.chat(false).send().error(400, "t", "c");
    own.chat(false).send().error(502, "upstream_error", "all_providers_failed");
    own.chat(false).send().error(429, "upstream_error", "all_providers_failed");
}

#[test]
fn an_unrequested_content_encoding_is_a_failure() {
    for encoding in ["gzip", "br", "zstd", "deflate", "identity, gzip"] {
        let session = session();
        session.script.on("alpha", [Answer::json(200, &completion("x")).header("content-encoding", encoding)]);
        session.chat("solo").send().error(502, "upstream_error", "all_providers_failed");
        assert!(session.script.calls().iter().all(|call| call.headers.get("accept-encoding") == Some("identity")));
    }
}

#[test]
fn a_large_event_passes_in_parts_and_whole() {
    let own = OwnGateway::new("", &format!("{ONCE}\n[upstream]\nstream_buffer = \"16KiB\"\n"));
    let large = chunk(json!({"content": "x".repeat(400 << 10)}), json!(null));
    own.script.on("alpha", [Answer::stream().delta("hi").event(&large).delta("bye").event("[DONE]")]);
    let frames = own.chat(true).open().frames();
    assert_eq!(frames.len(), 4);
    assert_eq!(frames[1], format!("data: {large}"));
}

#[test]
fn connections_per_address_are_limited() {
    let upstream = crate::support::upstream::Upstream::start();
    // The harness uses connections to poll for readiness, two at a time.
    let gateway = crate::support::gateway::Setup::new()
        .server("max_connections_per_address = 3")
        .provider("alpha.toml", &keyless("alpha", "1-alpha", &upstream.base_url("alpha")))
        .provider("models.toml", &models(&[("solo", &["alpha"])]))
        .start();
    let held: Vec<_> = (0..3).map(|_| held(&gateway)).collect();
    assert!(gateway.get("/healthz").start().try_reply().is_err(), "a fourth connection was answered");
    drop(held);
    eventually("a place for another connection", || {
        gateway.get("/healthz").start().try_reply().ok().map(|reply| assert_eq!(reply.status, 200))
    });
}

/// Returns a connection that the gateway has accepted and keeps.
fn held(gateway: &crate::support::gateway::Gateway) -> Connection {
    eventually("a connection to be taken", || {
        let mut connection = Connection::open(gateway.address);
        connection.try_write(&gateway.get("/healthz").wire()).then_some(())?;
        connection.try_answer().then_some(connection)
    })
}
