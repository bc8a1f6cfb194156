//! Translation between OpenAI's and Anthropic's APIs: a request with tools, and an answer, whole
//! and as a stream. `cargo bench --bench anthropic` counts allocations first and then measures
//! times.

use std::alloc::System;
use std::hint::black_box;
use std::time::Duration;

use aigw::dialect::anthropic::Anthropic;
use aigw::dialect::call::Prepared;
use aigw::dialect::contract::Dialect;
use aigw::dialect::quirks::Quirks;
use aigw::dialect::request::{DialectRequest, HeaderView};
use aigw::dialect::sse::SseLimits;
use aigw::json::{Document, JsonLimits};
use aigw::payload::Payload;
use aigw::terms::Operation;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Number of chunks of a stream.
const CHUNKS: usize = 40;

/// Request with twenty messages, four of them about tools, and ten tools.
fn request() -> Bytes {
    let prose = "The quick brown fox says \"jump\" to the lazy dog; naïve, isn't it? ".repeat(4);
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string", "description": "City"}, "days": {"type": "integer"}}, "required": ["city"]});
    let tool = |nth: usize| json!({"type": "function", "function": {"name": format!("tool_{nth}"), "description": "Does something.", "parameters": parameters}});
    let call =
        |id: &str| json!({"id": id, "type": "function", "function": {"name": "tool_1", "arguments": "{\"city\": \"Lima\", \"days\": 3}"}});
    let mut messages = vec![json!({"role": "system", "content": prose})];
    while messages.len() < 15 {
        messages.push(json!({"role": "user", "content": prose}));
        messages.push(json!({"role": "assistant", "content": prose}));
    }
    messages.push(json!({"role": "user", "content": [{"type": "text", "text": prose}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}));
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call("toolu_1"), call("toolu_2")]}));
    messages.push(json!({"role": "tool", "tool_call_id": "toolu_1", "content": "{\"temperature\": 21}"}));
    messages.push(json!({"role": "tool", "tool_call_id": "toolu_2", "content": "{\"temperature\": 22}"}));
    messages.push(json!({"role": "user", "content": prose}));
    let tools: Vec<Value> = (0..10).map(tool).collect();
    let body = json!({"model": "claude", "max_tokens": 1024, "stream": true, "messages": messages, "tools": tools, "tool_choice": "auto", "user": "u-1"});
    Bytes::from(body.to_string())
}

/// Returns a stream of that many deltas in Anthropic's format, in pieces of that many events.
fn stream(deltas: usize, events_in_piece: usize) -> Vec<Bytes> {
    let event = |event: Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    let start = json!({"id": "msg_01Gd2vYm7KcXt5QwRn9LbHsZ", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "content": [], "usage": {"input_tokens": 11, "output_tokens": 1}});
    let mut events = vec![
        event(json!({"type": "message_start", "message": start})),
        event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})),
    ];
    events
        .extend(vec![event(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " word"}})); deltas]);
    events.push(event(json!({"type": "content_block_stop", "index": 0})));
    events.push(event(
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 40}}),
    ));
    events.push(event(json!({"type": "message_stop"})));
    events.chunks(events_in_piece).map(|events| Bytes::from(events.concat())).collect()
}

/// Complete answer with a text and a tool call.
fn message() -> Bytes {
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(20);
    let content = json!([{"type": "text", "text": text}, {"type": "tool_use", "id": "toolu_1", "name": "tool_1", "input": {"city": "Lima", "days": 3}}]);
    let usage = json!({"input_tokens": 21, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 6});
    let body = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "content": content, "stop_reason": "tool_use", "usage": usage});
    Bytes::from(body.to_string())
}

fn prepared(payload: &Payload) -> Prepared {
    let asked = Anthropic.request(&DialectRequest {
        operation: Operation::Chat,
        payload,
        stream: true,
        upstream_model: "claude-sonnet-5-5",
        max_output_tokens: Some(128_000),
        quirks: &Quirks::default(),
        headers: HeaderView::EMPTY,
        created: 0,
        sse: SseLimits::default(),
        seed: 0,
    });
    asked.unwrap_or_else(|refused| panic!("{refused}"))
}

fn translate(prepared: &mut Prepared, pieces: &[Bytes]) -> usize {
    let mut out = Vec::with_capacity(8);
    let mut frames = 0;
    for piece in pieces {
        let _ = black_box(prepared.reader.push(piece.clone(), &mut out));
        frames += out.len();
        out.clear();
    }
    frames
}

/// Prints the number and size of the allocations of `work`.
fn count<T>(name: &str, work: impl FnOnce() -> T) {
    let region = Region::new(ALLOCATOR);
    black_box(work());
    let spent = region.change();
    let (times, bytes) = (spent.allocations + spent.reallocations, spent.bytes_allocated);
    println!("{name}: {times} allocations, {bytes} bytes");
}

fn bench(criterion: &mut Criterion) {
    let body = request();
    let document = Document::parse(body.clone(), JsonLimits::default()).unwrap_or_else(|error| panic!("{error}"));
    let payload = Payload::Json(document);
    let (each, all, message) = (stream(CHUNKS, 1), stream(CHUNKS, usize::MAX), message());
    assert_eq!(translate(&mut prepared(&payload), &each), CHUNKS + 3);

    count("a request of 20 messages and 10 tools", || prepared(&payload));
    let mut reader = prepared(&payload);
    count("a stream of 40 chunks, an event a piece", || translate(&mut reader, &each));
    let mut reader = prepared(&payload);
    count("a stream of 40 chunks in one piece", || translate(&mut reader, &all));
    let mut reader = prepared(&payload);
    count("a complete answer", || reader.reader.whole(message.clone()).is_ok());

    let mut group = criterion.benchmark_group("anthropic request");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("20 messages, 10 tools", |bencher| bencher.iter(|| prepared(black_box(&payload))));
    group.finish();

    let mut group = criterion.benchmark_group("anthropic answer");
    group.throughput(Throughput::Elements(CHUNKS as u64));
    for (name, pieces) in [("40 chunks, an event a piece", &each), ("40 chunks in one piece", &all)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(|| prepared(&payload), |prepared| translate(prepared, pieces), BatchSize::SmallInput);
        });
    }
    group.throughput(Throughput::Bytes(message.len() as u64));
    group.bench_function("whole", |bencher| {
        bencher.iter_batched_ref(|| prepared(&payload), |prepared| prepared.reader.whole(message.clone()).is_ok(), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).sample_size(50);
    targets = bench
}
criterion_main!(benches);
