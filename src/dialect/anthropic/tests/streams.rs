//! Streams (section 8).

use super::*;

/// Returns the output of a stream of these events.
fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())).collect()
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}}})
}

fn block(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn text(text: &str) -> Value {
    delta(0, json!({"type": "text_delta", "text": text}))
}

fn stop(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn ended(stop_reason: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": {"output_tokens": 9}})
}

fn message_stop() -> Value {
    json!({"type": "message_stop"})
}

fn text_block() -> Value {
    block(0, json!({"type": "text", "text": ""}))
}

fn read_from(members: Value, text: &str) -> (Vec<Value>, Flow, Observed) {
    let mut body = with("claude-3-5-haiku-latest", members);
    body["stream"] = json!(true);
    let (text, flow, observed) = stream(ask(&body).unwrap().reader, [text]);
    (cases::payloads(&text).unwrap(), flow, observed)
}

/// Returns the deltas and the finish reason of a stream with these events between start and end.
#[track_caller]
fn translated(events: &[Value], stop_reason: &str) -> (Vec<Value>, Value) {
    let mut all = vec![start()];
    all.extend_from_slice(events);
    all.extend([ended(stop_reason), message_stop()]);
    let (mut chunks, flow, _) = read_from(json!({}), &sse(&all));
    assert_eq!(flow, Flow::Done);
    assert_eq!(chunks.pop(), Some(json!("[DONE]")));
    let mut last = chunks.pop().unwrap();
    assert_eq!(last["choices"][0]["delta"], json!({}));
    assert_eq!(chunks.remove(0)["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    (chunks.into_iter().map(|mut chunk| chunk["choices"][0]["delta"].take()).collect(), last["choices"][0]["finish_reason"].take())
}

/// Returns the text of a stream before its end, complete or not.
fn text_received(stream: &str) -> (String, Flow) {
    let (chunks, flow, _) = read_from(json!({}), stream);
    let content = |chunk: &Value| chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned();
    (chunks.iter().map(content).collect(), flow)
}

#[track_caller]
fn interrupted(flow: &Flow) -> Failure {
    match flow {
        Flow::Failed(failure) => {
            assert_eq!((failure.status, &*failure.kind, failure.code.as_deref()), (502, "upstream_error", Some("upstream_interrupted")));
            failure.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn chunks_have_openais_members_in_order() {
    let (chunks, _, _) = read_from(json!({"stream_options": {"include_usage": true}}), &sse(&[start(), ended("end_turn"), message_stop()]));
    assert_eq!(
        chunks[0].to_string(),
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#
    );
    assert_eq!(
        chunks[2].to_string(),
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#
    );
}

#[test]
fn a_second_start_is_ignored() {
    let other = json!({"type": "message_start", "message": {"id": "msg_2", "model": "other", "usage": {"input_tokens": 500}}});
    let (chunks, _, observed) = read_from(json!({}), &sse(&[start(), text_block(), other, text("x"), ended("end_turn"), message_stop()]));
    assert_eq!(chunks.iter().filter(|chunk| chunk["choices"][0]["delta"].get("role").is_some()).count(), 1);
    assert!(chunks.iter().all(|chunk| chunk == "[DONE]" || chunk["id"] == "chatcmpl-1"));
    assert_eq!(observed.usage.unwrap().prompt_tokens, 5);
}

#[test]
fn a_block_may_begin_with_text() {
    let events = [
        block(0, json!({"type": "thinking", "thinking": "T", "signature": ""})),
        stop(0),
        block(1, json!({"type": "text", "text": "A"})),
        stop(1),
    ];
    let thought = json!({"thinking_blocks": [{"type": "thinking", "thinking": "T", "signature": ""}]});
    assert_eq!(translated(&events, "end_turn").0, [json!({"reasoning_content": "T"}), json!({"content": "A"}), thought]);
}

#[test]
fn empty_deltas_give_no_chunk() {
    let events = [
        text_block(),
        text(""),
        delta(0, json!({"type": "thinking_delta", "thinking": ""})),
        delta(0, json!({"type": "text_delta"})),
        stop(0),
    ];
    assert_eq!(translated(&events, "end_turn").0, [] as [Value; 0]);
}

#[test]
fn unknown_events_are_ignored() {
    let events = [
        json!({"type": "ping"}),
        json!({"type": "brand_new", "index": "x", "delta": 5, "message": []}),
        block(7, json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})),
        delta(7, json!({"type": "input_json_delta", "partial_json": "{}"})),
        delta(7, json!({"type": "text_delta", "text": "no"})),
        stop(7),
        block(8, json!({"type": "brand_new", "text": {"a": 1}})),
        text_block(),
        delta(0, json!({"type": "citations_delta", "citation": {}})),
        delta(0, json!({"type": "brand_new_delta", "text": ["no"]})),
        delta(0, json!({"type": "input_json_delta", "partial_json": "no"})),
        delta(99, json!({"type": "text_delta", "text": "no"})),
        stop(99),
        text("yes"),
        stop(0),
        text("no"),
    ];
    assert_eq!(translated(&events, "end_turn").0, [json!({"content": "yes"})]);
}

#[test]
fn tool_calls_are_counted_apart_from_blocks() {
    let call = |index: u64, id: &str| block(index, json!({"type": "tool_use", "id": id, "name": "f", "input": {}}));
    let arguments = |index: u64, json: &str| delta(index, json!({"type": "input_json_delta", "partial_json": json}));
    let events = [
        block(0, json!({"type": "server_tool_use", "id": "s", "name": "f", "input": {}})),
        stop(0),
        block(1, json!({"type": "text", "text": ""})),
        stop(1),
        call(2, "a"),
        call(5, "b"),
        arguments(5, "{\"é\":"),
        arguments(2, "{}"),
        arguments(5, "1}"),
        stop(2),
        stop(5),
    ];
    let started = |index: u64, id: &str| json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": "f", "arguments": ""}}]});
    let more = |index: u64, json: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": json}}]});
    assert_eq!(
        translated(&events, "tool_use"),
        (vec![started(0, "a"), started(1, "b"), more(1, "{\"é\":"), more(0, "{}"), more(1, "1}")], json!("tool_calls"))
    );
}

#[test]
fn a_call_that_streams_no_arguments_has_those_it_began_with() {
    let whole = |input: Value| {
        let events = [
            block(0, json!({"type": "tool_use", "id": "a", "name": "f", "input": input})),
            delta(0, json!({"type": "input_json_delta", "partial_json": ""})),
            stop(0),
        ];
        translated(&events, "tool_use").0[1]["tool_calls"][0].take()
    };
    assert_eq!(whole(json!({})), json!({"index": 0, "function": {"arguments": "{}"}}));
    assert_eq!(whole(json!(null)), json!({"index": 0, "function": {"arguments": "{}"}}));
    assert_eq!(whole(json!({"b": [1, 2], "a": "é"})), json!({"index": 0, "function": {"arguments": "{\"b\":[1,2],\"a\":\"é\"}"}}));
}

#[test]
fn stop_reasons_are_mapped_to_openais() {
    let call = [block(0, json!({"type": "tool_use", "id": "a", "name": "f", "input": {}}))];
    for (reason, finish, after_call) in [
        ("end_turn", "stop", "stop"),
        ("stop_sequence", "stop", "stop"),
        ("pause_turn", "stop", "stop"),
        ("brand_new", "stop", "stop"),
        ("max_tokens", "length", "length"),
        ("model_context_window_exceeded", "length", "length"),
        ("tool_use", "stop", "tool_calls"),
        ("refusal", "content_filter", "content_filter"),
    ] {
        assert_eq!(translated(&[], reason).1, finish);
        assert_eq!(translated(&call, reason).1, after_call);
    }
    let (chunks, flow, _) = read_from(json!({}), &sse(&[start(), message_stop()]));
    assert_eq!((flow, &chunks[1]["choices"][0]["finish_reason"]), (Flow::Done, &json!("stop")));
}

#[test]
fn thinking_is_shown_as_it_comes_and_kept_whole_if_it_came_first() {
    let thought = |index: u64| block(index, json!({"type": "thinking", "thinking": "", "signature": ""}));
    let thinking_delta_of = |index: u64, text: &str| delta(index, json!({"type": "thinking_delta", "thinking": text}));
    let signed = |index: u64, signature: &str| delta(index, json!({"type": "signature_delta", "signature": signature}));
    let redacted = |index: u64| block(index, json!({"type": "redacted_thinking", "data": "d"}));
    let first =
        [thought(0), thinking_delta_of(0, "a"), thinking_delta_of(0, "b"), signed(0, "x"), signed(0, "y"), stop(0), redacted(1), stop(1)];
    let shown = vec![
        json!({"reasoning_content": "a"}),
        json!({"reasoning_content": "b"}),
        json!({"thinking_blocks": [{"type": "thinking", "thinking": "ab", "signature": "y"}, {"type": "redacted_thinking", "data": "d"}]}),
    ];
    assert_eq!(translated(&first, "end_turn").0, shown);
    let mut interleaved = first.to_vec();
    interleaved.extend([block(2, json!({"type": "text", "text": ""})), stop(2), thought(3), thinking_delta_of(3, "c"), stop(3)]);
    assert_eq!(
        translated(&interleaved, "end_turn").0,
        [json!({"reasoning_content": "a"}), json!({"reasoning_content": "b"}), json!({"reasoning_content": "c"})]
    );
    let late = [block(0, json!({"type": "fallback"})), thought(1), thinking_delta_of(1, "a"), stop(1)];
    assert_eq!(translated(&late, "end_turn").0, [json!({"reasoning_content": "a"})]);
}

#[test]
fn a_refusal_is_explained_before_the_end() {
    let refused = json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": {"explanation": "No."}}});
    let (chunks, _, observed) = read_from(json!({}), &sse(&[start(), refused, message_stop()]));
    assert_eq!(chunks[1]["choices"][0]["delta"], json!({"refusal": "No."}));
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(observed.finish_reason.as_deref(), Some("content_filter"));
    assert_eq!(translated(&[], "refusal").0, [] as [Value; 0]);
}

#[test]
fn counts_replace_earlier_ones_and_are_never_added() {
    let counted = |usage: Value| json!({"type": "message_delta", "delta": {}, "usage": usage});
    let started = json!({"type": "message_start", "message": {"usage": {
        "input_tokens": 5, "cache_creation_input_tokens": 7, "cache_read_input_tokens": 11, "output_tokens": 1,
        "cache_creation": {"ephemeral_1h_input_tokens": 3},
    }}});
    let events = [
        started,
        counted(json!({"output_tokens": 4})),
        counted(
            json!({"output_tokens": 9, "input_tokens": 6, "cache_read_input_tokens": null, "output_tokens_details": {"thinking_tokens": 2}}),
        ),
        ended("end_turn"),
        message_stop(),
    ];
    let (chunks, _, observed) = read_from(json!({"stream_options": {"include_usage": true}}), &sse(&events));
    assert_eq!(
        chunks[chunks.len() - 2]["usage"],
        json!({
            "prompt_tokens": 24, "completion_tokens": 9, "total_tokens": 33,
            "prompt_tokens_details": {"cached_tokens": 11, "cache_write_tokens": 7},
            "completion_tokens_details": {"reasoning_tokens": 2},
        })
    );
    let usage = observed.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.cache_write_1h_tokens, usage.completion_tokens), (24, 3, 9));
}

#[test]
fn a_truncated_stream_has_the_counts_of_its_start() {
    let (_, flow, observed) = read_from(json!({}), &sse(&[start(), text_block(), text("héllo")]));
    interrupted(&flow);
    assert_eq!((observed.usage.map(|usage| usage.prompt_tokens), observed.output_bytes), (Some(5), 6));
    // A complete stream without an output count has no usage.
    let uncounted = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}});
    let (_, _, observed) = read_from(json!({}), &sse(&[start(), text_block(), text("x"), uncounted, message_stop()]));
    assert_eq!(observed.usage, None);
}

