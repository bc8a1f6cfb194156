//! Stages of every request: authentication, resolving, parsing and splicing the body, filtering
//! headers, reading the answer, pricing. `cargo bench --bench hot`; the journal is in `journal` and
//! `ledger`.
//!
//! Each has a reference measurement: serde_json skipping over the same bytes, or one copy of them.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod world;

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use aigw::catalog::price;
use aigw::config::{Price, Rates};
use aigw::credential::{Credential, CredentialKind};
use aigw::dialect::contract::Dialect;
use aigw::dialect::openai::OpenAi;
use aigw::dialect::quirks::Quirks;
use aigw::dialect::reader::Reader;
use aigw::dialect::request::{DialectRequest, HeaderView};
use aigw::dialect::sse::{Scanner, SseLimits};
use aigw::gateway::headers;
use aigw::http::identity::Authenticator;
use aigw::json::{Document, JsonLimits};
use aigw::payload::Payload;
use aigw::terms::{Billing, Operation, PicoUsd, Usage};
use aigw::upstream::h1::Head;
use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;

/// Returns a chat of about that many bytes: a system prompt, some turns, the usual parameters.
fn body(bytes: usize) -> Bytes {
    let prose = "A line of a long report: \"quoted\", tab\t, 1/2 = 0.5, naïve café – the quick brown fox jumps over the lazy dog.\n";
    let turn = |role: &str, bytes: usize| json!({"role": role, "content": prose.repeat(bytes.div_ceil(prose.len()))});
    let messages = [turn("system", bytes / 8), turn("user", bytes / 8), turn("assistant", bytes / 4), turn("user", bytes / 2)];
    let body = json!({"model": "gpt", "messages": messages, "temperature": 0.7, "stream": true, "max_tokens": 512, "user": "u-1"});
    Bytes::from(body.to_string())
}

/// Returns a stream of that many chunks in OpenAI's format, in pieces of that many events.
fn stream(chunks: usize, events_in_piece: usize) -> Vec<Bytes> {
    let chunk = |choices: serde_json::Value, usage: serde_json::Value| {
        let head = r#""id":"chatcmpl-Abc123","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-2024-08-06""#;
        format!("data: {{{head},\"system_fingerprint\":\"fp_1\",\"choices\":{choices},\"usage\":{usage}}}\n\n")
    };
    let delta = json!([{"index": 0, "delta": {"content": " word"}, "logprobs": null, "finish_reason": null}]);
    let stop = json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"}]);
    let mut events = vec![chunk(delta, json!(null)); chunks];
    events.push(chunk(stop, json!(null)));
    events.push(chunk(json!([]), json!({"prompt_tokens": 20, "completion_tokens": 40, "total_tokens": 60})));
    events.push("data: [DONE]\n\n".to_owned());
    events.chunks(events_in_piece).map(|events| Bytes::from(events.concat())).collect()
}

fn ask<'a>(payload: &'a Payload, quirks: &'a Quirks) -> DialectRequest<'a> {
    DialectRequest {
        operation: Operation::Chat,
        payload,
        stream: true,
        upstream_model: "gpt-4o-2024-08-06",
        max_output_tokens: None,
        quirks,
        headers: HeaderView::EMPTY,
        created: 0,
        sse: SseLimits::default(),
        seed: 0,
    }
}

fn requests(criterion: &mut Criterion) {
    let quirks = Quirks { stream_usage: true, ..Quirks::default() };
    for (name, bytes) in [("2.4 KB", 2_400), ("200 KB", 200_000)] {
        let body = body(bytes);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("copy", |bencher| bencher.iter(|| black_box(&body).to_vec()));
        group.bench_function("serde_json passes over", |bencher| {
            bencher.iter(|| serde_json::from_slice::<serde::de::IgnoredAny>(black_box(&body)));
        });
        group.bench_function("parse", |bencher| bencher.iter(|| Document::parse(black_box(&body).clone(), JsonLimits::default())));
        let Ok(payload) = Document::parse(body, JsonLimits::default()).map(Payload::Json) else { continue };
        group.bench_function("rewrite", |bencher| bencher.iter(|| OpenAi.request(black_box(&ask(&payload, &quirks))).is_ok()));
    }
}

