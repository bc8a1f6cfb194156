//! Streams: relayed as they arrive, ended with an error if truncated, cancelled when the client
//! disconnects.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::test_gateway::{Session, session};
use crate::support::unique;
use crate::support::upstream::{Answer, Gate, chunk, delta, good_usage, usage_chunk};

/// Sends `pieces` to a streaming request and returns the body that the client received.
fn relayed(session: &Session<'_>, pieces: impl IntoIterator<Item = Vec<u8>>) -> String {
    let answer = pieces.into_iter().fold(Answer::stream(), |answer, piece| answer.piece(&piece));
    session.script.on("alpha", [answer]);
    let response = session.streamed("solo").send();
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.complete, "the framing broke off");
    response.text()
}

fn last(frames: &[String]) -> Value {
    let data = frames.last().and_then(|frame| frame.strip_prefix("data: ")).unwrap_or_else(|| panic!("{frames:?}"));
    serde_json::from_str(data).unwrap_or_else(|_| panic!("the last frame is {data:?}"))
}

#[test]
fn each_chunk_reaches_the_client_before_the_next_is_sent() {
    let session = session();
    let gates: Vec<Gate> = (0..20).map(|_| Gate::default()).collect();
    let answer =
        gates.iter().enumerate().fold(Answer::stream().delta("first"), |answer, (nth, gate)| answer.gate(gate).delta(&nth.to_string()));
    session.script.on("alpha", [answer.event("[DONE]")]);
    let mut reply = session.streamed("solo").open();
    assert_eq!(reply.frame().unwrap(), format!("data: {}", delta("first")));
    for (nth, gate) in gates.iter().enumerate() {
        gate.open();
        assert_eq!(reply.frame().unwrap(), format!("data: {}", delta(&nth.to_string())));
    }
    assert_eq!(reply.frames(), ["data: [DONE]"]);
    assert!(reply.complete);
}

#[test]
fn an_event_passes_as_soon_as_it_is_complete() {
    let session = session();
    let (gate, event) = (Gate::default(), format!("data: {}\n\n", delta("halved")));
    let (one, other) = event.as_bytes().split_at(30);
    session.script.on("alpha", [Answer::stream().delta("first").piece(one).gate(&gate).piece(other).event("[DONE]")]);
    let mut reply = session.streamed("solo").open();
    assert!(reply.frame().is_some());
    gate.open();
    assert_eq!(reply.frame().unwrap(), event.trim_end());
}

#[test]
fn a_stream_has_the_right_content_type() {
    let session = session();
    let reply = session.streamed("solo").open();
    assert_eq!(reply.status, 200);
    assert!(reply.headers.get("content-type").is_some_and(|value| value.starts_with("text/event-stream")));
    assert_eq!(reply.headers.get("x-accel-buffering"), Some("no"));
    assert_eq!(reply.headers.get("x-aigw-provider"), Some("1-alpha"));
    assert_eq!(reply.headers.get("x-aigw-attempts"), Some("1"));
    for absent in ["content-length", "x-aigw-cost-usd"] {
        assert_eq!(reply.headers.get(absent), None);
    }
}

#[test]
fn the_usage_chunk_is_requested_and_shown_only_on_request() {
    let usage = json!({"prompt_tokens": 21, "completion_tokens": 4, "total_tokens": 25});
    for (options, shown) in [
        (Value::Null, false),
        (json!({"include_usage": true}), true),
        (json!({"include_usage": false}), false),
        (json!({}), false),
        (json!({"include_obfuscation": false}), false),
    ] {
        let session = session();
        session.script.on("alpha", [Answer::streamed(&["a", "b"], Some(&usage))]);
        let fields = if options.is_null() { json!({"stream": true}) } else { json!({"stream": true, "stream_options": options}) };
        let mut reply = session.chat_with("solo", fields).open();
        let frames = reply.frames();
        assert_eq!(frames.iter().any(|frame| frame.contains("prompt_tokens")), shown, "{options}: {frames:?}");
        assert_eq!((frames.len(), frames.last().map(String::as_str)), (5 + usize::from(shown), Some("data: [DONE]")));
        let sent = session.script.call().json();
        assert_eq!(sent["stream_options"]["include_usage"], true, "{options}");
        assert_eq!(sent["stream_options"]["include_obfuscation"], options["include_obfuscation"]);
        let entry = session.shared.gateway.entry(reply.headers.get("x-request-id").unwrap());
        assert_eq!((&entry["prompt_tokens"], &entry["completion_tokens"]), (&json!(21), &json!(4)));
        assert_eq!((&entry["usage_source"], &entry["stream"], &entry["outcome"]), (&json!("upstream"), &json!(true), &json!("ok")));
    }
}

