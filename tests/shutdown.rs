//! Graceful and forced shutdown: no stream is cut, no entry is lost.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::client::Connection;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Key, Setup};
use crate::support::own_gateway::OwnGateway;
use crate::support::store::Store;
use crate::support::test_gateway::{keyless, models};
use crate::support::unique;
use crate::support::upstream::{Answer, Gate, MARK, Upstream, completion, good_usage};

/// Body of a chat request with one message.
fn body(own: &OwnGateway, stream: bool) -> Value {
    json!({"model": "solo", "messages": [{"role": "user", "content": "hi"}], "stream": stream, MARK: own.script.mark()})
}

#[test]
fn sigterm_lets_streams_finish_and_leaves_nothing_unsettled() {
    let own = OwnGateway::new("shutdown_grace = \"8s\"", "");
    let gate = Gate::default();
    let streamed = Answer::stream().delta("before").gate(&gate).delta("after").event("[DONE]");
    own.script.on("alpha", [streamed, Answer::good().gate(&gate).before_head()]);
    let (streaming, waiting) = (unique("streaming"), unique("waiting"));
    let mut reply = own.gateway.chat(&own.key, &body(&own, true)).header("x-request-id", &streaming).open();
    assert!(reply.frame().is_some());
    let connection = own.gateway.chat(&own.key, &body(&own, false)).header("x-request-id", &waiting).start();
    own.script.arrived(2);
    own.gateway.sigterm();
    eventually("new connections to be refused", || std::net::TcpStream::connect(own.gateway.address).is_err().then_some(()));
    assert!(own.gateway.is_running(), "it did not wait for its streams");
    gate.open();
    let frames = reply.frames();
    assert!(frames[0].contains("after") && frames[1] == "data: [DONE]", "{frames:?}");
    connection.reply().whole().expect(200);
    assert_eq!(own.gateway.exit().code(), Some(0), "{}", own.gateway.log());
    own.gateway.restart();
    for id in [streaming, waiting] {
        assert_eq!(own.gateway.entry(&id)["outcome"], "ok");
    }
}

#[test]
fn a_stream_longer_than_the_grace_ends_with_an_error_and_is_settled() {
    let own = OwnGateway::new("shutdown_grace = \"300ms\"", "");
    own.script.on("alpha", [Answer::stream().delta("some").hang()]);
    let id = unique("cut");
    let mut reply = own.gateway.chat(&own.key, &body(&own, true)).header("x-request-id", &id).open();
    assert!(reply.frame().is_some());
    own.gateway.sigterm();
    let frames = reply.frames();
    assert!(frames.last().is_some_and(|frame| frame.contains("upstream_interrupted")), "{frames:?}");
    assert!(reply.complete && !frames.iter().any(|frame| frame.contains("[DONE]")), "{frames:?}");
    assert_eq!(own.gateway.exit().code(), Some(0), "{}", own.gateway.log());
    own.gateway.restart();
    let entry = own.gateway.entry(&id);
    assert_eq!(entry["outcome"], "interrupted", "{entry}");
    assert!(entry["completion_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "what was relayed is not metered: {entry}");
}

/// Sends one request and checks its answer. Returns whether it was accepted.
fn ask(gateway: &Gateway, key: &Key, upstream: &Upstream, stream: bool) -> bool {
    let (text, script) = (unique("answer"), upstream.script());
    let answer = if stream { Answer::streamed(&[&text], Some(&good_usage())) } else { Answer::json(200, &completion(&text)) };
    script.on("alpha", [answer]);
    let request = gateway.chat(key, &json!({"model": "solo", "messages": [], "stream": stream, MARK: script.mark()}));
    let mut connection = match Connection::try_open(gateway.address) {
        Ok(connection) => connection,
        // It was in the queue of a listener that closed, and was not accepted.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
        // One gateway always listens.
        Err(error) => panic!("cannot connect: {error}"),
    };
    let reply = if connection.try_write(&request.wire()) { connection.try_reply() } else { Err(String::new()) };
    let Ok(reply) = reply else {
        // The connection was closed before the request was read: the client may retry.
        assert!(script.calls().is_empty(), "a request was accepted and then lost");
        return false;
    };
    let answer = reply.whole();
    assert!(answer.status == 200 && answer.complete && answer.text().contains(&text), "{}: {}", answer.status, answer.text());
    assert_eq!(answer.text().ends_with("data: [DONE]\n\n"), stream);
    assert_eq!(script.calls().len(), 1);
    true
}

#[test]
fn a_rolling_restart_under_load_loses_no_accepted_request() {
    let upstream = Upstream::start();
    let setup = || {
        Setup::new()
            .server("reuse_port = true\nworkers = 2")
            .provider("alpha.toml", &keyless("alpha", "1-alpha", &upstream.base_url("alpha")))
            .provider("models.toml", &models(&[("solo", &["alpha"])]))
    };
    let old = setup().start();
    let tenant = old.tenant();
    let key = tenant.key();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let more = || {
        let target = answered.load(Ordering::SeqCst) + 150;
        eventually("the load to go on", || (answered.load(Ordering::SeqCst) >= target || stop.load(Ordering::SeqCst)).then_some(()));
    };
    let load = || {
        for nth in 0.. {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            if ask(&old, &key, &upstream, nth % 2 == 0) {
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    let client = || {
        // A failure ends the load, so that it is reported at once.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(load));
        if let Err(failure) = outcome {
            stop.store(true, Ordering::SeqCst);
            std::panic::resume_unwind(failure);
        }
    };
    let new = std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(client);
        }
        more();
        let new = setup().database(&old.database).port(old.address.port()).start();
        more();
        old.sigterm();
        assert_eq!(old.exit().code(), Some(0), "{}", old.log());
        more();
        stop.store(true, Ordering::SeqCst);
        new
    });
    assert!(new.is_running());
    let total = answered.into_inner();
    let requests = eventually("an entry for every answer", || {
        let usage = new.admin("GET", &format!("/usage?tenant={}", tenant.id), None).expect(200);
        let requests = usage["data"][0]["requests"].as_u64()?;
        (requests >= total as u64).then_some(requests)
    });
    assert_eq!(requests, total as u64, "not one entry for each request");
}

#[test]
fn an_address_is_shared_only_if_both_gateways_allow_it() {
    let own = OwnGateway::new("reuse_port = true", "");
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new().provider("models.toml", "");
    setup.write(directory.path(), own.gateway.address.port(), &Store::Sqlite.url(directory.path()));
    let output = crate::support::gateway::aigw(directory.path(), &[]).args(["serve", "--config", "aigw.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on"), "{output:?}");
}

#[test]
fn an_idle_gateway_stops_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let own = OwnGateway::new("shutdown_grace = \"30s\"", "");
        let (answer, idle) =
            own.gateway.chat(&own.key, &body(&own, false)).send_over(crate::support::client::Connection::open(own.gateway.address));
        answer.expect(200);
        let start = Instant::now();
        own.gateway.signal(signal);
        assert_eq!(own.gateway.exit().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(5), "an idle connection held it up");
        drop(idle);
    }
}