#[test]
fn the_stream_stays_opening_until_the_message_starts() {
    let mut reader = ask(&with("claude-opus-5", json!({"stream": true}))).unwrap().reader;
    let mut out = Vec::new();
    for piece in [": hello\n\n".to_owned(), sse(&[json!({"type": "ping"})]), sse(&[json!({"type": "brand_new"})]), "event: mess".into()] {
        assert_eq!(reader.push(Bytes::from(piece), &mut out), Flow::Opening);
    }
    assert!(out.is_empty());
    let rest = sse(&[start()]);
    assert_eq!(reader.push(Bytes::from(rest["event: mess".len()..].to_owned()), &mut out), Flow::Flowing);
    assert_eq!(out.len(), 1);
}

#[test]
fn an_error_before_the_start_is_the_answer() {
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let (chunks, flow, _) = read_from(json!({}), &sse(&[json!({"type": "ping"}), error]));
    assert!(chunks.is_empty());
    let Flow::Failed(failure) = flow else { panic!("{flow:?}") };
    assert_eq!((failure.status, failure.code.as_deref()), (503, Some("server_is_overloaded")));
    assert_eq!(body_of(&failure)["error"]["message"], "Overloaded");
}

#[test]
fn an_error_later_is_the_last_frame() {
    let error = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "Slow \"down\"", "details": {"error_code": "x"}}});
    let (chunks, _, _) =
        read_from(json!({"stream_options": {"include_usage": true}}), &sse(&[start(), error, text_block(), message_stop()]));
    assert_eq!(chunks.len(), 2);
    assert_eq!(
        chunks[1],
        json!({"error": {"message": "Slow \"down\"", "type": "rate_limit_error", "param": null, "code": "upstream_interrupted"}})
    );
}

