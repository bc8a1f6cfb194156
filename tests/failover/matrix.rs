//! Fault matrix: every fault, streamed and not, at every position of the chain. Checks the calls,
//! the client's answer and the ledger entry.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::test_gateway::{Session, TestGateway, session, shared_gateway};
use crate::support::upstream::{Answer, MARK, completion, delta};

/// Required reaction to a fault (DESIGN.md section 6).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    /// Retry at the same provider, then the next; status if there is none.
    Transient(u16),
    /// As `Transient`, and possibly once more because the connection may just have been closed.
    Dropped,
    /// Next provider at once; status and code if there is none.
    Local(u16, &'static str),
    /// Relayed to the client.
    Fault,
}

/// Cause of a fault.
#[derive(Clone)]
enum Cause {
    /// Answer of a provider with long timeouts.
    Answer(Answer),
    /// Answer of a provider with short timeouts.
    Hasty(Answer),
    /// Unreachable provider, by the name of its models.
    Unreachable(&'static str),
}

struct Fault {
    name: String,
    class: Class,
    /// Status of the attempt in the ledger.
    status: Option<u16>,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Position {
    Only,
    First,
    Last,
}

/// Returns a valid body for the request, with invalid framing.
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

/// Runs one row and checks it.
fn row(shared: &TestGateway, session: &Session<'_>, fault: &Fault, stream: bool, position: Position) {
    let script = shared.upstream.script();
    let (model, provider, at_fault) = match (&fault.cause, position) {
        (Cause::Answer(_), Position::Only) => ("solo".to_owned(), "alpha", "1-alpha".to_owned()),
        (Cause::Answer(_), Position::First) => ("pair".to_owned(), "alpha", "1-alpha".to_owned()),
        (Cause::Answer(_), Position::Last) => ("pair".to_owned(), "beta", "2-beta".to_owned()),
        (cause, position) => {
            let (name, provider) = match cause {
                Cause::Unreachable(name) => (*name, ""),
                _ => ("hasty", "hasty"),
            };
            let place = match position {
                Position::Only => "solo",
                Position::First => "first",
                Position::Last => "last",
            };
            (format!("{name}-{place}"), provider, format!("{}-{name}", if position == Position::Last { 9 } else { 0 }))
        }
    };
    if let Cause::Answer(answer) | Cause::Hasty(answer) = &fault.cause {
        script.on(provider, [answer.clone()]);
    }
    if position == Position::Last {
        script.on("alpha", [Answer::error(500)]);
    }
    let body = json!({"model": model, "messages": [], MARK: script.mark(), "stream": stream});
    let answer = shared.gateway.chat(&session.key, &body).send();

    // The calls.
    let (least, most) = match fault.class {
        Class::Transient(_) => (2, 2),
        Class::Dropped => (2, 4),
        Class::Local(..) | Class::Fault => (1, 1),
    };
    let calls = |provider: &str| script.called().iter().filter(|called| *called == provider).count();
    if !provider.is_empty() {
        assert!((least..=most).contains(&calls(provider)), "{} calls: {:?}", calls(provider), script.called());
    }
    let before = if position == Position::Last { 2 } else { 0 };
    let (rescuer, rescues) = match (position, &fault.cause) {
        (Position::First, Cause::Answer(_)) => ("beta", fault.class != Class::Fault),
        (Position::First, _) => ("alpha", fault.class != Class::Fault),
        _ => ("", false),
    };
    if position == Position::Last {
        assert_eq!(calls("alpha"), 2);
        assert_eq!(script.called()[..2], ["alpha", "alpha"]);
    } else if !rescuer.is_empty() {
        assert_eq!(calls(rescuer), usize::from(rescues), "{:?}", script.called());
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
            // It is unspecified whether a 408 or 504 of an upstream counts as a timeout.
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
    let entry = shared.gateway.entry_of(&answer);
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
    let shared = shared_gateway();
    let session = session();
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
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| row(shared, &session, fault, stream, position))) {
                        let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failed.lock().unwrap().push(format!("{name}: {}", message.replace('\n', " ")));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {total} rows failed:\n{}", failed.len(), failed.join("\n"));
    let elsewhere = shared.upstream.unmarked().into_iter().filter(|call| call.provider == "elsewhere").count();
    assert_eq!(elsewhere, 0, "a redirect was followed");
    assert_eq!(session.tenant.entries(total.min(1000)).len(), total.min(1000), "not one entry for each request");
}