fn killed(store: Store) {
    if !store.is_available() {
        return;
    }
    let own = OwnGateway::on(store, "", "");
    let ids: Vec<String> = (0..3).map(|nth| unique(&format!("killed-{nth}"))).collect();
    own.script.on(
        "alpha",
        [
            Answer::streamed(&["done"], Some(&good_usage())),
            Answer::stream().delta("some").delta(" text").hang(),
            Answer::head(200).hang().before_head(),
        ],
    );
    let finished = own.gateway.chat(&own.key, &body(&own, true)).header("x-request-id", &ids[0]).send();
    assert_eq!(finished.status, 200);
    let mut reply = own.gateway.chat(&own.key, &body(&own, true)).header("x-request-id", &ids[1]).open();
    assert!(reply.frame().is_some() && reply.frame().is_some());
    let waiting = own.gateway.chat(&own.key, &body(&own, false)).header("x-request-id", &ids[2]).start();
    own.script.arrived(3);
    own.gateway.kill9();
    drop((reply, waiting));
    own.gateway.restart();
    assert_eq!(own.gateway.entry(&ids[0])["outcome"], "ok");
    for id in &ids[1..] {
        let entry = own.gateway.entry(id);
        assert!(matches!(entry["outcome"].as_str(), Some("interrupted" | "upstream_error" | "client_closed")), "{entry}");
        assert_eq!((&entry["tenant"].is_string(), &entry["model"]), (&true, &json!("solo")));
    }
    let all = own.gateway.admin("GET", "/ledger", None).expect(200)["data"].as_array().unwrap().len();
    assert_eq!(all, 3, "an entry was stored twice or not at all");
}

#[test]
fn kill_9_loses_no_entry_on_sqlite() {
    killed(Store::Sqlite);
}

#[test]
fn kill_9_loses_no_entry_on_postgresql() {
    killed(Store::Postgres);
}

#[test]
fn kill_9_under_load_leaves_one_entry_per_answered_request() {
    let own = OwnGateway::new("", "");
    let tenant = own.gateway.tenant();
    let key = tenant.key();
    let mut answered = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut answered = Vec::new();
                    for _ in 0..40 {
                        let id = unique("burst");
                        let mut connection = match std::net::TcpStream::connect(own.gateway.address) {
                            Ok(_) => own.gateway.chat(&key, &body(&own, false)).header("x-request-id", &id).start(),
                            Err(_) => break,
                        };
                        connection.try_write(b"");
                        match connection.try_reply() {
                            Ok(reply) if reply.status == 200 => answered.push(id),
                            _ => break,
                        }
                    }
                    answered
                })
            })
            .collect();
        own.script.arrived(60);
        own.gateway.kill9();
        answered = workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect();
    });
    assert!(!answered.is_empty());
    own.gateway.restart();
    for id in &answered {
        own.gateway.entry(id);
    }
    let calls = own.script.calls().len();
    let entries = tenant.entries(answered.len());
    let mut ids: Vec<&str> = entries.iter().map(|entry| entry["request_id"].as_str().unwrap()).collect();
    let total = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), total, "an entry was stored twice");
    assert!(total >= calls, "{calls} requests reached the upstream, {total} are in the ledger");
}

#[test]
fn state_survives_a_restart() {
    let own = OwnGateway::new("", "");
    let answer = own.gateway.chat(&own.key, &body(&own, false)).send();
    answer.expect(200);
    own.gateway.entry_of(&answer);
    own.gateway.sigterm();
    own.gateway.exit();
    own.gateway.restart();
    own.gateway.chat(&own.key, &body(&own, false)).send().expect(200);
    assert_eq!(own.gateway.entry_of(&answer)["outcome"], "ok");
}
