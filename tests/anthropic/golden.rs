//! Golden cases through the gateway.

use serde_json::Value;

use super::{TestProvider, provider_key, shared_gateway};
use crate::support::cases::{self, Body, Case};
use crate::support::client::Response;
use crate::support::upstream::Answer;

/// Returns the scripted answer of a case.
fn scripted(case: &Case) -> Option<Answer> {
    let answer = case.upstream.as_ref()?;
    let head = answer.headers.iter().fold(Answer::head(answer.status), |head, (name, value)| head.header(name, value.as_str().unwrap()));
    Some(match &answer.body {
        Body::Whole(text) => head.piece(text.as_bytes()),
        Body::Stream(text) => head.header("connection", "close").chunked().piece(text.as_bytes()),
    })
}

fn send(provider: &TestProvider<'_>, case: &Case) -> Response {
    provider.answers(scripted(case));
    let request = provider.chat(&case.openai_request);
    let headers = case.openai_headers.iter();
    headers.fold(request, |request, (name, value)| request.header(name, value.as_str().unwrap())).send()
}

/// Checks the upstream request.
fn check_call(provider: &TestProvider<'_>, case: &Case) {
    let file = &case.file;
    let calls = provider.script.calls();
    let Some(expected) = &case.anthropic_request else {
        assert!(calls.is_empty(), "{file}: a refused request went upstream");
        return;
    };
    assert!(!calls.is_empty(), "{file}: nothing went upstream");
    for call in &calls {
        assert_eq!((call.method.as_str(), call.target.as_str()), ("POST", &*format!("/{}/v1/messages", provider.name)), "{file}");
        cases::difference("request", expected, &call.json(), "").unwrap_or_else(|difference| panic!("{file}: {difference}"));
        for name in ["anthropic-version", "anthropic-beta"] {
            assert_eq!(call.headers.get(name), case.upstream_header(name), "{file}: {name}");
        }
        assert_eq!(call.headers.get("x-api-key"), Some(&*provider_key(&provider.name)), "{file}");
        assert_eq!(call.headers.get("content-type"), Some("application/json"), "{file}");
        assert!(call.headers.get("authorization").is_none(), "{file}: the client's key went upstream");
    }
}

/// Checks the client's answer: the dialect's, or the error of an exhausted chain.
fn check_answer(provider: &TestProvider<'_>, case: &Case, answer: &Response) {
    let file = &case.file;
    match case.upstream.as_ref().map(|upstream| upstream.status) {
        Some(401..=403) => {
            answer.error(502, "upstream_error", "upstream_auth_failed");
            assert_eq!(provider.script.calls().len(), 1, "{file}");
        }
        Some(429 | 500..) => {
            let is_passed_on = matches!(case.expected.status, 429 | 503);
            answer.error(if is_passed_on { case.expected.status } else { 502 }, "upstream_error", "all_providers_failed");
        }
        _ => {
            assert_eq!(answer.status, case.expected.status, "{file}: {}", answer.text());
            let compared = match &case.expected.chunks {
                Some(_) => case.compare_stream(&answer.text()),
                None => case.compare_body(&answer.json()),
            };
            compared.unwrap_or_else(|difference| panic!("{file}: {difference}"));
            let content_type = if case.expected.chunks.is_some() { "text/event-stream" } else { "application/json" };
            assert!(answer.header("content-type").is_some_and(|header| header.starts_with(content_type)), "{file}: {:?}", answer.headers);
        }
    }
    for (name, value) in &case.expected.headers {
        // The client gets aigw's name of the request id. `x-should-retry` is for Anthropic's
        // clients only.
        let name = match name.as_str() {
            "request-id" => "x-upstream-request-id",
            "x-should-retry" => continue,
            name => name,
        };
        assert_eq!(answer.header(name), value.as_str(), "{file}: {name}");
    }
}

/// Checks the ledger entry of a request that was sent upstream.
fn check_entry(provider: &TestProvider<'_>, case: &Case, answer: &Response) {
    let entry = provider.entry(answer);
    let file = &case.file;
    assert_eq!(entry["status"], answer.status, "{file}");
    assert_eq!(entry["kind"], *provider.name, "{file}");
    let theirs = case.upstream.as_ref().and_then(|upstream| upstream.headers.get("request-id"));
    for attempt in entry["attempts"].as_array().unwrap() {
        assert_eq!(attempt.get("request_id"), theirs, "{file}: {attempt}");
    }
    let usage = match (&case.expected.body, &case.expected.chunks) {
        (Some(body), _) => body["usage"].clone(),
        (_, Some(chunks)) => chunks.iter().find_map(|chunk| Some(chunk.get("usage")?.clone()).filter(Value::is_object)).unwrap_or_default(),
        _ => Value::Null,
    };
    if usage.is_object() {
        let told = [
            ("prompt_tokens", &usage["prompt_tokens"]),
            ("completion_tokens", &usage["completion_tokens"]),
            ("cached_tokens", &usage["prompt_tokens_details"]["cached_tokens"]),
            ("cache_write_tokens", &usage["prompt_tokens_details"]["cache_write_tokens"]),
            ("reasoning_tokens", &usage["completion_tokens_details"]["reasoning_tokens"]),
        ];
        for (field, told) in told {
            assert_eq!(&entry[field], told, "{file}: {field}");
        }
        assert_eq!(entry["usage_source"], "upstream", "{file}");
    }
}

#[test]
fn every_golden_case_passes_through_the_gateway() {
    let failures: Vec<String> =
        cases::load().iter().filter_map(|case| std::panic::catch_unwind(|| run(case)).err().map(|_| case.file.clone())).collect();
    assert!(failures.is_empty(), "these cases failed, see above: {failures:#?}");
}

fn run(case: &Case) {
    let provider = shared_gateway().provider();
    let answer = send(&provider, case);
    check_call(&provider, case);
    check_answer(&provider, case, &answer);
    if case.anthropic_request.is_some() {
        check_entry(&provider, case, &answer);
    }
}
