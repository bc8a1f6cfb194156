//! Every reachable row of the error table, in OpenAI's shape.

use serde_json::{Value, json};

use crate::support::client::{Connection, Response};
use crate::support::test_gateway::{session, shared_gateway, upstream_key};
use crate::support::upstream::Answer;

const CHAT: &str = "/v1/chat/completions";

#[test]
fn a_body_that_is_not_a_json_object_is_refused() {
    let session = session();
    let deep = format!(r#"{{"model":"solo","x":{}{}}}"#, "[".repeat(80), "]".repeat(80));
    for body in [
        "",
        " ",
        "{",
        "null",
        "[]",
        "\"text\"",
        "{\"model\":\"solo\",}",
        "{\"model\":\"solo\"} {}",
        "{\"model\":\"solo\"}x",
        "{'model':'solo'}",
        "{\"model\":\"solo\",\"x\":NaN}",
        "{\"model\":\"solo\",\"x\":1e999}",
        "{\"model\":\"solo\",\"x\":\"\\ud800\"}",
        "{\"model\":\"solo\",\"x\":\"a\u{0}b\"}",
        "{\"model\":\"solo\",\"x\":01}",
        "\u{FEFF}{\"model\":\"solo\"}",
        "{\"model\":\"solo\",\"messages\":[",
        deep.as_str(),
    ] {
        let answer = session.raw(CHAT, body).send();
        answer.error(400, "invalid_request_error", "invalid_json");
    }
    let latin1 = session.shared.gateway.request("POST", CHAT).bearer(&session.key.secret).header("content-type", "application/json");
    latin1.body(b"{\"model\":\"solo\",\"x\":\"\xe9\"}").send().error(400, "invalid_request_error", "invalid_json");
    assert!(session.script.calls().is_empty());
}

#[test]
fn a_duplicate_top_level_key_is_refused_even_if_escaped() {
    let session = session();
    for body in [
        r#"{"model":"solo","model":"pair","messages":[]}"#,
        r#"{"model":"solo","messages":[],"mod\u0065l":"pair"}"#,
        r#"{"model":"solo","messages":[],"x":1,"x":1}"#,
        r#"{"model":"solo","stream":true,"messages":[],"stream":false}"#,
    ] {
        session.raw(CHAT, body).send().error(400, "invalid_request_error", "invalid_json");
    }
}

#[test]
fn a_missing_or_wrong_field_is_named() {
    let session = session();
    for (body, param) in [
        (r#"{"messages":[]}"#, "model"),
        (r#"{"model":7,"messages":[]}"#, "model"),
        (r#"{"model":null,"messages":[]}"#, "model"),
        (r#"{"model":"","messages":[]}"#, "model"),
        (r#"{"model":["solo"],"messages":[]}"#, "model"),
        (r#"{"model":"solo","stream":"yes","messages":[]}"#, "stream"),
        (r#"{"model":"solo","stream":1,"messages":[]}"#, "stream"),
    ] {
        let error = session.raw(CHAT, body).send().error(400, "invalid_request_error", "invalid_value");
        assert_eq!(error["param"], param, "{body}");
    }
    assert!(session.script.calls().is_empty());
}

#[test]
fn a_null_stream_is_not_a_stream() {
    let session = session();
    session.chat_with("solo", json!({"stream": null})).send().expect(200);
}

#[test]
fn an_error_does_not_quote_the_body() {
    let session = session();
    for body in [r#"{"model":"solo","messages":"canary-4711"#, r#"{"canary-4711":1,"canary-4711":2,"model":"solo"}"#] {
        let answer = session.raw(CHAT, body).send();
        assert!(answer.status == 400 && !answer.text().contains("canary"), "{}", answer.text());
    }
    assert!(!session.shared.gateway.log().contains("canary-4711"));
}

#[test]
fn a_wrong_content_type_is_refused() {
    let session = session();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let answer = session.shared.gateway.request("POST", CHAT).bearer(&session.key.secret).header("content-type", content_type);
        let answer = answer.body(session.body("solo").to_string().as_bytes()).send();
        assert!(matches!(answer.status, 400 | 415), "{content_type}: {}", answer.status);
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    let answer =
        session.shared.gateway.request("POST", CHAT).bearer(&session.key.secret).header("content-type", "application/json; charset=utf-8");
    answer.body(session.body("solo").to_string().as_bytes()).send().expect(200);
}

#[test]
fn a_body_over_the_limit_is_413_with_and_without_a_length() {
    let session = session();
    let body = session.body("solo").to_string().replace("\"hi\"", &format!("\"{}\"", "x".repeat(1024 * 1024)));
    let request = session.raw(CHAT, &body);
    let mut connection = Connection::open(session.shared.gateway.address);
    let wire = request.wire();
    let head = wire.len() - body.len();
    connection.write(&wire[..head]);
    for piece in wire[head..].chunks(16 * 1024) {
        if !connection.try_write(piece) {
            break;
        }
    }
    connection.reply().whole().error(413, "invalid_request_error", "request_too_large");

    let mut connection = Connection::open(session.shared.gateway.address);
    connection.write(
        format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n", session.key.secret)
            .as_bytes(),
    );
    for piece in body.as_bytes().chunks(16 * 1024) {
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        if !connection.try_write(&chunk) {
            break;
        }
    }
    connection.try_write(b"0\r\n\r\n");
    connection.reply().whole().error(413, "invalid_request_error", "request_too_large");
    assert!(session.script.calls().is_empty());
}

#[test]
fn a_declared_length_over_the_limit_is_refused_unread() {
    let session = session();
    let mut connection = Connection::open(session.shared.gateway.address);
    connection.write(
        format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n{{", session.key.secret).as_bytes(),
    );
    connection.reply().whole().error(413, "invalid_request_error", "request_too_large");
}

#[test]
fn a_truncated_body_is_not_sent_upstream() {
    let session = session();
    let mut connection = Connection::open(session.shared.gateway.address);
    let wire = session.chat("solo").wire();
    connection.write(&wire[..wire.len() - 10]);
    connection.half_close();
    assert!(!matches!(connection.try_reply(), Ok(reply) if reply.status == 200));
    assert!(session.script.calls().is_empty());
}

#[test]
fn an_unknown_model_is_404() {
    let session = session();
    let error = session.chat("nonesuch").send().error(404, "invalid_request_error", "model_not_found");
    assert_eq!(error["param"], "model");
}

#[test]
fn a_path_that_is_not_served_is_404_in_the_same_shape() {
    let session = session();
    let gateway = &session.shared.gateway;
    for target in ["/v1/nothing", "/v1/files", "/v1/assistants", "/v1/chat", "/v1/chat/completions/", "/v1/fine_tuning/jobs"] {
        gateway.post(target, &session.key, &json!({"model": "solo"})).send().error(404, "invalid_request_error", "unknown_endpoint");
        gateway.get(target).bearer(&session.key.secret).send().error(404, "invalid_request_error", "unknown_endpoint");
    }
}

#[test]
fn an_operation_the_first_provider_does_not_support_is_refused_at_once() {
    let session = session();
    for model in ["narrow", "narrow-first"] {
        let answer = session.post_with("/v1/embeddings", model, json!({"input": "x"})).send();
        answer.error(400, "invalid_request_error", "unsupported_operation");
    }
    assert!(session.script.calls().is_empty());
    session.chat("narrow").send().expect(200);
}

#[test]
fn an_upstream_client_error_is_relayed_verbatim() {
    for status in [400, 409, 413, 415, 422, 451] {
        let session = session();
        let body = format!("{{ \"error\": {{\"message\": \"told {status}\",\"odd\":1.0}} }}\n");
        session.script.on("alpha", [Answer::text(status, "application/json", &body)]);
        let answer = session.chat("pair").send();
        assert_eq!((answer.status, answer.text()), (status, body));
        assert_eq!(session.script.called(), ["alpha"], "{status} was tried again");
        let entry = session.shared.gateway.entry_of(&answer);
        assert_eq!((&entry["status"], &entry["outcome"]), (&json!(status), &json!("client_error")));
        assert_eq!(entry["cost_nanousd"], 0);
    }
}

#[test]
fn a_404_of_the_last_provider_is_the_clients_answer() {
    let session = session();
    let body = r#"{"error":{"message":"no such model here","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#;
    session.script.on("alpha", [Answer::text(404, "application/json", body)]);
    let answer = session.chat("solo").send();
    assert_eq!((answer.status, answer.text().as_str()), (404, body));
}

#[test]
fn the_last_answer_decides_the_error_of_an_exhausted_chain() {
    for (last, status) in [(429, 429), (503, 503), (500, 502), (502, 502), (504, 504), (408, 504), (425, 502), (520, 502), (529, 502)] {
        let session = session();
        session.script.on("alpha", [Answer::error(500)]).on("beta", [Answer::error(last)]);
        let answer = session.chat("pair").send();
        let error = answer.error(status, "upstream_error", "all_providers_failed");
        assert!(!error["message"].as_str().unwrap().contains("upstream says"), "the upstream's text was shown: {error}");
        assert_eq!(session.script.called(), ["alpha", "alpha", "beta", "beta"]);
    }
}

#[test]
fn a_refused_upstream_key_is_hidden_from_the_client() {
    for status in [401, 402, 403] {
        let session = session();
        let secret = upstream_key("1-alpha");
        let body =
            format!(r#"{{"error":{{"message":"Incorrect API key provided: {secret}, organisation org-77","type":"x","code":"y"}}}}"#);
        session.script.on("alpha", [Answer::text(status, "application/json", &body)]);
        let answer = session.chat("solo").send();
        answer.error(502, "upstream_error", "upstream_auth_failed");
        assert!(!answer.text().contains("org-77") && !answer.text().contains("Incorrect"), "{}", answer.text());
        assert_eq!(session.script.calls().len(), 1, "{status} was tried again");
    }
    assert!(!shared_gateway().gateway.log().contains(&upstream_key("1-alpha")));
}

#[test]
fn a_credential_echoed_by_an_upstream_is_redacted() {
    let secret = upstream_key("1-alpha");
    for echo in [secret.clone(), secret[4..20].to_owned(), format!("Bearer {secret}")] {
        let session = session();
        session.script.on("alpha", [Answer::json(400, &json!({"error": {"message": format!("you sent {echo} to us")}}))]);
        let answer = session.chat("solo").send();
        assert_eq!(answer.status, 400);
        assert!(!answer.text().contains(&echo) && answer.text().contains("[redacted]"), "{}", answer.text());
    }
}

#[test]
fn a_forbidden_address_is_502_without_the_address() {
    let session = session();
    let answer = session.chat("forbidden-solo").send();
    answer.error(502, "upstream_error", "upstream_forbidden");
    assert!(!answer.text().contains("127.0.0.1") && !answer.text().contains("::1"), "{}", answer.text());
}

#[test]
fn the_sdks_know_which_errors_to_retry() {
    let session = session();
    session.script.on("alpha", [Answer::error(429).header("retry-after", "7")]);
    let answer = session.chat("solo").send();
    answer.error(429, "upstream_error", "all_providers_failed");
    assert_eq!(answer.header("retry-after"), Some("7"));
}

#[test]
fn every_error_is_json() {
    let session = session();
    let gateway = &session.shared.gateway;
    let answers: [Response; 4] = [
        gateway.get("/v1/models").send(),
        gateway.request("POST", CHAT).send(),
        session.chat("nonesuch").send(),
        gateway.request("DELETE", "/v1/models").bearer(&session.key.secret).send(),
    ];
    for answer in answers {
        assert!(answer.header("content-type").is_some_and(|value| value.starts_with("application/json")), "{answer:?}");
        assert!(matches!(answer.json()["error"]["message"], Value::String(_)));
    }
}

#[test]
fn malformed_http_is_answered_or_closed_and_never_reaches_an_upstream() {
    let session = session();
    let body = session.body("solo").to_string();
    let key = &session.key.secret;
    let length = body.len();
    let head =
        |start: &str, more: &str| format!("{start}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{more}\r\n{body}");
    let lines = [
        head("POST /v1/chat/completions HTTP/1.1\r\nhost: x", &format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n")),
        head("POST /v1/chat/completions HTTP/1.1\r\nhost: x", &format!("content-length: {length}\r\ncontent-length: {}\r\n", length - 1)),
        head("POST /v1/chat/completions HTTP/1.1\r\nhost: x", &format!("content-length: +{length}\r\n")),
        head("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nhost: y", &format!("content-length: {length}\r\n")),
        head("POST /v1/chat/completions HTTP/1.1", &format!("content-length: {length}\r\n")),
        head("POST /v1/chat/completions HTTP/1.1\r\nhost: x", &format!("content-length : {length}\r\n")),
        head("POST /v1/chat/completions HTTP/9.9\r\nhost: x", &format!("content-length: {length}\r\n")),
        "lorem ipsum\r\n\r\n".to_owned(),
        "\u{0}\u{1}\u{2}\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}".repeat(100),
    ];
    for wire in lines {
        let mut connection = Connection::open(session.shared.gateway.address);
        connection.write(wire.as_bytes());
        connection.half_close();
        if let Ok(reply) = connection.try_reply() {
            assert!((400..500).contains(&reply.status), "{} for {wire:?}", reply.status);
        }
    }
    assert!(session.script.calls().is_empty(), "{:?}", session.script.calls());
    session.chat("solo").send().expect(200);
}
