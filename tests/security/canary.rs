//! P3: after a run with own and brokered keys, success and failure, and full logging, no output
//! contains a byte of a key.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{MASTER, bring, setup};
use crate::support::client::find;
use crate::support::gateway::ADMIN_TOKEN;
use crate::support::test_gateway::upstream_key;
use crate::support::upstream::{Answer, MARK, Upstream};

const OWN: &str = "sk-canary-of-the-tenant+/=0123456789";

/// Returns a key verbatim, in base64 (at any alignment), in hexadecimal, URL-encoded and reversed.
fn disguises(key: &str) -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    let url: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
    let mut all = vec![
        ("plain", key.as_bytes().to_vec()),
        ("hex", hex.clone().into_bytes()),
        ("upper-case hex", hex.to_uppercase().into_bytes()),
        ("url-encoded", url.into_bytes()),
        ("reversed", key.bytes().rev().collect()),
    ];
    for skip in 0..3 {
        // The part of an encoding that does not depend on the surrounding bytes.
        let encoded = STANDARD.encode(&key.as_bytes()[skip..]);
        all.push(("base64", encoded.as_bytes()[..encoded.len() / 4 * 4 - 4].to_vec()));
    }
    all
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn p3_no_key_is_in_a_file_a_log_an_answer_or_a_metric() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).env("RUST_LOG", "trace").start();
    let tenant = gateway.tenant();
    let mut seen = Vec::new();
    seen.push(bring(&tenant, "5-mine", "beta", OWN).to_string());
    let (own, revoked) = (tenant.key(), tenant.key());
    let other = gateway.key();
    // Each upstream quotes its request.
    let quoting = |key: &str| json!({"error": {"message": format!("your key {key} is wrong")}});
    for (key, of_beta) in [(&own, OWN), (&other, &*upstream_key("20-beta")), (&revoked, OWN)] {
        let quotes = |status: u16| [Answer::json(status, &quoting(&upstream_key("1-alpha"))), Answer::json(status, &quoting(of_beta))];
        for stream in [false, true] {
            for answer in [
                None,
                Some(quotes(401)),
                Some(quotes(400)),
                Some(quotes(404)),
                Some(quotes(500)),
                Some([Answer::stream().delta("x").reset(), Answer::stream().delta("x").reset()]),
                Some(quotes(200)),
            ] {
                let script = upstream.script();
                if let Some([alpha, beta]) = answer {
                    script.on("alpha", [alpha]).on("beta", [beta]);
                }
                let body = json!({"model": "pair", "messages": [], "stream": stream, MARK: script.mark()});
                let answer = gateway.chat(key, &body).send();
                seen.push(format!("{} {:?}{}", answer.status, answer.headers, answer.text()));
            }
        }
    }
    tenant.admin("DELETE", &format!("/keys/{}", revoked.id), None).expect(200);
    for (name, value) in [("x-api-key", &own.secret), ("cookie", &own.secret), ("authorization", &other.secret)] {
        let target = format!("/v1/models?key={}", own.secret);
        seen.push(gateway.get(&target).header(name, value).send().text());
    }
    seen.push(gateway.request("POST", "/v1/chat/completions").bearer(&revoked.secret).text("{").send().text());
    let bad = json!({"kind": "nonesuch", "api_key": OWN});
    seen.push(tenant.admin("PUT", "/providers/5-mine", Some(&bad)).text());
    let bad = json!({"kind": "beta", "api_key": OWN, "base_url": "https://127.0.0.1/"});
    seen.push(tenant.admin("PUT", "/providers/5-mine", Some(&bad)).text());
    tenant.admin("POST", "/epoch", None).expect(200);
    gateway.chat(&own, &json!({"model": "pair", "messages": []})).send().expect(200);
    for path in ["/tenants", "/providers", "/ledger?limit=1000", "/catalog", "/edges", "/usage"] {
        seen.push(gateway.admin("GET", path, None).text());
    }
    for path in ["/keys", "/providers", "/providers/5-mine", "/tenant-keys"] {
        seen.push(tenant.admin("GET", path, None).text());
    }
    seen.push(gateway.get("/metrics").send().text());
    gateway.sigterm();
    gateway.exit();

    let secrets =
        [OWN, &upstream_key("1-alpha"), &upstream_key("20-beta"), ADMIN_TOKEN, MASTER, &own.secret, &revoked.secret, &other.secret];
    let mut places: Vec<(String, Vec<u8>)> = seen.into_iter().map(|text| ("an answer".to_owned(), text.into_bytes())).collect();
    for file in files(&gateway.directory) {
        places.push((file.display().to_string(), fs::read(&file).unwrap()));
    }
    assert!(places.iter().any(|(_, bytes)| find(bytes, b"TRACE").is_some()), "nothing was logged at trace level");
    for secret in secrets {
        for (disguise, bytes) in disguises(secret) {
            for (place, content) in &places {
                if let Some(at) = find(content, &bytes) {
                    let around = &content[at.saturating_sub(600)..(at + bytes.len() + 20).min(content.len())];
                    panic!("a key, {disguise}, is in {place}: {}", String::from_utf8_lossy(around));
                }
            }
        }
    }
}
