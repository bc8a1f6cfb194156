//! Encoded bodies: accepted encodings and decompression bombs.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::support::client::Response;
use crate::support::test_gateway::{Session, session};

const CHAT: &str = "/v1/chat/completions";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(text, 3).unwrap()
}

fn send(session: &Session<'_>, encodings: &[&str], body: &[u8]) -> Response {
    let mut request = session.shared.gateway.request("POST", CHAT).bearer(&session.key.secret).header("content-type", "application/json");
    for encoding in encodings {
        request = request.header("content-encoding", encoding);
    }
    request.body(body).send()
}

#[test]
fn a_gzip_or_zstd_body_is_sent_decoded() {
    let session = session();
    let text = session.body("solo").to_string();
    send(&session, &["gzip"], &gzip(text.as_bytes())).expect(200);
    send(&session, &["zstd"], &zstd(text.as_bytes())).expect(200);
    send(&session, &["Identity"], text.as_bytes()).expect(200);
    for call in session.script.calls() {
        assert_eq!(String::from_utf8(call.body).unwrap(), text.replace("\"solo\"", "\"solo-at-alpha\""));
        assert_eq!(call.headers.get("content-encoding"), None);
    }
    assert_eq!(session.script.calls().len(), 3);
}

#[test]
fn any_other_encoding_or_two_of_them_are_refused() {
    let session = session();
    let text = session.body("solo").to_string();
    for encodings in [&["br"][..], &["deflate"], &["gzip, gzip"], &["gzip", "zstd"], &["identity, gzip"], &["*"], &["aws-chunked"]] {
        let response = send(&session, encodings, text.as_bytes());
        response.error(415, "invalid_request_error", "unsupported_encoding");
    }
    assert!(session.script.calls().is_empty());
}

#[test]
fn a_body_that_does_not_match_its_encoding_is_refused() {
    let session = session();
    let text = session.body("solo").to_string();
    let (gzip, zstd) = (gzip(text.as_bytes()), zstd(text.as_bytes()));
    let bodies: [(&str, &[u8]); 6] = [
        ("gzip", text.as_bytes()),
        ("zstd", text.as_bytes()),
        ("gzip", &gzip[..gzip.len() - 1]),
        ("zstd", &zstd[..zstd.len() - 1]),
        ("gzip", &zstd),
        ("zstd", &gzip),
    ];
    for (encoding, body) in bodies {
        send(&session, &[encoding], body).error(400, "invalid_request_error", "invalid_json");
    }
    assert!(session.script.calls().is_empty());
}

#[test]
fn a_decompression_bomb_is_refused_as_too_large() {
    let session = session();
    let spaces = vec![b' '; 256 << 20];
    for (encoding, bomb) in [("gzip", gzip(&spaces)), ("zstd", zstd(&spaces))] {
        assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
        send(&session, &[encoding], &bomb).error(413, "invalid_request_error", "request_too_large");
    }
    let nested = gzip(&gzip(&spaces));
    send(&session, &["gzip"], &nested).error(400, "invalid_request_error", "invalid_json");
    assert!(session.script.calls().is_empty());
}

#[test]
fn a_zstd_window_that_is_too_large_is_refused() {
    let session = session();
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(session.body("solo").to_string().as_bytes()).unwrap();
    let response = send(&session, &["zstd"], &encoder.finish().unwrap());
    response.error(413, "invalid_request_error", "request_too_large");
}

#[test]
fn a_duplicate_key_is_seen_through_an_encoding() {
    let session = session();
    let text = session.body("solo").to_string().replacen('{', "{\"mod\\u0065l\":\"dear\",", 1);
    send(&session, &["zstd"], &zstd(text.as_bytes())).error(400, "invalid_request_error", "invalid_json");
    assert!(session.script.calls().is_empty());
}

#[test]
fn keys_that_only_look_alike_are_not_duplicates() {
    let session = session();
    session.chat_with("solo", json!({"Model": "x", "MODEL": "y", "model ": "z"})).send().expect(200);
    let sent: serde_json::Value = serde_json::from_slice(&session.script.call().body).unwrap();
    assert_eq!((&sent["model"], &sent["Model"]), (&json!("solo-at-alpha"), &json!("x")));
}

#[test]
fn a_nested_duplicate_key_is_left_to_the_upstream() {
    let session = session();
    let body = format!(r#"{{"model":"solo","messages":[],"metadata":{{"a":1,"a":2}},"x_script":"{}"}}"#, session.script.mark());
    session.raw(CHAT, &body).send().expect(200);
    assert!(String::from_utf8(session.script.call().body).unwrap().contains(r#"{"a":1,"a":2}"#));
}