#[test]
fn an_upstream_without_stream_usage_is_not_asked_and_its_tokens_are_estimated() {
    let session = session();
    session.script.on("mute", [Answer::streamed(&["nine bytes"; 9], None)]);
    let mut reply = session.streamed("mute").open();
    assert_eq!(reply.frames().last().map(String::as_str), Some("data: [DONE]"));
    assert!(session.script.call().json().get("stream_options").is_none());
    let entry = session.shared.gateway.entry(reply.headers.get("x-request-id").unwrap());
    assert_eq!(entry["usage_source"], "estimated");
    assert_eq!(entry["completion_tokens"], 30);
    assert!(
        entry["prompt_tokens"].as_u64().is_some_and(|tokens| tokens > 0) && entry["cost_nanousd"].as_u64().is_some_and(|cost| cost > 0)
    );
}

#[test]
fn usage_in_a_chunk_with_content_is_read_and_kept() {
    let session = session();
    let mut riding: Value = serde_json::from_str(&chunk(json!({}), json!("stop"))).unwrap();
    riding["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
    let body = format!("data: {}\n\ndata: {riding}\n\ndata: [DONE]\n\n", delta("x"));
    assert_eq!(relayed(&session, [body.clone().into_bytes()]), body);
    let entry = session.tenant.entries(1).remove(0);
    assert_eq!((&entry["prompt_tokens"], &entry["finish_reason"]), (&json!(3), &json!("stop")));
}

#[test]
fn a_stream_is_relayed_byte_for_byte_however_it_is_cut() {
    let session = session();
    let kept = [
        format!(": a comment\n\ndata: {}\n\n", delta("h\u{e9}llo \u{1F600}")),
        "event: odd\nid: 7\nretry: 10\ndata: {\"choices\":[], \"unknown\": 1}\n\n".to_owned(),
        format!("data:{}\r\n\r\n", delta("no space, other line ends")),
        format!("data: {}\n\n", delta(&"long ".repeat(3000))),
        ": ping\n\n".to_owned(),
        format!("data: {}\n\n", chunk(json!({}), json!("stop"))),
    ]
    .concat();
    let usage = format!("data: {}\n\n", usage_chunk(&good_usage()));
    let whole = format!("{kept}{usage}data: [DONE]\n\n");
    let expected = format!("{kept}data: [DONE]\n\n");
    for size in [1, 2, 3, 7, 64, 1021, whole.len()] {
        // Pieces of one byte each would be thousands of chunks: only the interesting parts are
        // split that fine.
        let (coarse, fine) = if size < 64 { whole.split_at(whole.len() - 700) } else { ("", whole.as_str()) };
        let pieces = coarse.as_bytes().chunks(4096).chain(fine.as_bytes().chunks(size)).map(<[u8]>::to_vec);
        assert_eq!(relayed(&session, pieces), expected, "cut into pieces of {size}");
    }
    for entry in session.tenant.entries(7) {
        assert_eq!((&entry["outcome"], &entry["prompt_tokens"]), (&json!("ok"), &json!(11)));
    }
}

#[test]
fn a_long_stream_arrives_whole() {
    let session = session();
    let body = format!("data: {}\n\n", delta(&"x".repeat(1000))).repeat(5000) + "data: [DONE]\n\n";
    let pieces = body.as_bytes().chunks(9_973).map(<[u8]>::to_vec);
    assert!(relayed(&session, pieces) == body, "a stream of 5 MB was changed");
}

#[test]
fn a_line_of_two_megabytes_passes() {
    let session = session();
    let body = format!("data: {}\n\ndata: [DONE]\n\n", delta(&"x".repeat(2_000_000)));
    assert!(relayed(&session, body.as_bytes().chunks(60_000).map(<[u8]>::to_vec)) == body);
}

#[test]
fn a_stream_broken_after_its_first_event_ends_with_an_error() {
    let started = || Answer::stream().delta("some").delta(" text");
    let broken = [
        ("reset", started().reset()),
        ("closed in the middle", started().close()),
        ("closed in the middle of an event", started().piece(b"data: {\"cho").close()),
        ("ended without its last event", started()),
        ("an error event", started().event(r#"{"error":{"message":"engine on fire","type":"server_error","code":"boom"}}"#)),
        ("a broken chunk", Answer::raw(format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\ndata: {}\n\n\r\nzzz\r\n", delta("some").len() + 8, delta("some")).as_bytes())),
    ];
    for (what, answer) in broken {
        let session = session();
        session.script.on("alpha", [answer]);
        let mut reply = session.streamed("pair").open();
        assert_eq!(reply.status, 200, "{what}");
        let frames = reply.frames();
        assert!(frames[0].contains("some"), "{what}: {frames:?}");
        let error = &last(&frames)["error"];
        assert_eq!(error["code"], "upstream_interrupted", "{what}: {frames:?}");
        assert!(error["message"].is_string() && error["type"].is_string(), "{what}: {frames:?}");
        assert!(!frames.iter().any(|frame| frame.contains("[DONE]")), "{what}: a stream cut short says [DONE]");
        assert!(reply.complete, "{what}: the framing broke off");
        assert_eq!(session.script.called(), ["alpha"], "{what}: something was sent twice");
        let entry = session.shared.gateway.entry(reply.headers.get("x-request-id").unwrap());
        assert_eq!((&entry["outcome"], &entry["status"]), (&json!("interrupted"), &json!(200)), "{what}");
        assert_eq!(entry["usage_source"], "estimated", "{what}");
        assert!(entry["completion_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{what}: {entry}");
    }
}

#[test]
fn a_silent_stream_ends_after_the_idle_timeout() {
    let session = session();
    session.script.on("hasty", [Answer::stream().delta("some").hang()]);
    let mut reply = session.streamed("hasty-first").open();
    let frames = reply.frames();
    assert_eq!(last(&frames)["error"]["code"], "upstream_interrupted");
    session.script.gone();
    assert_eq!(session.script.called(), ["hasty"]);
    let entry = session.shared.gateway.entry(reply.headers.get("x-request-id").unwrap());
    assert_eq!(entry["outcome"], "interrupted");
}

/// Disconnects a client while the upstream is silent, and returns the time until the upstream
/// notices.
fn noticed_after(leave: impl FnOnce(&Session<'_>, &str) -> Instant) -> (Duration, Value) {
    let session = session();
    let id = unique("left");
    let left = leave(&session, &id);
    let gone = session.script.gone();
    (gone.saturating_duration_since(left), session.shared.gateway.entry(&id))
}

/// A busy machine may be late once or twice; a gateway that does not cancel is always late.
fn within_100_ms(what: &str, leave: impl Fn(&Session<'_>, &str) -> Instant) -> Value {
    let mut taken = Vec::new();
    for _ in 0..5 {
        let (time, entry) = noticed_after(&leave);
        if time <= Duration::from_millis(100) {
            return entry;
        }
        taken.push(time);
    }
    panic!("{what}: the upstream call outlived the client by {taken:?}");
}

fn leave_mid_stream(session: &Session<'_>, id: &str, go: fn(Reply)) -> Instant {
    session.script.on("alpha", [Answer::stream().delta("some").delta(" text").hang()]);
    let mut reply = session.streamed("pair").header("x-request-id", id).open();
    assert!(reply.frame().is_some() && reply.frame().is_some());
    let left = Instant::now();
    go(reply);
    left
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_stream_cancels_the_call() {
    for (what, go) in [("close", Reply::disconnect as fn(Reply)), ("reset", Reply::reset)] {
        let entry = within_100_ms(what, |session, id| leave_mid_stream(session, id, go));
        assert_eq!((&entry["outcome"], &entry["usage_source"]), (&json!("client_closed"), &json!("estimated")));
        assert_eq!(entry["completion_tokens"], 3, "9 bytes were seen");
        assert_eq!(entry["attempts"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn a_client_that_leaves_before_the_head_cancels_the_call() {
    for stream in [false, true] {
        let entry = within_100_ms("before the head", |session, id| {
            session.script.on("alpha", [Answer::head(200).hang().before_head()]);
            let connection = session.chat_with("pair", json!({"stream": stream})).header("x-request-id", id).start();
            session.script.arrived(1);
            let left = Instant::now();
            drop(connection);
            left
        });
        assert_eq!((&entry["outcome"], &entry["status"]), (&json!("client_closed"), &json!(499)), "stream: {stream}");
    }
}

#[test]
fn a_client_that_leaves_before_the_first_event_cancels_the_call() {
    let entry = within_100_ms("before the first event", |session, id| {
        let gate = Gate::default();
        gate.open();
        session.script.on("alpha", [Answer::stream().piece(b": waiting\n\n").hang()]);
        let connection = session.streamed("pair").header("x-request-id", id).start();
        session.script.arrived(1);
        let left = Instant::now();
        connection.reset();
        left
    });
    assert_eq!(entry["outcome"], "client_closed");
}

#[test]
fn a_client_that_leaves_during_a_body_cancels_the_call() {
    let entry = within_100_ms("mid-body", |session, id| {
        session.script.on("alpha", [Answer::head(200).header("content-type", "application/json").claiming(1000).piece(b"{\"id\":").hang()]);
        let connection = session.chat("pair").header("x-request-id", id).start();
        session.script.arrived(1);
        let left = Instant::now();
        drop(connection);
        left
    });
    assert_eq!(entry["outcome"], "client_closed");
}

#[test]
fn legacy_completions_are_streamed_too() {
    let session = session();
    let mut reply = session.post_with("/v1/completions", "solo", json!({"stream": true, "prompt": "x"})).open();
    let frames = reply.frames();
    assert_eq!(frames.last().map(String::as_str), Some("data: [DONE]"));
    assert!(!frames.iter().any(|frame| frame.contains("prompt_tokens")), "{frames:?}");
    let entry = session.shared.gateway.entry(reply.headers.get("x-request-id").unwrap());
    assert_eq!((&entry["operation"], &entry["prompt_tokens"]), (&json!("completions"), &json!(11)));
}

#[test]
fn many_streams_at_once_do_not_mix() {
    let session = session();
    std::thread::scope(|scope| {
        for nth in 0..24 {
            let session = &session;
            scope.spawn(move || {
                let mut body = session.body("solo");
                let script = session.shared.upstream.script();
                body["x_script"] = json!(script.mark());
                body["stream"] = json!(true);
                let text = format!("stream {nth} ");
                script.on("alpha", [Answer::streamed(&[text.as_str(); 50], Some(&good_usage()))]);
                let frames = session.shared.gateway.chat(&session.key, &body).open().frames();
                assert_eq!(frames.iter().filter(|frame| frame.contains(&text)).count(), 50);
                assert_eq!(frames.len(), 53);
            });
        }
    });
    assert_eq!(session.tenant.entries(24).len(), 24);
}
