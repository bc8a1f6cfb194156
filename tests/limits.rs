//! Limits of size, time and number, for clients and upstreams.

use std::time::Duration;

use crate::support::client::Connection;
use crate::support::own_gateway::OwnGateway;
use crate::support::unique;
use crate::support::upstream::{Answer, Gate, MARK, completion, delta};

#[test]
fn requests_above_the_in_flight_limit_get_503_with_retry_after() {
    let own = OwnGateway::new("max_in_flight = 4\nworkers = 2", "");
    let gate = Gate::default();
    own.script.on("alpha", [Answer::stream().delta("x").gate(&gate).event("[DONE]")]);
    let mut streams: Vec<_> = (0..4).map(|_| own.chat(true).open()).collect();
    let refused = own.chat(false).send();
    refused.error(503, "server_error", "overloaded");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(own.gateway.get("/healthz").send().status, 200);
    gate.open();
    for stream in &mut streams {
        assert_eq!(stream.frames().last().map(String::as_str), Some("data: [DONE]"));
    }
    own.script.on("alpha", [Answer::good()]);
    crate::support::eventually("room for another", || (own.chat(false).send().status == 200).then_some(()));
}

#[test]
fn a_request_that_arrives_too_slowly_is_cut_off() {
    let own = OwnGateway::new("header_timeout = \"1500ms\"\nbody_timeout = \"300ms\"", "");
    let wire = own.chat(false).wire();
    for sent in [20, wire.len() - 5] {
        let mut connection = Connection::open(own.gateway.address);
        connection.write(&wire[..sent]);
        if let Ok(reply) = connection.try_reply() {
            assert_eq!(reply.status, 408, "after {sent} of {} bytes", wire.len());
        }
    }
    assert!(own.script.calls().is_empty());
    own.chat(false).send().expect(200);
}

#[test]
fn a_client_that_does_not_read_is_disconnected() {
    let own = OwnGateway::new("write_timeout = \"300ms\"", "");
    let event = format!("data: {}\n\n", delta(&"x".repeat(60_000)));
    let endless = (0..1000).fold(Answer::stream(), |answer, _| answer.piece(event.as_bytes()));
    own.script.on("alpha", [endless.hang()]);
    let id = unique("stalled");
    let connection = own.chat(true).header("x-request-id", &id).start();
    own.script.gone();
    let entry = own.gateway.entry(&id);
    assert_eq!(entry["outcome"], "client_closed", "{entry}");
    drop(connection);
}

#[test]
fn an_answer_that_never_ends_times_out() {
    let own = OwnGateway::new("", "[retry]\nattempts = 1\nidle_timeout = \"5s\"\nfirst_byte_timeout = \"5s\"\ntotal_timeout = \"500ms\"");
    let tick = Duration::from_millis(50);
    let drip =
        (0..100).fold(Answer::head(200).header("content-type", "application/json").chunked(), |answer, _| answer.piece(b" ").pause(tick));
    own.script.on("alpha", [drip.piece(completion("x").to_string().as_bytes())]);
    let answer = own.chat(false).send();
    answer.error(504, "upstream_error", "all_providers_failed");
    let drip = (0..100).fold(Answer::stream(), |answer, _| answer.delta("x").pause(tick));
    own.script.on("alpha", [drip.event("[DONE]")]);
    let frames = own.chat(true).open().frames();
    assert!(frames.len() < 60 && frames.last().is_some_and(|frame| frame.contains("upstream_interrupted")), "{} frames", frames.len());
}

#[test]
fn a_line_without_end_breaks_its_stream_and_nothing_else() {
    let own = OwnGateway::new("", "[retry]\nattempts = 1");
    let piece = vec![b'x'; 64 * 1024];
    let line = (0..160).fold(Answer::stream().delta("first").piece(b"data: "), |answer, _| answer.piece(&piece));
    own.script.on("alpha", [line.piece(b"\n\n").event("[DONE]")]);
    let frames = own.chat(true).open().frames();
    assert!(frames.last().is_some_and(|frame| frame.contains("upstream_interrupted")), "a line of 10 MB passed");
    assert!(frames.iter().all(|frame| frame.len() < 1024), "part of the line was relayed");
    own.script.on("alpha", [Answer::good()]);
    own.chat(false).send().expect(200);
}

#[test]
fn json_limits_are_configurable() {
    let own = OwnGateway::new("max_json_depth = 4\nmax_json_keys = 20\nmax_json_strings = 10", "");
    let ask = |more: &str| {
        let body = format!("{{\"model\":\"solo\",\"messages\":[],\"{MARK}\":\"{}\",\"more\":{more}}}", own.script.mark());
        own.gateway.request("POST", "/v1/chat/completions").bearer(&own.key.secret).text(&body).send()
    };
    for (fits, too_much) in [("[[[1]]]", "[[[[1]]]]"), ("[\"a\"]", &format!("[{}\"\"]", "\"a\",".repeat(12)))] {
        ask(fits).expect(200);
        ask(too_much).error(400, "invalid_request_error", "invalid_json");
    }
}

#[test]
fn half_close_cancels_unless_it_is_configured() {
    for (server, is_answered) in [("", false), ("half_close = true", true)] {
        let own = OwnGateway::new(server, "");
        let gate = Gate::default();
        own.script.on("alpha", [Answer::json(200, &completion("x")).gate(&gate).before_head(), Answer::good()]);
        let connection = own.chat(false).start();
        own.script.arrived(1);
        connection.half_close();
        if is_answered {
            gate.open();
        }
        assert_eq!(connection.try_reply().is_ok_and(|reply| reply.status == 200), is_answered, "{server}");
        gate.open();
    }
}
