//! Retry and failover: the fault matrix, and what is peculiar about single faults.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::client::Connection;
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::stage::{Stage, Talk, key_env, kind, models, stage, talk, upstream_key};
use crate::support::upstream::{Answer, MARK, Upstream, completion, delta};

/// What a fault calls for (DESIGN.md section 6).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    /// Again at the same provider, then the next; the status if there is none.
    Transient(u16),
    /// As `Transient`, and possibly once more because the connection may just have been closed.
    Dropped,
    /// The next provider at once; status and code if there is none.
    Local(u16, &'static str),
    /// Back to the client as it is.
    Fault,
}

/// Where a fault comes from.
#[derive(Clone)]
enum Cause {
    /// What a patient provider answers.
    Answer(Answer),
    /// What an impatient provider answers.
    Hasty(Answer),
    /// A provider that cannot be talked to at all, by the name of its models.
    Unreachable(&'static str),
}

struct Fault {
    name: String,
    class: Class,
    /// The status the ledger shows for the attempt.
    status: Option<u16>,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Position {
    Only,
    First,
    Last,
}

/// A body that is fine but for its frame, as the request asked for it.
fn body(stream: bool) -> Vec<u8> {
    if stream { format!("data: {}\n\ndata: [DONE]\n\n", delta("x")).into_bytes() } else { completion("x").to_string().into_bytes() }
}

fn ok(stream: bool) -> Answer {
    Answer::head(200).header("content-type", if stream { "text/event-stream" } else { "application/json" })
}

fn faults(stream: bool) -> Vec<Fault> {
    let fault = |name: &str, class, status, cause| Fault { name: name.to_owned(), class, status, cause };
    let answer = |name: &str, status: Option<u16>, answer| fault(name, Class::Transient(502), status, Cause::Answer(answer));
    let mut faults = vec![
        fault("reset before the head", Class::Dropped, None, Cause::Answer(ok(stream).reset().before_head())),
        fault("closed before the head", Class::Dropped, None, Cause::Answer(ok(stream).close().before_head())),
        fault("half a head", Class::Dropped, None, Cause::Answer(Answer::raw(b"HTTP/1.1 200 OK\r\ncontent-ty"))),
        answer("garbage", None, Answer::raw(b"lorem ipsum dolor sit amet\r\n\r\n")),
        answer("a head without end", None, Answer::raw(format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "x".repeat(300_000)).as_bytes())),
        answer("too many headers", None, Answer::raw(format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-h: 1\r\n".repeat(400)).as_bytes())),
        answer("early hints", None, Answer::raw(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")),
        answer("gzip", Some(200), ok(stream).header("content-encoding", "gzip").piece(b"\x1f\x8b\x08\0\0\0\0\0")),
        answer("brotli", Some(200), ok(stream).header("content-encoding", "br").piece(&body(stream))),
        answer("a body that ends with the connection", Some(200), ok(stream).until_close().piece(&body(stream))),
        answer("an empty body", Some(200), ok(stream)),
        answer("no content", Some(204), Answer::raw(b"HTTP/1.1 204 No Content\r\n\r\n")),
    ];
    if stream {
        faults.extend([
            answer("reset before the first event", Some(200), Answer::stream().reset()),
            answer("closed before the first event", Some(200), Answer::stream().close()),
            answer("ended before the first event", Some(200), Answer::stream()),
            answer("a ping and an end", Some(200), Answer::stream().piece(b": ping\n\n").close()),
            answer(
                "a ping and an error at once",
                Some(200),
                Answer::stream().piece(b": ping\n\ndata: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n"),
            ),
            answer("half an event", Some(200), Answer::stream().piece(b"data: {\"choi").close()),
            answer(
                "an error for a first event",
                Some(200),
                Answer::stream().event(r#"{"error":{"message":"overloaded","type":"server_error"}}"#),
            ),
        ]);
    } else {
        faults.extend([
            answer("less than its length", Some(200), ok(false).claiming(9999).piece(&body(false)).close()),
            answer("reset in the body", Some(200), ok(false).claiming(9999).piece(&body(false)).reset()),
            answer("chunks cut off", Some(200), ok(false).chunked().piece(&body(false)[..40]).close()),
            answer("chunks without their end", Some(200), ok(false).chunked().piece(&body(false)[..40])),
            answer("more than its length", Some(200), ok(false).claiming(20).piece(&body(false)).close()),
            answer("a page instead of JSON", Some(200), Answer::text(200, "text/html", "<html>welcome</html>")),
        ]);
    }
    for status in [408, 425, 429, 500, 502, 503, 504, 520, 529] {
        let last = if matches!(status, 429 | 503) { status } else { 502 };
        faults.push(fault(&format!("status {status}"), Class::Transient(last), Some(status), Cause::Answer(Answer::error(status))));
    }
    for status in [401, 402, 403] {
        let class = Class::Local(502, "upstream_auth_failed");
        faults.push(fault(&format!("status {status}"), class, Some(status), Cause::Answer(Answer::error(status))));
    }
    faults.push(fault("status 404", Class::Local(404, "upstream_code"), Some(404), Cause::Answer(Answer::error(404))));
    for status in [301, 302, 303, 307, 308] {
        let redirect = Answer::text(status, "text/plain", "over there").header("location", "/elsewhere/v1/chat/completions");
        faults.push(fault(&format!("redirect {status}"), Class::Local(502, "all_providers_failed"), Some(status), Cause::Answer(redirect)));
    }
    for status in [400, 413, 422] {
        faults.push(fault(&format!("status {status}"), Class::Fault, Some(status), Cause::Answer(Answer::error(status))));
    }
    let silence = |name: &str, status, answer| fault(name, Class::Transient(504), status, Cause::Hasty(answer));
    faults.push(silence("silence before the head", None, ok(stream).hang().before_head()));
    faults.push(silence("silence before the body", Some(200), ok(stream).claiming(99).hang()));
    if stream {
        faults.push(silence("silence after a ping", Some(200), Answer::stream().piece(b": ping\n\n").hang()));
    } else {
        faults.push(silence("silence in the body", Some(200), ok(false).claiming(9999).piece(&body(false)).hang()));
    }
    faults.push(fault("connection refused", Class::Transient(502), None, Cause::Unreachable("refused")));
    faults.push(fault("no route", Class::Transient(504), None, Cause::Unreachable("silent")));
    faults.push(fault("no such name", Class::Transient(502), None, Cause::Unreachable("nameless")));
    faults.push(fault("no TLS", Class::Transient(502), None, Cause::Unreachable("tls")));
    faults.push(fault("forbidden address", Class::Local(502, "upstream_forbidden"), None, Cause::Unreachable("forbidden")));
    faults
}

/// Plays one row and checks everything about it.
fn row(stage: &Stage, talk: &Talk<'_>, fault: &Fault, stream: bool, position: Position) {
    let script = stage.upstream.script();
    let (model, lane, at_fault) = match (&fault.cause, position) {
        (Cause::Answer(_), Position::Only) => ("solo".to_owned(), "alpha", "1-alpha".to_owned()),
        (Cause::Answer(_), Position::First) => ("pair".to_owned(), "alpha", "1-alpha".to_owned()),
        (Cause::Answer(_), Position::Last) => ("pair".to_owned(), "beta", "2-beta".to_owned()),
        (cause, position) => {
            let (name, lane) = match cause {
                Cause::Unreachable(name) => (*name, ""),
                _ => ("hasty", "hasty"),
            };
            let place = match position {
                Position::Only => "solo",
                Position::First => "first",
                Position::Last => "last",
            };
            (format!("{name}-{place}"), lane, format!("{}-{name}", if position == Position::Last { 9 } else { 0 }))
        }
    };
    if let Cause::Answer(answer) | Cause::Hasty(answer) = &fault.cause {
        script.on(lane, [answer.clone()]);
    }
    if position == Position::Last {
        script.on("alpha", [Answer::error(500)]);
    }
    let body = json!({"model": model, "messages": [], MARK: script.mark(), "stream": stream});
    let answer = stage.gateway.chat(&talk.key, &body).send();

    // The calls really made.
    let (least, most) = match fault.class {
        Class::Transient(_) => (2, 2),
        Class::Dropped => (2, 4),
        Class::Local(..) | Class::Fault => (1, 1),
    };
    let calls = |lane: &str| script.lanes().iter().filter(|called| *called == lane).count();
    if !lane.is_empty() {
        assert!((least..=most).contains(&calls(lane)), "{} calls: {:?}", calls(lane), script.lanes());
    }
    let before = if position == Position::Last { 2 } else { 0 };
    let (rescuer, rescues) = match (position, &fault.cause) {
        (Position::First, Cause::Answer(_)) => ("beta", fault.class != Class::Fault),
        (Position::First, _) => ("alpha", fault.class != Class::Fault),
        _ => ("", false),
    };
    if position == Position::Last {
        assert_eq!(calls("alpha"), 2);
        assert_eq!(script.lanes()[..2], ["alpha", "alpha"]);
    } else if !rescuer.is_empty() {
        assert_eq!(calls(rescuer), usize::from(rescues), "{:?}", script.lanes());
    }

    // The client's answer.
    let status = match fault.class {
        _ if rescues => {
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.complete && answer.text().contains(rescuer), "{}", answer.text());
            assert_eq!(answer.text().contains("[DONE]"), stream);
            200
        }
        Class::Transient(status) => {
            // Whether an upstream's own 408 or 504 counts as a time-out is not laid down.
            let status = if matches!(fault.status, Some(408 | 504)) { answer.status } else { status };
            assert!(matches!(status, 429 | 502..=504));
            answer.error(status, "upstream_error", "all_providers_failed");
            status
        }
        Class::Dropped => {
            answer.error(502, "upstream_error", "all_providers_failed");
            502
        }
        Class::Local(404, _) | Class::Fault => {
            let status = fault.status.unwrap();
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!("upstream_code")));
            status
        }
        Class::Local(status, code) => {
            answer.error(status, "upstream_error", code);
            status
        }
    };

    // The entry.
    let entry = stage.gateway.entry_of(&answer);
    let outcome = match fault.class {
        _ if rescues => "ok",
        Class::Fault | Class::Local(404, _) => "client_error",
        _ => "upstream_error",
    };
    assert_eq!((&entry["outcome"], &entry["status"], &entry["stream"]), (&json!(outcome), &json!(status), &json!(stream)), "{entry}");
    let attempts = entry["attempts"].as_array().unwrap();
    assert_eq!(answer.header("x-aigw-attempts"), Some(attempts.len().to_string().as_str()));
    let at_fault_attempts: Vec<&Value> = attempts.iter().filter(|attempt| attempt["provider"] == at_fault.as_str()).collect();
    assert!((least..=most).contains(&at_fault_attempts.len()), "{attempts:?}");
    assert_eq!(attempts.len(), before + at_fault_attempts.len() + usize::from(rescues), "{attempts:?}");
    for attempt in at_fault_attempts {
        assert_eq!(attempt["status"], json!(fault.status), "{attempt}");
        assert!(attempt["error"].is_string() && attempt["ms"].is_u64(), "{attempt}");
    }
    let answering = attempts.last().unwrap();
    assert_eq!(answer.header("x-aigw-provider"), answering["provider"].as_str());
    assert_eq!(entry["provider"], answering["provider"]);
    assert_eq!(answering["error"].is_null(), rescues, "{attempts:?}");
    if !rescues {
        assert_eq!(entry["cost_nanousd"], 0, "a failure was charged");
    }
}

#[test]
fn the_fault_matrix() {
    let stage = stage();
    let talk = talk();
    let mut rows = Vec::new();
    for stream in [false, true] {
        for fault in faults(stream) {
            for position in [Position::Only, Position::First, Position::Last] {
                rows.push((format!("{} / stream {stream} / {position:?}", fault.name), stream, position));
            }
        }
    }
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let total = rows.len();
    let (rows, failed) = (Mutex::new(rows.into_iter().enumerate()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let tables = [faults(false), faults(true)];
                loop {
                    let Some((number, (name, stream, position))) = rows.lock().unwrap().next() else { break };
                    let table = &tables[usize::from(stream)];
                    let fault = &table[(number / 3) - if stream { tables[0].len() } else { 0 }];
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| row(stage, &talk, fault, stream, position))) {
                        let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failed.lock().unwrap().push(format!("{name}: {}", why.replace('\n', " ")));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {total} rows failed:\n{}", failed.len(), failed.join("\n"));
    let elsewhere = stage.upstream.unmarked().into_iter().filter(|call| call.lane == "elsewhere").count();
    assert_eq!(elsewhere, 0, "a redirect was followed");
    assert_eq!(talk.tenant.entries(total.min(1000)).len(), total.min(1000), "not one entry for each request");
}

#[test]
fn providers_are_tried_in_the_natural_order_of_their_names() {
    let talk = talk();
    for lane in ["alpha", "beta", "gamma"] {
        talk.script.on(lane, [Answer::error(500)]);
    }
    let answer = talk.chat("trio").send();
    answer.error(502, "upstream_error", "all_providers_failed");
    assert_eq!(talk.script.lanes(), ["alpha", "alpha", "beta", "beta", "gamma", "gamma"]);
    assert_eq!(answer.header("x-aigw-attempts"), Some("6"));
}

#[test]
fn numbers_in_names_count_as_numbers() {
    let upstream = Upstream::start();
    let names = ["10-last", "2-backup", "1-primary"];
    let text: String = names.iter().map(|name| kind(&format!("k{name}"), name, &upstream.base_url(name), "")).collect();
    let served = models(&[("m", &["k10-last", "k2-backup", "k1-primary"])]);
    let setup =
        names.iter().fold(Setup::new().section(crate::support::stage::RETRY), |setup, name| setup.env(&key_env(name), &upstream_key(name)));
    let gateway = setup.provider("all.toml", &(text + &served)).start();
    let tenant = gateway.tenant();
    let key = tenant.key();
    let script = upstream.script();
    for name in names {
        script.on(name, [Answer::error(401)]);
    }
    gateway.chat(&key, &json!({"model": "m", MARK: script.mark()})).send();
    assert_eq!(script.lanes(), ["1-primary", "2-backup", "10-last"]);
    let listed = tenant.admin("GET", "/providers?model=m", None).expect(200);
    let listed: Vec<&str> = listed["data"].as_array().unwrap().iter().map(|provider| provider["name"].as_str().unwrap()).collect();
    assert_eq!(listed, script.lanes(), "the admin list shows another order than the one used");
}

#[test]
fn the_second_attempt_at_the_same_provider_may_succeed() {
    for stream in [false, true] {
        let talk = talk();
        talk.script.on("alpha", [Answer::error(503), Answer::good()]);
        let answer = talk.chat_with("pair", json!({"stream": stream})).send();
        assert_eq!(answer.status, 200);
        assert_eq!(talk.script.lanes(), ["alpha", "alpha"]);
        assert_eq!((answer.header("x-aigw-provider"), answer.header("x-aigw-attempts")), (Some("1-alpha"), Some("2")));
    }
}

#[test]
fn every_attempt_sends_the_request_as_its_provider_wants_it() {
    let talk = talk();
    talk.script.on("alpha", [Answer::error(500)]);
    talk.chat("pair").send().expect(200);
    let calls = talk.script.calls();
    let sent: Vec<Value> = calls.iter().map(|call| call.json()["model"].clone()).collect();
    assert_eq!(sent, ["pair-at-alpha", "pair-at-alpha", "pair-at-beta"]);
    let keys: Vec<&str> = calls.iter().map(|call| call.headers.get("authorization").unwrap()).collect();
    assert_eq!(keys[1], format!("Bearer {}", upstream_key("1-alpha")));
    assert_eq!(keys[2], format!("Bearer {}", upstream_key("2-beta")));
}

#[test]
fn a_short_retry_after_is_honoured_and_a_long_one_sends_us_on() {
    let far = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
    for (value, calls) in [("0", 2), ("1", 1), ("3600", 1), (far.as_str(), 1)] {
        for status in [429, 503] {
            let talk = talk();
            talk.script.on("alpha", [Answer::error(status).header("retry-after", value)]);
            let answer = talk.chat("pair").send();
            answer.expect(200);
            let lanes = talk.script.lanes();
            assert_eq!(lanes.iter().filter(|lane| *lane == "alpha").count(), calls, "retry-after: {value}");
            assert_eq!(lanes.last().map(String::as_str), Some("beta"));
        }
    }
}

#[test]
fn a_long_retry_after_of_the_last_provider_is_passed_on() {
    for status in [429, 503] {
        let talk = talk();
        talk.script.on("alpha", [Answer::error(status).header("retry-after", "120")]);
        let answer = talk.chat("solo").send();
        answer.error(status, "upstream_error", "all_providers_failed");
        assert_eq!(answer.header("retry-after"), Some("120"));
        assert_eq!(talk.script.calls().len(), 1);
    }
}

#[test]
fn a_connection_closed_at_the_moment_of_use_costs_nobody_an_answer() {
    let talk = talk();
    for fault in [Answer::head(200).close().before_head(), Answer::head(200).reset().before_head()] {
        talk.script.on("alpha", [Answer::good(), fault, Answer::good()]);
        let (first, connection) = talk.chat("solo").send_over(Connection::open(talk.stage.gateway.address));
        let (second, _) = talk.chat("solo").send_over(connection);
        assert_eq!((first.status, second.status), (200, 200));
    }
    assert_eq!(talk.script.calls().len(), 6);
}

#[test]
fn a_provider_that_keeps_failing_rests_and_is_probed_again() {
    let upstream = Upstream::start();
    let retry =
        "[retry]\nattempts = 1\nbackoff = \"1ms\"\nmax_backoff = \"5ms\"\ncooldown = { failures = 3, window = \"30s\", rest = \"1s\" }";
    let gateway = Setup::new()
        .server("workers = 2")
        .section(retry)
        .env("KEY_1_ALPHA", "secret-of-alpha-0123456789")
        .env("KEY_2_BETA", "secret-of-beta-0123456789")
        .provider("a.toml", &kind("alpha", "1-alpha", &upstream.base_url("alpha"), ""))
        .provider("b.toml", &kind("beta", "2-beta", &upstream.base_url("beta"), ""))
        .provider("m.toml", &models(&[("pair", &["alpha", "beta"]), ("solo", &["alpha"])]))
        .start();
    let tenant = gateway.tenant();
    let key = tenant.key();
    let script = upstream.script();
    let chat = |model: &str| gateway.chat(&key, &json!({"model": model, "messages": [], MARK: script.mark()})).send();
    let calls = |lane: &str| script.lanes().iter().filter(|called| *called == lane).count();
    script.on("alpha", [Answer::error(500)]);
    for _ in 0..3 {
        chat("pair").expect(200);
    }
    assert_eq!((calls("alpha"), calls("beta")), (3, 3));
    // Workers share the rest: whichever takes these, alpha is not called.
    for _ in 0..6 {
        let answer = chat("pair");
        answer.expect(200);
        assert_eq!(answer.header("x-aigw-attempts"), Some("1"));
    }
    assert_eq!(calls("alpha"), 3, "a resting provider was called");
    let health = gateway.admin("GET", "/providers", None).expect(200);
    let resting = health["data"].as_array().unwrap().iter().find(|provider| provider["name"] == "1-alpha").unwrap().clone();
    assert!(!resting["cooldown_until"].is_null(), "{resting}");
    // Where there is nobody else, a resting provider is better than none.
    chat("solo").error(502, "upstream_error", "all_providers_failed");
    assert_eq!(calls("alpha"), 4);
    // After its rest it is tried again, and a success brings it back.
    script.on("alpha", [Answer::good()]);
    eventually("the provider to be tried again", || (chat("pair").header("x-aigw-provider") == Some("1-alpha")).then_some(()));
    let answer = chat("pair");
    assert_eq!(answer.header("x-aigw-provider"), Some("1-alpha"));
}

#[test]
fn many_requests_in_flight_do_not_wait_for_each_other() {
    let talk = talk();
    let gate = crate::support::upstream::Gate::default();
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let script = talk.stage.upstream.script();
            script.on(
                "beta",
                [Answer::head(200)
                    .gate(&gate)
                    .before_head()
                    .header("content-type", "application/json")
                    .piece(completion("late").to_string().as_bytes())],
            );
            script.on("alpha", [Answer::error(401)]);
            let mut body = talk.body("pair");
            body[MARK] = json!(script.mark());
            let connection = talk.stage.gateway.chat(&talk.key, &body).start();
            (script, connection)
        })
        .collect();
    for (script, _) in &slow {
        script.arrived(2);
    }
    talk.chat("solo").send().expect(200);
    gate.open();
    for (_, connection) in slow {
        assert!(connection.reply().whole().text().contains("late"));
    }
    assert_eq!(talk.tenant.entries(101).len(), 101);
}
