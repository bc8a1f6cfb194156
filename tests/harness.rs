//! Tests of the harness, because every other suite relies on the scripted upstream and the client.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Connection, Request};
use crate::support::test_gateway::refusing;
use crate::support::upstream::{Answer, Gate, MARK, Script, Upstream, completion};

fn ask(upstream: &Upstream, script: &Script, provider: &str) -> Request {
    Request::new(upstream.address, "POST", &format!("/{provider}/v1/chat/completions")).json(&json!({"model": "m", MARK: script.mark()}))
}

#[test]
fn a_provider_without_a_script_gives_good_answers() {
    let upstream = Upstream::start();
    let script = upstream.script();
    let answer = ask(&upstream, &script, "one").send();
    assert_eq!(answer.expect(200), completion("hello from one"));
    let call = script.call();
    assert_eq!((call.provider.as_str(), call.target.as_str()), ("one", "/one/v1/chat/completions"));
    assert_eq!(call.json()["model"], "m");
}

#[test]
fn answers_come_in_turn_and_the_last_one_is_repeated() {
    let upstream = Upstream::start();
    let (script, other) = (upstream.script(), upstream.script());
    script.on("one", [Answer::error(500), Answer::error(503)]);
    let statuses: Vec<u16> = (0..3).map(|_| ask(&upstream, &script, "one").send().status).collect();
    assert_eq!(statuses, [500, 503, 503]);
    assert_eq!(ask(&upstream, &other, "one").send().status, 200, "one test's script reached another");
}

#[test]
fn every_piece_waits_for_its_gate() {
    let upstream = Upstream::start();
    let (script, gate) = (upstream.script(), Gate::default());
    script.on("one", [Answer::stream().event("first").gate(&gate).event("second")]);
    let mut reply = ask(&upstream, &script, "one").open();
    assert_eq!(reply.frame().unwrap(), "data: first");
    assert!(script.call().done.is_none(), "the second event did not wait");
    gate.open();
    assert_eq!(reply.frame().unwrap(), "data: second");
    assert!(reply.frame().is_none() && reply.complete);
}

#[test]
fn a_truncated_body_is_detected() {
    let upstream = Upstream::start();
    let script = upstream.script();
    let text = completion("x").to_string();
    script.on(
        "one",
        [
            Answer::head(200).claiming(10_000).piece(text.as_bytes()).close(),
            Answer::head(200).chunked().piece(text.as_bytes()).close(),
            Answer::head(200).until_close().piece(text.as_bytes()),
            Answer::head(200).chunked().piece(text.as_bytes()),
        ],
    );
    let complete: Vec<bool> = (0..4).map(|_| ask(&upstream, &script, "one").send().complete).collect();
    assert_eq!(complete, [false, false, true, true]);
}

#[test]
fn resets_closes_and_garbage_give_no_answer() {
    let upstream = Upstream::start();
    let script = upstream.script();
    let faults = [Answer::head(200).reset().before_head(), Answer::head(200).close().before_head(), Answer::raw(b"lorem ipsum\r\n\r\n")];
    script.on("one", faults);
    for _ in 0..3 {
        assert!(ask(&upstream, &script, "one").start().try_reply().is_err());
    }
    let (address, _held) = refusing();
    assert!(std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err());
}

#[test]
fn a_disconnected_caller_is_noticed() {
    let upstream = Upstream::start();
    let script = upstream.script();
    script.on("one", [Answer::stream().event("first").hang()]);
    for leave in [crate::support::client::Reply::disconnect, crate::support::client::Reply::reset] {
        let mut reply = ask(&upstream, &script, "one").open();
        assert!(reply.frame().is_some());
        let left = Instant::now();
        leave(reply);
        assert!(script.gone() >= left);
    }
}

#[test]
fn connections_are_counted_and_reused() {
    let upstream = Upstream::start();
    let script = upstream.script();
    let (_, connection) = ask(&upstream, &script, "one").send_over(Connection::open(upstream.address));
    let (second, _) = ask(&upstream, &script, "one").send_over(connection);
    assert_eq!(second.status, 200);
    let calls = script.calls();
    assert_eq!((calls[0].connection, calls[1].connection), (1, 1));
    assert_eq!((calls[0].earlier, calls[1].earlier), (0, 1));
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_good_stream_reports_usage_only_when_asked() {
    let upstream = Upstream::start();
    let script = upstream.script();
    for (asked, expected) in [(Value::Null, false), (json!({"include_usage": true}), true)] {
        let request = Request::new(upstream.address, "POST", "/one/v1/chat/completions")
            .json(&json!({"stream": true, "stream_options": asked, MARK: script.mark()}));
        let frames = request.open().frames();
        assert_eq!(frames.last().map(String::as_str), Some("data: [DONE]"));
        assert_eq!(frames.iter().any(|frame| frame.contains("prompt_tokens")), expected);
    }
}