#[test]
fn a_truncated_stream_is_interrupted() {
    for events in [vec![], vec![json!({"type": "ping"})], vec![start()], vec![start(), text_block(), text("x"), stop(0)]] {
        let (chunks, flow, _) = read_from(json!({}), &sse(&events));
        interrupted(&flow);
        assert!(chunks.iter().all(|chunk| chunk != "[DONE]"));
    }
    let (chunks, flow, _) = read_from(json!({}), &sse(&[message_stop()]));
    interrupted(&flow);
    assert!(chunks.is_empty());
}

#[test]
fn a_stream_that_ends_after_its_stop_reason_is_complete() {
    let (chunks, flow, _) = read_from(json!({}), &sse(&[start(), text_block(), text("x"), ended("max_tokens")]));
    assert_eq!((flow, chunks.last()), (Flow::Done, Some(&json!("[DONE]"))));
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "length");
}

#[test]
fn data_that_is_not_json_interrupts() {
    for bad in ["{", "hello", "{}}", "\u{0}"] {
        let before = format!("data: {bad}\n\n");
        assert!(interrupted(&text_received(&before).1).message.contains("not JSON"), "{bad:?}");
        let after = format!("{}data: {bad}\n\n{}", sse(&[start(), text_block(), text("x")]), sse(&[text("y")]));
        let (text, flow) = text_received(&after);
        interrupted(&flow);
        assert_eq!(text, "x");
    }
    let reader = ask(&with("claude-opus-5", json!({}))).unwrap().reader;
    interrupted(&stream(reader, [b"data: {\"type\":\"ping\",\"x\":\"\xff\"}\n\n"]).1);
}

