//! Liveness, readiness and Prometheus metrics.

use serde_json::json;

use crate::support::test_gateway::{session, shared_gateway};
use crate::support::upstream::Answer;

#[test]
fn health_needs_no_key() {
    for target in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(shared_gateway().gateway.get(target).send().status, 200, "{target}");
    }
}

#[test]
fn metrics_are_in_prometheus_text_format() {
    let session = session();
    session.script.on("alpha", [Answer::error(500), Answer::good()]);
    session.chat("solo").send().expect(200);
    session.chat_with("solo", json!({"stream": true})).send();
    session.tenant.entries(2);
    let answer = session.shared.gateway.get("/metrics").send();
    assert!(answer.header("content-type").is_some_and(|value| value.contains("openmetrics-text") || value.starts_with("text/plain")));
    let text = answer.text();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value.parse::<f64>().is_ok() && name.starts_with(|c: char| c.is_ascii_alphabetic()), "{line}");
    }
    for word in [
        "aigw_",
        "operation=\"chat\"",
        "model=\"solo\"",
        "provider=\"1-alpha\"",
        "outcome=\"ok\"",
        "token",
        "cost",
        "retr",
        "first_byte",
        "_bucket{",
        "queue",
    ] {
        assert!(text.contains(word), "nothing with `{word}` in the metrics:\n{text}");
    }
}

#[test]
fn callers_cannot_multiply_metric_series() {
    let session = session();
    let canary = "canary-in-metrics";
    session.chat(canary).header("x-request-id", canary).header("x-aigw-tags", &format!("k={canary}")).send();
    session.chat_with("solo", json!({"user": canary})).send();
    let text = session.shared.gateway.get("/metrics").send().text();
    assert!(!text.contains(canary) && !text.contains(&session.key.id) && !text.contains(&session.key.secret));
}
