//! Requests with two conflicting lengths. Each hides a second request, with a valid key, that must
//! never reach the upstream.

use std::sync::OnceLock;

use super::{raw, statuses};
use crate::support::own_gateway::OwnGateway;

fn own() -> &'static OwnGateway {
    static OWN: OnceLock<OwnGateway> = OnceLock::new();
    OWN.get_or_init(|| OwnGateway::new("workers = 2\nmax_body = \"1MiB\"", ""))
}

/// Returns the hidden request: complete, valid, and without a mark.
fn hidden() -> String {
    let body = r#"{"model":"solo","messages":[]}"#;
    let key = &own().key.secret;
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a head with these lines and a body. Checks that it is refused with this status and that
/// nothing else is served on the connection.
#[track_caller]
fn refused(status: u16, head: &str, body: &str) {
    let mut bytes = own().head(head);
    bytes.extend_from_slice(body.as_bytes());
    one_answer(status, &bytes);
}

#[track_caller]
fn one_answer(status: u16, bytes: &[u8]) {
    let answer = raw(own().gateway.address, bytes);
    let statuses = statuses(&answer);
    assert_eq!(statuses.first(), Some(&status), "{:?}: {answer}", String::from_utf8_lossy(bytes));
    // Refusals before any handler have the same error shape.
    assert!(status < 400 || answer.contains(r#"{"error":{"message":""#) && answer.contains("x-request-id: "), "{answer}");
    assert!(statuses[1..].iter().all(|status| *status == 400), "{answer}");
    assert!(own().upstream.unmarked().is_empty(), "the upstream saw {:?}", own().upstream.unmarked());
}

#[test]
fn a_length_and_chunks_together_are_refused() {
    let hidden = hidden();
    refused(400, &format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", hidden.len() + 5), &format!("0\r\n\r\n{hidden}"));
    refused(400, "transfer-encoding: chunked\r\ncontent-length: 5\r\n", &format!("0\r\n\r\n{hidden}"));
}

#[test]
fn two_lengths_are_refused_even_if_they_agree() {
    refused(400, "content-length: 0\r\ncontent-length: 30\r\n", &hidden());
    refused(400, "content-length: 2\r\ncontent-length: 2\r\n", &format!("{{}}{}", hidden()));
    refused(400, "content-length: 2, 2\r\n", &format!("{{}}{}", hidden()));
}

#[test]
fn a_length_that_is_not_a_plain_number_is_refused() {
    for length in ["+2", "-1", "0x2", "2e0", "2 2", "", "18446744073709551616", "\u{b2}"] {
        refused(400, &format!("content-length: {length}\r\n"), &format!("{{}}{}", hidden()));
    }
}

#[test]
fn an_encoding_that_is_not_just_chunked_is_refused() {
    for encoding in
        ["xchunked", "chunked, identity", "identity, chunked", "gzip, chunked", "chunked;q=1", "\"chunked\"", "\u{b}chunked", "identity"]
    {
        refused(400, &format!("transfer-encoding: {encoding}\r\n"), &format!("0\r\n\r\n{}", hidden()));
    }
    refused(400, "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", &format!("0\r\n\r\n{}", hidden()));
}

#[test]
fn a_disguised_header_name_is_refused() {
    for name in [
        "transfer-encoding ",
        "transfer-encoding\t",
        " transfer-encoding",
        "transfer-encoding\0",
        "transfer\r-encoding",
        "(content-length)",
    ] {
        refused(400, &format!("{name}: chunked\r\n"), &format!("0\r\n\r\n{}", hidden()));
    }
}

#[test]
fn a_folded_header_is_refused() {
    refused(400, "x-fold: a\r\n transfer-encoding: chunked\r\n", &hidden());
    refused(400, "transfer-encoding:\r\n chunked\r\n", &format!("0\r\n\r\n{}", hidden()));
}

#[test]
fn a_value_with_a_control_character_is_refused() {
    for value in ["a\0b", "a\rtransfer-encoding: chunked", "a\u{7f}", "\u{1}"] {
        refused(400, &format!("x-value: {value}\r\n"), &hidden());
    }
}

#[test]
fn invalid_chunks_are_not_sent_upstream() {
    for body in [
        "2\r\n{}X\r\n0\r\n\r\n",
        "2\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n",
        "fffffffffffffffff\r\n{}",
        "2 2\r\n{}\r\n",
        "\r\n{}",
    ] {
        let mut bytes = own().head("transfer-encoding: chunked\r\n");
        bytes.extend_from_slice(format!("{body}{}", hidden()).as_bytes());
        // Refused, or closed without an answer.
        let answer = raw(own().gateway.address, &bytes);
        assert!(statuses(&answer).iter().all(|status| *status == 400), "{body:?}: {answer}");
        assert!(own().upstream.unmarked().is_empty());
    }
}

#[test]
fn a_missing_or_second_host_is_refused() {
    let key = &own().key.secret;
    for hosts in ["", "host: a\r\nhost: b\r\n", "host: a\r\nhost: a\r\n"] {
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\n{hosts}authorization: Bearer {key}\r\ncontent-length: 0\r\n\r\n");
        one_answer(400, format!("{head}{}", hidden()).as_bytes());
    }
}

#[test]
fn the_body_of_a_refused_request_is_not_served() {
    let hidden = hidden();
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", hidden.len());
    one_answer(401, format!("{head}{hidden}").as_bytes());
    let chunked = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    one_answer(401, format!("{chunked}{:x}\r\n{hidden}", hidden.len() + 1000).as_bytes());
}

#[test]
fn the_body_of_a_get_is_not_served() {
    let hidden = hidden();
    let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", hidden.len());
    one_answer(200, format!("{head}{hidden}").as_bytes());
}

#[test]
fn bytes_after_an_upgrade_are_not_served() {
    for upgrade in ["websocket", "h2c", "TLS/1.0"] {
        refused(400, &format!("connection: upgrade\r\nupgrade: {upgrade}\r\ncontent-length: 2\r\n"), &format!("{{}}{}", hidden()));
        let key = &own().key.secret;
        let get = format!(
            "GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\n\r\n"
        );
        one_answer(400, format!("{get}{}", hidden()).as_bytes());
    }
}

#[test]
fn the_preface_of_http_2_is_refused() {
    one_answer(400, format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}", hidden()).as_bytes());
}

#[test]
fn proxy_methods_are_refused() {
    for start in ["CONNECT example.com:443", "CONNECT /v1/models", "TRACE /v1/models"] {
        let bytes = format!("{start} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        one_answer(405, bytes.as_bytes());
    }
}

#[test]
fn a_target_that_is_a_url_is_refused() {
    for target in ["http://169.254.169.254/v1/chat/completions", "https://x/v1/models", "HTTP://x/healthz", "example.com:443"] {
        let bytes = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n{}", hidden());
        one_answer(400, bytes.as_bytes());
    }
}

#[test]
fn a_body_over_http_1_0_is_refused() {
    let key = &own().key.secret;
    let body = r#"{"model":"solo","messages":[]}"#;
    let head = format!("POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer {key}\r\n");
    one_answer(400, format!("{head}content-length: {}\r\n\r\n{body}{}", body.len(), hidden()).as_bytes());
    one_answer(400, format!("{head}transfer-encoding: chunked\r\n\r\n0\r\n\r\n{}", hidden()).as_bytes());
    one_answer(400, format!("{head}connection: keep-alive\r\n\r\n{}", hidden()).as_bytes());
}

#[test]
fn an_expectation_that_cannot_be_met_is_refused() {
    refused(417, "expect: 200-ok\r\ncontent-length: 2\r\n", &format!("{{}}{}", hidden()));
    refused(417, "expect: 100-continue, 200-ok\r\ncontent-length: 2\r\n", &format!("{{}}{}", hidden()));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let own = own();
    let script = own.upstream.script();
    let body = serde_json::json!({"model": "solo", "messages": [], crate::support::upstream::MARK: script.mark()}).to_string();
    let mut bytes = own.head(&format!("content-length: {}\r\n", body.len()));
    bytes.extend_from_slice(body.as_bytes());
    let mut chunked = own.head("transfer-encoding: chunked\r\nconnection: close\r\n");
    chunked.extend_from_slice(format!("{:x};ext=1\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes());
    let answers = raw(own.gateway.address, &[bytes.clone(), bytes, chunked].concat());
    assert_eq!(statuses(&answers), [200, 200, 200], "{answers}");
    assert_eq!(script.calls().len(), 3);
    for call in script.calls() {
        assert_eq!(call.headers.get("transfer-encoding"), None, "our framing is by length");
        assert_eq!(call.headers.get("content-length"), Some(call.body.len().to_string().as_str()));
    }
}