#[test]
fn a_malformed_known_event_interrupts_the_stream() {
    for odd in [
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\ud83d"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":"x"}"#,
        r#"{"type":"content_block_delta","index":-1,"delta":{}}"#,
    ] {
        let (text, flow) = text_received(&format!("{}data: {odd}\n\n", sse(&[start(), text_block(), text("x")])));
        interrupted(&flow);
        assert_eq!(text, "x");
    }
}

#[test]
fn the_type_in_the_data_takes_precedence_over_the_name() {
    let chunk = |event: &str, data: &str| text_received(&format!("{}event: {event}\ndata: {data}\n\n", sse(&[start(), text_block()]))).0;
    let text = r#""index":0,"delta":{"type":"text_delta","text":"x"}}"#;
    assert_eq!(chunk("ping", &format!("{{\"type\":\"content_block_delta\",{text}")), "x");
    assert_eq!(chunk("content_block_delta", &format!("{{\"type\":\"ping\",{text}")), "");
    assert_eq!(chunk("content_block_delta", &format!("{{{text}")), "x");
    let named = |data: &str| text_received(&format!("{}event: message_stop\n{data}\n\n", sse(&[start()]))).1;
    assert_eq!((named("data: {}"), named("data:")), (Flow::Done, Flow::Done));
    interrupted(&named(": no data"));
}