fn streams(criterion: &mut Criterion) {
    let quirks = Quirks { stream_usage: true, ..Quirks::default() };
    let Ok(payload) = Document::parse(body(100), JsonLimits::default()).map(Payload::Json) else { return };
    let reader = || OpenAi.request(&ask(&payload, &quirks)).map(|prepared| prepared.reader);
    let mut group = criterion.benchmark_group("stream of 40 chunks");
    for (name, events_in_piece) in [("an event a piece", 1), ("all in one piece", 43)] {
        let pieces = stream(40, events_in_piece);
        group.bench_function(format!("scan, {name}"), |bencher| {
            bencher.iter(|| {
                let mut scanner = Scanner::new(SseLimits::default());
                for piece in &pieces {
                    scanner.push(piece.clone());
                    while let Ok(Some(event)) = scanner.next_event() {
                        black_box(event.data());
                    }
                }
            });
        });
        group.bench_function(format!("read, {name}"), |bencher| {
            let relay = |reader: Result<Box<dyn Reader>, _>| {
                let Ok(mut reader) = reader else { return };
                let mut out = Vec::with_capacity(4);
                for piece in &pieces {
                    black_box(reader.push(piece.clone(), &mut out));
                    out.clear();
                }
            };
            bencher.iter_batched(reader, relay, BatchSize::SmallInput);
        });
    }
}

fn routes(criterion: &mut Criterion) {
    let key = Credential::mint(CredentialKind::Virtual).unwrap();
    let snapshot = world::snapshot(&world::settings(([127, 0, 0, 1], 8080).into()), &key, 10_000);
    let mut headers = HeaderMap::new();
    for (name, value) in [("authorization", format!("Bearer {}", key.text().expose())), ("accept", "application/json".to_owned())] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
    }
    let (authenticator, last) = (Authenticator::new(600), Cell::default());
    let admit = || authenticator.admit(black_box(&headers), &last, None, &snapshot, 1_760_000_000);
    let caller = admit().unwrap();
    criterion.bench_function("identity, one of 10,000 keys", |bencher| bencher.iter(admit));
    criterion.bench_function("resolve", |bencher| bencher.iter(|| snapshot.find(black_box(&caller), black_box("m"))));
    criterion.bench_function("headers that pass upstream", |bencher| bencher.iter(|| headers::request(black_box(&headers))));
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_1\r\ndate: Thu, 26 Nov 2026 00:00:00 GMT\r\n\
                        openai-processing-ms: 400\r\nserver: upstream\r\ncontent-length: 800\r\n\r\n";
    let back = |mut bytes: BytesMut| Head::take(&mut bytes).map(|head| head.map(|head| headers::response(&head, Billing::Brokered)));
    criterion.bench_function("an answer's head, and what of it passes back", |bencher| {
        bencher.iter_batched(|| BytesMut::from(HEAD), back, BatchSize::SmallInput);
    });
}

fn answers(criterion: &mut Criterion) {
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "A line of an answer. ".repeat(25)}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 120, "total_tokens": 140},
    });
    let answer = Bytes::from(answer.to_string());
    let quirks = Quirks::default();
    let Ok(payload) = Document::parse(body(100), JsonLimits::default()).map(Payload::Json) else { return };
    let reader = || OpenAi.request(&ask(&payload, &quirks)).map(|prepared| prepared.reader);
    criterion.bench_function("whole answer of 0.8 KB", |bencher| {
        let read = |reader: Result<Box<dyn Reader>, _>| reader.map(|mut reader| reader.whole(answer.clone()).map_err(drop)).is_ok();
        bencher.iter_batched(reader, read, BatchSize::SmallInput);
    });
}

fn costs(criterion: &mut Criterion) {
    let rate = PicoUsd(2_500_000);
    let base = Rates { input: rate, cached_input: rate, cache_write: rate, cache_write_1h: rate, output: rate };
    let price = Price { base, long_context: None, request: PicoUsd(0) };
    let usage = Usage { prompt_tokens: 1200, cached_tokens: 1000, completion_tokens: 300, ..Usage::default() };
    criterion.bench_function("cost", |bencher| bencher.iter(|| price::cost(black_box(&price), black_box(&usage))));
}

criterion_group! {
    name = hot;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(30);
    targets = routes, requests, streams, answers, costs
}
criterion_main!(hot);
