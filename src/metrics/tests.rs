//! The output of a scrape.

use super::*;
use crate::ledger::entry::{AttemptRecord, Outcome};
use crate::ledger::tests::entry;
use crate::terms::{Billing, NanoUsd, Usage};

fn shows(metrics: &Metrics, line: &str) {
    let text = metrics.encode();
    assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
}

fn attempt(provider: &str, error: Option<&str>, ms: u64) -> AttemptRecord {
    AttemptRecord { provider: provider.into(), status: None, error: error.map(Into::into), ms, request_id: None }
}

#[test]
fn a_settled_entry_is_counted_in_every_family() {
    let metrics = Metrics::default();
    let mut settled = entry("a");
    settled.latency_ms = 300;
    settled.usage =
        Usage { prompt_tokens: 10, cached_tokens: 4, cache_write_tokens: 3, completion_tokens: 5, reasoning_tokens: 2, ..Usage::default() };
    settled.cost = NanoUsd(1_500_000_000);
    settled.attempts = vec![attempt("0-first", Some("connect"), 5), attempt("1-openai", None, 70)];
    metrics.settled(&settled);
    metrics.settled(&settled);
    let pair = r#"model="gpt",provider="1-openai""#;
    let by_outcome = format!(r#"operation="chat",{pair},outcome="ok""#);
    shows(&metrics, &format!("aigw_requests_total{{{by_outcome}}} 2"));
    shows(&metrics, &format!("aigw_request_duration_seconds_sum{{{by_outcome}}} 0.6"));
    shows(&metrics, &format!(r#"aigw_request_duration_seconds_bucket{{le="0.5",{by_outcome}}} 2"#));
    shows(&metrics, &format!("aigw_upstream_first_byte_seconds_count{{{pair}}} 2"));
    shows(&metrics, &format!(r#"aigw_upstream_first_byte_seconds_bucket{{le="0.05",{pair}}} 0"#));
    for (r#type, tokens) in [("prompt", 20), ("cached", 8), ("cache_write", 6), ("completion", 10), ("reasoning", 4)] {
        shows(&metrics, &format!(r#"aigw_tokens_total{{{pair},type="{type}"}} {tokens}"#));
    }
    shows(&metrics, &format!(r#"aigw_cost_usd_total{{{pair},billing="brokered"}} 3.0"#));
    shows(&metrics, r#"aigw_retries_total{provider="0-first",error="connect"} 2"#);
}

#[test]
fn byo_is_counted_at_list_price_and_a_failed_call_has_no_time_to_first_byte() {
    let metrics = Metrics::default();
    let mut settled = entry("a");
    (settled.billing, settled.cost, settled.list_cost) = (Billing::Byo, NanoUsd(0), NanoUsd(500_000_000));
    settled.outcome = Outcome::UpstreamError;
    settled.attempts = vec![attempt("1-openai", Some("connect"), 5)];
    metrics.settled(&settled);
    shows(&metrics, r#"aigw_cost_usd_total{model="gpt",provider="1-openai",billing="byo"} 0.5"#);
    let text = metrics.encode();
    assert!(!text.contains("first_byte_seconds_count") && !text.contains("aigw_retries_total{"), "{text}");
}

#[test]
fn tenants_own_providers_do_not_grow_the_series_without_bound() {
    let metrics = Metrics::default();
    let mut settled = entry("a");
    for n in 0..3_000 {
        settled.provider = format!("byo-{n}").into();
        settled.attempts = vec![attempt(&settled.provider, Some("connect"), 1), attempt(&settled.provider, None, 1)];
        metrics.settled(&settled);
    }
    let text = metrics.encode();
    assert!(text.contains(r#"aigw_requests_total{operation="chat",model="other",provider="other",outcome="ok"} 1000"#));
    assert_eq!(text.lines().filter(|line| line.starts_with("aigw_requests_total{")).count(), 2_001);
    assert_eq!(text.lines().filter(|line| line.starts_with("aigw_retries_total{")).count(), 2_001);
}

#[test]
fn gauges_have_the_last_value_set() {
    let metrics = Metrics::default();
    let lag = Lag { entries: 7, bytes: 600, max_bytes: 1_000, oldest: Some(1_500), write_errors: 2, ..Lag::default() };
    metrics.set_in_flight(3);
    metrics.set_ledger(lag, 4);
    metrics.set_in_cooldown(["a\"b".into(), "2-other".into()]);
    metrics.set_in_cooldown(["a\"b".into()]);
    for line in [
        r#"aigw_queue_depth{queue="requests"} 3"#,
        r#"aigw_queue_depth{queue="settlements"} 4"#,
        r#"aigw_queue_depth{queue="ledger"} 7"#,
        r#"aigw_queue_depth{queue="ledger_memory"} 0"#,
        "aigw_ledger_journal_bytes 600",
        "aigw_ledger_oldest_timestamp_seconds 1.5",
        "aigw_ledger_alarm 1",
        "aigw_ledger_write_errors_total 2",
        "# TYPE aigw_ledger_alarm gauge",
    ] {
        shows(&metrics, line);
    }
    let text = metrics.encode();
    let in_cooldown: Vec<_> = text.lines().filter(|line| line.starts_with("aigw_provider_in_cooldown{")).collect();
    assert_eq!(in_cooldown, [r#"aigw_provider_in_cooldown{provider="a\"b"} 1"#]);
    metrics.set_ledger(Lag { bytes: 1, write_errors: 1, ..lag }, 0);
    shows(&metrics, "aigw_ledger_alarm 0");
    shows(&metrics, "aigw_ledger_write_errors_total 2");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn refusals_are_counted_by_code() {
    let metrics = Metrics::default();
    metrics.refused("invalid_api_key");
    shows(&metrics, r#"aigw_refused_total{code="invalid_api_key"} 1"#);
}