#[test]
fn every_standard_line_format_is_accepted() {
    let line = |data: &str| format!("\u{feff}id: 1\nretry: 5\nevent:message_start\ndata:{data}\n\n");
    assert_eq!(text_received(&line(&start().to_string())).1, interrupted_flow());
    let split = "\u{feff}: comment\r\ndata: {\"type\":\r\ndata: \"message_start\",\r\ndata:  \"message\":{}}\r\nunknown\r\n\r\n";
    let (chunks, _, _) = read_from(json!({}), split);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
}

fn interrupted_flow() -> Flow {
    Flow::Failed(Failure::interrupted("the provider's stream ended before its answer was complete"))
}

#[test]
fn the_last_event_counts_without_its_blank_line_if_it_is_whole() {
    let all = sse(&[start(), text_block(), text("x"), ended("end_turn"), message_stop()]);
    for cut in 0..3 {
        assert_eq!(text_received(&all[..all.len() - cut]).1, Flow::Done, "{cut}");
    }
    // A truncated event is dropped. The stop reason was seen, so the answer is complete.
    assert_eq!(text_received(&all[..all.len() - 5]), ("x".into(), Flow::Done));
    let started = sse(&[start(), text_block(), text("x"), text("y")]);
    assert_eq!(text_received(&started[..started.len() - 2]), ("xy".into(), interrupted_flow()));
    assert_eq!(text_received(&started[..started.len() - 3]), ("x".into(), interrupted_flow()));
}

#[test]
fn an_event_that_is_too_large_interrupts() {
    let mut reader = ask(&with("claude-opus-5", json!({}))).unwrap().reader;
    let (mut out, mut pushed) = (Vec::new(), 0_usize);
    assert_eq!(reader.push(Bytes::from(sse(&[start()])), &mut out), Flow::Flowing);
    reader.push(Bytes::from_static(b"data: \""), &mut out);
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let flow = loop {
        match reader.push(piece.clone(), &mut out) {
            Flow::Flowing => pushed += piece.len(),
            flow => break flow,
        }
        assert!(pushed <= 17 << 20, "it holds more than it may");
    };
    assert!(interrupted(&flow).message.contains("size limit"));
}

#[test]
fn too_many_open_blocks_interrupt_the_stream() {
    let events: Vec<Value> = (0..1000).map(|index| block(index, json!({"type": "text", "text": ""}))).collect();
    interrupted(&text_received(&(sse(&[start()]) + &sse(&events))).1);
}

#[test]
fn an_answer_given_by_a_tool_is_content_from_the_first_byte() {
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}});
    let answer = |deltas: &[&str], input: Value| {
        let mut events = vec![start(), block(0, json!({"type": "tool_use", "id": "t", "name": "json_response", "input": input}))];
        events.extend(deltas.iter().map(|json| delta(0, json!({"type": "input_json_delta", "partial_json": json}))));
        events.extend([stop(0), ended("tool_use"), message_stop()]);
        let (chunks, _, _) = read_from(format.clone(), &sse(&events));
        chunks[1..chunks.len() - 1].iter().map(|chunk| chunk["choices"][0].clone()).collect::<Vec<_>>()
    };
    let says = |delta: Value, finish: Value| json!({"index": 0, "delta": delta, "finish_reason": finish});
    let stop = || says(json!({}), json!("stop"));
    assert_eq!(
        answer(&["", "{\"a\":", "1}"], json!({})),
        [says(json!({"content": "{\"a\":"}), json!(null)), says(json!({"content": "1}"}), json!(null)), stop()]
    );
    assert_eq!(answer(&[], json!({})), [says(json!({"content": "{}"}), json!(null)), stop()]);
    assert_eq!(answer(&[], json!({"a": 1})), [says(json!({"content": "{\"a\":1}"}), json!(null)), stop()]);
}

#[test]
fn only_the_unfinished_event_and_thinking_are_held() {
    let mut reader = ask(&with("claude-opus-5", json!({}))).unwrap().reader;
    let mut out = Vec::new();
    reader.push(Bytes::from(sse(&[start(), text_block(), text("x")]) + "data: {"), &mut out);
    assert_eq!(reader.held(), 7);
    let mut reader = ask(&with("claude-opus-5", json!({}))).unwrap().reader;
    let thought = block(0, json!({"type": "thinking", "thinking": "t".repeat(1000), "signature": ""}));
    reader.push(Bytes::from(sse(&[start(), thought])), &mut out);
    assert!((1000..2000).contains(&reader.held()), "{}", reader.held());
}
