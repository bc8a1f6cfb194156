//! Provider keys that a provider quotes back in many encodings. No one else ever sees them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::json;

use crate::support::client::Response;
use crate::support::gateway::{ADMIN_TOKEN, Setup};
use crate::support::test_gateway::{Session, key_env, kind, models, session, upstream_key};
use crate::support::upstream::{Answer, MARK, Upstream, chunk};

fn key() -> String {
    upstream_key("1-alpha")
}

/// Returns encodings of the key that an upstream may quote.
fn quotes() -> Vec<String> {
    let key = key();
    vec![
        key.clone(),
        format!("Bearer {key}"),
        key[..20].to_owned(),
        key[key.len() - 12..].to_owned(),
        key[5..17].to_owned(),
        STANDARD.encode(&key),
        STANDARD.encode(format!("Bearer {key}")),
        URL_SAFE.encode(format!("x{key}y")),
    ]
}

#[track_caller]
fn clean(response: &Response) {
    let seen = format!("{:?} {}", response.headers, response.text());
    let encoded = STANDARD.encode(key());
    for secret in [key(), encoded[..encoded.len() - 4].to_owned()] {
        for run in secret.as_bytes().windows(12) {
            let run = String::from_utf8_lossy(run);
            assert!(!seen.contains(&*run), "{run} of the key is shown: {seen}");
        }
    }
}

fn quoting(session: &Session<'_>, answer: Answer) -> Response {
    session.script.on("alpha", [answer]);
    let response = session.chat("solo").send();
    clean(&response);
    response
}

#[test]
fn an_error_body_that_quotes_the_key_is_redacted() {
    for quote in quotes() {
        for status in [400, 404, 413, 422] {
            let session = session();
            let error = json!({"error": {"message": format!("bad key: {quote}!"), "type": "t", "param": null, "code": null}});
            let response = quoting(&session, Answer::json(status, &error));
            assert_eq!(response.status, status);
            assert!(response.text().contains("[redacted]"), "{}", response.text());
        }
    }
}

#[test]
fn an_error_body_without_the_key_is_unchanged() {
    let session = session();
    let body = "{ \"error\" : {\"message\":\"sk-\\u0041 upstream-se\",\"type\":\"t\",\"param\":null,\"code\":\"c\"} }\n";
    let response = quoting(&session, Answer::text(400, "application/json", body));
    assert_eq!(response.text(), body);
}

#[test]
fn an_error_about_the_key_is_not_shown_at_all() {
    for status in [401, 402, 403] {
        let session = session();
        let error = json!({"error": {"message": format!("organisation canary-4711: {}", key()), "type": "t", "param": null, "code": null}});
        let response = quoting(&session, Answer::json(status, &error));
        response.error(502, "upstream_error", "upstream_auth_failed");
        assert!(!response.text().contains("canary"), "{}", response.text());
    }
}

#[test]
fn an_error_with_a_success_status_is_redacted() {
    for quote in quotes() {
        let session = session();
        let error = json!({"error": {"message": quote, "type": "invalid_request_error", "param": null, "code": quote}});
        quoting(&session, Answer::json(200, &error));
        let session = self::session();
        session.script.on("alpha", [Answer::stream().event(&error.to_string())]);
        clean(&session.streamed("solo").send());
    }
}

#[test]
fn the_last_frame_of_a_broken_stream_is_redacted() {
    for quote in quotes() {
        let session = session();
        let error = json!({"error": {"message": format!("key {quote}"), "type": quote, "code": "x"}});
        let answer = Answer::stream().event(&chunk(json!({"content": "hi"}), json!(null))).event(&error.to_string());
        session.script.on("alpha", [answer]);
        let response = session.streamed("solo").send();
        clean(&response);
        assert!(response.text().contains("upstream_interrupted") && !response.text().contains("[DONE]"), "{}", response.text());
    }
}

#[test]
fn a_header_that_quotes_the_key_does_not_pass() {
    for quote in quotes() {
        for (status, name) in
            [(200, "x-request-id"), (200, "content-type"), (400, "request-id"), (429, "retry-after"), (400, "content-type")]
        {
            // A successful answer may contain anything, so only the verbatim key counts.
            if status < 400 && !quote.contains(&key()[5..17]) {
                continue;
            }
            let session = session();
            let answer = Answer::head(status).header(name, &quote).piece(br#"{"choices":[],"object":"chat.completion"}"#);
            quoting(&session, answer);
        }
    }
}

#[test]
fn the_ledger_and_the_metrics_do_not_contain_the_key() {
    let session = session();
    let error = json!({"error": {"message": key(), "type": key(), "param": key(), "code": key()}});
    let response = quoting(&session, Answer::json(400, &error));
    let entry = session.shared.gateway.entry_of(&response).to_string();
    let metrics = session.shared.gateway.get("/metrics").send().text();
    for run in key().as_bytes().windows(12) {
        let run = String::from_utf8_lossy(run);
        assert!(!entry.contains(&*run) && !metrics.contains(&*run), "{run} of the key is kept");
    }
}

#[test]
fn no_log_line_contains_a_key_or_a_query_at_any_level() {
    let upstream = Upstream::start();
    let gateway = Setup::new()
        .provider("alpha.toml", &kind("alpha", "1-alpha", &upstream.base_url("alpha"), ""))
        .provider("models.toml", &models(&[("solo", &["alpha"])]))
        .env(&key_env("1-alpha"), &key())
        .env("RUST_LOG", "trace")
        .start();
    let (vk, script) = (gateway.key(), upstream.script());
    let error = json!({"error": {"message": key(), "type": "t", "param": null, "code": null}});
    let good = Answer::good().header("x-request-id", &key());
    script.on(
        "alpha",
        [
            Answer::json(400, &error),
            Answer::json(401, &error),
            Answer::json(500, &error),
            Answer::head(302).header("location", &key()),
            good,
        ],
    );
    let body = json!({"model": "solo", "messages": [{"role": "user", "content": "prompt-canary"}], MARK: script.mark()});
    for _ in 0..6 {
        gateway.chat(&vk, &body).header("cookie", "cookie-canary=1").send();
    }
    gateway.get("/v1/models?api_key=query-canary").bearer("aigw-sk-notakey-canary").send();
    gateway.get("/nothing?token=query-canary").send();
    gateway.get("/admin/v1/tenants?token=query-canary").bearer("wrong-canary-token").send();
    gateway.sigterm();
    gateway.exit();
    let log = gateway.log();
    assert!(log.lines().count() > 20, "the log is not loud: {log}");
    for secret in [&key()[..], &vk.secret[8..], ADMIN_TOKEN, "query-canary", "cookie-canary", "prompt-canary", "wrong-canary-token"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is in the log: {line:?}");
    }
}
