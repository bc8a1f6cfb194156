//! Cost of Anthropic usage: cached tokens and both kinds of cache writes, each at its own price.
//!
//! Prices of the shared gateway, in USD per million tokens: input 3, cached 0.3, cache write 3.75
//! (five minutes) and 6 (one hour), output 15.

use serde_json::{Value, json};

use super::{message, message_start, shared_gateway};
use crate::support::upstream::Answer;

/// Usage objects, each with its cached, cache-write and prompt tokens and its cost in nano-USD.
fn priced() -> Vec<(Value, [u64; 3], u64)> {
    let usage = |input: u64, write: u64, read: u64, hour: Option<u64>| {
        let mut usage = json!({
            "input_tokens": input, "cache_creation_input_tokens": write, "cache_read_input_tokens": read, "output_tokens": 7
        });
        if let Some(hour) = hour {
            usage["cache_creation"] = json!({"ephemeral_5m_input_tokens": write - hour, "ephemeral_1h_input_tokens": hour});
        }
        usage
    };
    vec![
        // 10 × 3000 + 7 × 15000
        (json!({"input_tokens": 10, "output_tokens": 7}), [0, 0, 10], 135_000),
        // and 20480 × 300
        (usage(10, 0, 20_480, None), [20_480, 0, 20_490], 6_279_000),
        // and 312 × 3750
        (usage(10, 312, 20_480, Some(0)), [20_480, 312, 20_802], 7_449_000),
        // without the breakdown every write is a short one
        (usage(10, 312, 20_480, None), [20_480, 312, 20_802], 7_449_000),
        // 12 of the 312 × 6000
        (usage(10, 312, 20_480, Some(12)), [20_480, 312, 20_802], 7_476_000),
        // all of them
        (usage(10, 312, 0, Some(312)), [0, 312, 322], 2_007_000),
        // 3 × 3000 + 1 × 300 + 7 × 15000
        (usage(3, 0, 1, None), [1, 0, 4], 114_300),
    ]
}

fn check(entry: &Value, tokens: [u64; 3], cost: u64) {
    let [cached, written, prompt] = tokens;
    assert_eq!(entry["prompt_tokens"], prompt, "{entry}");
    assert_eq!((&entry["cached_tokens"], &entry["cache_write_tokens"]), (&json!(cached), &json!(written)));
    assert_eq!((&entry["completion_tokens"], &entry["usage_source"]), (&json!(7), &json!("upstream")));
    assert_eq!((&entry["cost_nanousd"], &entry["list_cost_nanousd"]), (&json!(cost), &json!(cost)), "{entry}");
}

#[test]
fn whole_answers_are_priced_exactly() {
    let provider = shared_gateway().provider();
    for (usage, tokens, cost) in priced() {
        provider.answers([Answer::json(200, &message(&json!([{"type": "text", "text": "Hi"}]), "end_turn", &usage))]);
        let answer = provider.ask(&json!({})).send();
        let warning = &answer.expect(200)["usage"];
        assert_eq!(warning["prompt_tokens"], tokens[2]);
        assert_eq!(warning["prompt_tokens_details"], json!({"cached_tokens": tokens[0], "cache_write_tokens": tokens[1]}));
        let dollars: f64 = answer.header("x-aigw-cost-usd").unwrap().parse().unwrap();
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let expected = cost as f64 / 1e9;
        assert!((dollars - expected).abs() < 1e-12, "{dollars} instead of {expected}");
        check(&provider.entry(&answer), tokens, cost);
    }
}

#[test]
fn streams_are_priced_exactly_whether_they_show_their_usage_or_not() {
    let provider = shared_gateway().provider();
    for (usage, tokens, cost) in priced() {
        for include_usage in [false, true] {
            let mut early = usage.clone();
            early["output_tokens"] = json!(1);
            let answer = Answer::stream()
                .event(&message_start(&early).to_string())
                .event(r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#)
                .event(r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#)
                .event(r#"{"type":"content_block_stop","index":0}"#)
                .event(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}"#)
                .event(r#"{"type":"message_stop"}"#);
            provider.answers([answer]);
            let answer = provider.ask(&json!({"stream": true, "stream_options": {"include_usage": include_usage}})).send();
            assert!(answer.status == 200 && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
            assert_eq!(answer.text().contains("cache_write_tokens"), include_usage);
            check(&provider.entry(&answer), tokens, cost);
        }
    }
}

#[test]
fn a_truncated_stream_is_metered_from_its_start() {
    let provider = shared_gateway().provider();
    let usage = json!({"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 0, "output_tokens": 1});
    let answer = Answer::stream()
        .event(&message_start(&usage).to_string())
        .event(r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#)
        .event(
            &json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word ".repeat(100)}}).to_string(),
        );
    provider.answers([answer]);
    let answer = provider.ask(&json!({"stream": true})).send();
    let entry = provider.entry(&answer);
    assert_eq!((&entry["outcome"], &entry["prompt_tokens"], &entry["cached_tokens"]), (&json!("interrupted"), &json!(110), &json!(100)));
    assert!(entry["completion_tokens"].as_u64().unwrap() > 50, "what was generated is billed: {entry}");
    assert_eq!(entry["usage_source"], "estimated");
}

#[test]
fn impossible_usage_is_estimated_and_logged() {
    let provider = shared_gateway().provider();
    let refused = |answer: &crate::support::client::Response| {
        let entry = provider.entry(answer);
        assert_eq!((&entry["usage_source"], &entry["completion_tokens"]), (&json!("estimated"), &json!(7)), "{entry}");
        let prompt = entry["prompt_tokens"].as_u64().unwrap();
        assert!((1..1_000).contains(&prompt), "{entry}");
        assert_eq!(entry["cost_nanousd"], prompt * 3_000 + 7 * 15_000);
        let warning = format!("{} reported impossible usage for request {}", provider.name, entry["request_id"].as_str().unwrap());
        assert!(shared_gateway().gateway.log().contains(&warning), "not in the log: {warning}");
    };
    for usage in [
        json!({"input_tokens": -5, "output_tokens": 7}),
        json!({"input_tokens": 5, "output_tokens": 1.5}),
        json!({"input_tokens": 5, "output_tokens": 100_000_001}),
        json!({"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": u64::MAX}),
    ] {
        let text = "exactly 21 bytes here";
        provider.answers([
            Answer::json(200, &message(&json!([{"type": "text", "text": text}]), "end_turn", &usage)),
            Answer::stream()
                .event(&message_start(&usage).to_string())
                .event(r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#)
                .event(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}).to_string())
                .event(r#"{"type":"content_block_stop","index":0}"#)
                .event(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}"#)
                .event(r#"{"type":"message_stop"}"#),
        ]);
        refused(&provider.ask(&json!({})).send());
        refused(&provider.ask(&json!({"stream": true})).send());
    }
}
