use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::reader::{Flow, Observed};
use crate::dialect::request::HeaderView;
use crate::json::JsonLimits;
use crate::payload::Payload;
use crate::terms::Usage;

fn ask(body: &Value, quirks: &Quirks, operation: Operation) -> Result<Prepared, Refused> {
    let payload = Payload::Json(Document::parse(Bytes::from(body.to_string()), JsonLimits::default()).unwrap());
    OpenAi.request(&DialectRequest {
        operation,
        payload: &payload,
        stream: body["stream"] == true,
        upstream_model: "up",
        max_output_tokens: None,
        quirks,
        headers: HeaderView::EMPTY,
        created: 0,
        sse: crate::dialect::sse::SseLimits::default(),
        seed: 0,
    })
}

fn sent(body: &Value, quirks: &Quirks, operation: Operation) -> Value {
    let Call::Http { headers, content_type, body } = ask(body, quirks, operation).unwrap().call else { panic!("a remote dialect") };
    assert_eq!((headers, &*content_type), (Vec::new(), "application/json"));
    serde_json::from_slice(&body).unwrap()
}

fn usual() -> Quirks {
    Quirks { stream_usage: true, ..Quirks::default() }
}

fn reader_for(body: &Value) -> Box<dyn Reader> {
    ask(body, &usual(), Operation::Chat).unwrap().reader
}

fn streamed() -> Box<dyn Reader> {
    reader_for(&json!({"model": "m", "stream": true}))
}

/// Returns the client's output for these pieces, and the final state.
fn relayed(mut reader: Box<dyn Reader>, pieces: &[&[u8]]) -> (String, Flow, Observed) {
    let mut out = Vec::new();
    let mut end = Flow::Opening;
    for piece in pieces {
        end = reader.push(Bytes::copy_from_slice(piece), &mut out);
        if matches!(end, Flow::Done | Flow::Failed(_)) {
            break;
        }
    }
    if matches!(end, Flow::Opening | Flow::Flowing) {
        end = reader.end(&mut out);
    }
    assert!(out.iter().all(|bytes| !bytes.is_empty()));
    (String::from_utf8(out.concat()).unwrap(), end, reader.observed())
}

fn chunk(content: &str) -> String {
    format!(
        "data: {}\n\n",
        json!({"id": "1", "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}], "usage": null})
    )
}
fn stop() -> String {
    format!("data: {}\n\n", json!({"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
}
fn usage() -> String {
    format!("data: {}\n\n", json!({"id": "1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}))
}
const DONE: &str = "data: [DONE]\n\n";
const USED: Usage = Usage {
    prompt_tokens: 7,
    completion_tokens: 5,
    cached_tokens: 0,
    cache_write_tokens: 0,
    cache_write_1h_tokens: 0,
    reasoning_tokens: 0,
};

#[test]
fn only_the_model_is_changed_in_a_plain_request() {
    let text = "{ \"messages\": [ {\"role\":\"user\",\"content\":\"h\\u00e9\"} ],\n \"model\" : \"gpt\", \"unknown\": 1.0e0 }";
    let payload = Payload::Json(Document::parse(Bytes::from(text), JsonLimits::default()).unwrap());
    for (upstream_model, expected) in [("a\"b", text.replace("\"gpt\"", "\"a\\\"b\"")), ("gpt", text.to_owned())] {
        let ask = DialectRequest {
            operation: Operation::Chat,
            payload: &payload,
            stream: false,
            upstream_model,
            max_output_tokens: Some(1),
            quirks: &usual(),
            headers: HeaderView::EMPTY,
            created: 0,
            sse: crate::dialect::sse::SseLimits::default(),
            seed: 0,
        };
        let Call::Http { body, .. } = OpenAi.request(&ask).unwrap().call else { panic!("a remote dialect") };
        assert_eq!(body, expected);
        assert_eq!(body.as_ptr() == payload.bytes().as_ptr(), upstream_model == "gpt", "nothing to change, nothing to copy");
    }
}

#[test]
fn a_stream_requests_usage_and_keeps_its_other_options() {
    let chat = |body: Value| sent(&body, &usual(), Operation::Chat)["stream_options"].clone();
    assert_eq!(chat(json!({"model": "m", "stream": true})), json!({"include_usage": true}));
    assert_eq!(chat(json!({"model": "m", "stream": true, "stream_options": null})), json!({"include_usage": true}));
    let given = json!({"include_obfuscation": false, "include_usage": false});
    let expected = json!({"include_obfuscation": false, "include_usage": true});
    assert_eq!(chat(json!({"model": "m", "stream": true, "stream_options": given})), expected);
    assert_eq!(chat(json!({"model": "m", "stream": true, "stream_options": {}})), json!({"include_usage": true}));
    assert_eq!(chat(json!({"model": "m", "stream": false})), Value::Null);
    let body = json!({"model": "m", "stream": true});
    assert_eq!(sent(&body, &usual(), Operation::Completions)["stream_options"], json!({"include_usage": true}));
    assert_eq!(sent(&body, &usual(), Operation::Embeddings)["stream_options"], Value::Null);
    assert_eq!(sent(&body, &Quirks::default(), Operation::Chat)["stream_options"], Value::Null);
}

#[test]
fn stream_options_that_cannot_be_read_are_refused() {
    for (options, param) in
        [(json!([]), "stream_options"), (json!("x"), "stream_options"), (json!({"include_usage": "yes"}), "stream_options.include_usage")]
    {
        let refused = ask(&json!({"model": "m", "stream": true, "stream_options": options}), &usual(), Operation::Chat).err().unwrap();
        assert_eq!((refused.code, refused.param.as_deref()), ("invalid_value", Some(param)));
    }
}

#[test]
fn the_kinds_quirks_are_applied_last() {
    let quirks = Quirks {
        rename: vec![("max_completion_tokens".into(), "max_tokens".into())],
        drop: vec!["user".into(), "stream_options".into()],
        set: vec![("safe_mode".into(), "true".into()), ("temperature".into(), "0.5".into())],
        ..usual()
    };
    let body =
        json!({"model": "m", "stream": true, "max_completion_tokens": 5, "max_tokens": 9, "user": "u", "temperature": 2, "kept": [1]});
    let expected = json!({"model": "up", "stream": true, "max_tokens": 5, "temperature": 0.5, "kept": [1], "safe_mode": true});
    assert_eq!(sent(&body, &quirks, Operation::Chat), expected);
}

#[test]
fn a_body_passes_byte_for_byte_and_its_usage_is_read() {
    let body = Bytes::from(
        "{ \"choices\": [ {\"message\": {\"content\": \"h\\u00e9y\\n\", \"tool_calls\": [{\"function\": {\"arguments\": \"{}\"}}]}, \"finish_reason\": \"length\"} ],\n\
         \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 5} }\n",
    );
    let mut reader = reader_for(&json!({"model": "m"}));
    assert_eq!(reader.whole(body.clone()).unwrap().as_ptr(), body.as_ptr());
    let expected = Observed { usage: Some(USED), finish_reason: Some("length".into()), output_bytes: 7, ..Observed::default() };
    assert_eq!(reader.observed(), expected);
}

#[test]
fn embeddings_tell_their_prompt_tokens() {
    let body = json!({"object": "list", "data": [{"embedding": [0.1], "index": 0}], "usage": {"prompt_tokens": 7, "total_tokens": 7}});
    let mut reader = ask(&json!({"model": "m", "input": "x"}), &usual(), Operation::Embeddings).unwrap().reader;
    reader.whole(Bytes::from(body.to_string())).unwrap();
    assert_eq!(reader.observed().usage, Some(Usage { prompt_tokens: 7, ..Usage::default() }));
}

#[test]
fn a_success_that_is_not_an_answer_is_a_failure() {
    for (body, status, code) in [
        ("", 502, "upstream_interrupted"),
        ("[]", 502, "upstream_interrupted"),
        ("\"hi\"", 502, "upstream_interrupted"),
        ("<html>", 502, "upstream_interrupted"),
        (r#"{"choices":[{"message":{"content":"cut o"#, 502, "upstream_interrupted"),
        (r#"{"choices":[]} {"#, 502, "upstream_interrupted"),
        (r#"{"error":{"message":"slow down","code":429}}"#, 429, "429"),
        (r#"{"error":{"message":"x","type":"boom"},"choices":[]}"#, 502, "boom"),
        (r#"{"object":"error","message":"x","code":400}"#, 400, "400"),
    ] {
        let failure = reader_for(&json!({"model": "m"})).whole(Bytes::from(body)).unwrap_err();
        assert_eq!((failure.status, failure.ledger_code()), (status, Some(code)), "{body}");
    }
    for body in [r#"{"choices":[{"finish_reason":"stop"}],"error":null}"#, r#"{"usage":1,"usage":2}"#, "{}", " {\"choices\":{}}"] {
        assert!(reader_for(&json!({"model": "m"})).whole(Bytes::from(body)).is_ok(), "{body}");
    }
}

#[test]
fn a_stream_passes_except_an_unrequested_usage_event() {
    let stream = [": hello\n\n", &chunk("hé"), ": ping\n\n", &chunk("y"), &stop(), &usage(), DONE].concat();
    let (got, flow, observed) = relayed(streamed(), &[stream.as_bytes()]);
    assert_eq!((got, flow), (stream.replace(&usage(), ""), Flow::Done));
    assert_eq!(observed, Observed { usage: Some(USED), finish_reason: Some("stop".into()), output_bytes: 4, ..Observed::default() });

    let asking = reader_for(&json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}}));
    let (got, flow, observed) = relayed(asking, &[stream.as_bytes()]);
    assert_eq!((got, flow, observed.usage), (stream, Flow::Done, Some(USED)));
}

#[test]
fn usage_beside_a_choice_stays() {
    let both =
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}}\n\n";
    let filter = "data: {\"choices\":[],\"prompt_filter_results\":[],\"usage\":null}\n\n";
    let stream = [filter, both, DONE].concat();
    let (got, flow, observed) = relayed(streamed(), &[stream.as_bytes()]);
    assert_eq!((got, flow, observed.usage), (stream, Flow::Done, Some(USED)));
}

#[test]
fn the_last_usage_counts_and_an_absurd_one_is_none() {
    let early = r#"data: {"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#;
    let stream = format!("{early}\n\n{}{}", usage(), DONE);
    assert_eq!(relayed(streamed(), &[stream.as_bytes()]).2.usage, Some(USED));
    let stream = format!("{early}\n\n{}{}", usage().replace(":5}", ":-5}"), DONE);
    assert_eq!(relayed(streamed(), &[stream.as_bytes()]).2.usage, None);
}

#[test]
fn pieces_pass_as_slices_and_at_once() {
    let mut reader = streamed();
    let mut out = Vec::new();
    let piece = Bytes::from([chunk("a"), chunk("b"), "data: {\"id\"".to_owned()].concat());
    assert_eq!(reader.push(piece.clone(), &mut out), Flow::Flowing);
    assert_eq!(out, [piece.slice(..piece.len() - 11)]);
    assert_eq!(out[0].as_ptr(), piece.as_ptr());
    out.clear();
    let rest = Bytes::from([":\"1\"}\n\n".to_owned(), chunk("c"), usage(), chunk("d")].concat());
    assert_eq!(reader.push(rest.clone(), &mut out), Flow::Flowing);
    let straddling = "data: {\"id\":\"1\"}\n\n".to_owned();
    assert_eq!(out, [straddling, chunk("c"), chunk("d")]);
    assert_eq!(out[1].as_ptr(), rest[7..].as_ptr());
}

#[test]
fn comments_do_not_open_a_stream() {
    let mut reader = streamed();
    let mut out = Vec::new();
    assert_eq!(reader.push(Bytes::from_static(b": OPENROUTER PROCESSING\n\n"), &mut out), Flow::Opening);
    assert_eq!(reader.push(Bytes::from_static(b"\n\ndata:\n\nevent: ping\n\n"), &mut out), Flow::Opening);
    assert_eq!(reader.push(Bytes::from_static(b"data: {"), &mut out), Flow::Opening);
    assert_eq!(reader.push(Bytes::from_static(b"}\n\n"), &mut out), Flow::Flowing);
    assert_eq!(out.concat(), b": OPENROUTER PROCESSING\n\n\n\ndata:\n\nevent: ping\n\ndata: {}\n\n");
}

#[test]
fn a_stream_that_fails_before_its_first_event_leaves_nothing_for_the_client() {
    let error = r#"data: {"error":{"message":"busy","code":503}}"#;
    for pieces in
        [&[": wait\n\n", error, "\n\n"][..], &[&format!(": wait\n\n: wait\n\n{error}\n\n")], &[": wait\n\n"], &[": wait\n\n", error]]
    {
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        let (text, flow, _) = relayed(streamed(), &pieces);
        assert!(matches!(flow, Flow::Failed(_)), "{flow:?}");
        assert_eq!(text, "");
    }
}

#[test]
fn an_error_event_fails_the_stream_first_or_later() {
    let error = "data: {\"error\":{\"message\":\"no more\",\"type\":\"overloaded\",\"code\":503}}\n\n";
    let (got, flow, _) = relayed(streamed(), &[error.as_bytes()]);
    let Flow::Failed(failure) = flow else { panic!("{flow:?}") };
    assert_eq!((got.as_str(), failure.status, failure.message.as_str(), &*failure.kind), ("", 503, "no more", "overloaded"));
    assert_eq!(failure.original.unwrap().body, error[6..].trim_end());

    let stream = [&chunk("a"), error, &chunk("b"), DONE].concat();
    let (got, flow, observed) = relayed(streamed(), &[stream.as_bytes()]);
    assert!(matches!(flow, Flow::Failed(failure) if failure.status == 503));
    assert_eq!((got, observed.output_bytes), (chunk("a"), 1));

    for event in [
        "event: error\ndata: {\"message\":\"no\"}\n\n",
        "data: {\"object\":\"error\",\"message\":\"no\"}\n\n",
        "data: {\"error\":\"no\",\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
    ] {
        let (_, flow, _) = relayed(streamed(), &[event.as_bytes()]);
        assert!(matches!(flow, Flow::Failed(failure) if failure.message == "no"), "{event}");
    }
}

#[test]
fn a_text_that_mentions_errors_and_usage_is_not_an_error() {
    let stream =
        [chunk(r#"{"error":{"message":"x"},"usage":{"prompt_tokens":1},"finish_reason":"stop"}"#), stop(), DONE.to_owned()].concat();
    let (got, flow, observed) = relayed(streamed(), &[stream.as_bytes()]);
    assert_eq!((got, flow, observed.usage), (stream, Flow::Done, None));
    let nested = "data: {\"choices\":[{\"delta\":{\"x\":{\"error\":1,\"usage\":2,\"object\":\"error\"}}}]}\n\n";
    assert_eq!(relayed(streamed(), &[nested.as_bytes(), DONE.as_bytes()]).1, Flow::Done);
}

#[test]
fn bytes_that_are_not_a_stream_fail_before_anything_is_sent() {
    for (stream, status) in [
        ("", 502),
        ("<html><body>hello</body></html>", 502),
        ("data: hello\n\n", 502),
        ("data: [1]\n\n", 502),
        ("data: {\"choices\":[\n\n", 502),
        (": ping\n\n", 502),
        ("{\"error\":{\"message\":\"x\",\"code\":429}}\n", 429),
        ("{\n  \"error\": {\n  \"message\": \"x\",\n  \"code\": 400\n  }\n}", 400),
    ] {
        let flow = relayed(streamed(), &[stream.as_bytes()]).1;
        assert!(matches!(&flow, Flow::Failed(failure) if failure.status == status), "{stream:?} {flow:?}");
    }
}

#[test]
fn a_truncated_stream_is_interrupted() {
    for cut in ["", "data: {\"choices\":[{\"del", "data: [DO"] {
        let stream = [&chunk("a"), cut].concat();
        let (got, flow, observed) = relayed(streamed(), &[stream.as_bytes()]);
        assert!(matches!(flow, Flow::Failed(failure) if failure.code.as_deref() == Some("upstream_interrupted")));
        assert_eq!((got, observed.output_bytes), (chunk("a"), 1));
    }
}

#[test]
fn a_stream_without_done_is_complete_once_all_choices_have_finished() {
    let stream = [chunk("a"), stop()].concat();
    assert_eq!(
        relayed(streamed(), &[stream.as_bytes()]),
        (stream.clone(), Flow::Done, Observed { usage: None, finish_reason: Some("stop".into()), output_bytes: 1, ..Observed::default() })
    );
    let two = || reader_for(&json!({"model": "m", "stream": true, "n": 2}));
    assert!(matches!(relayed(two(), &[stream.as_bytes()]).1, Flow::Failed(_)));
    assert_eq!(relayed(two(), &[stream.as_bytes(), stop().as_bytes()]).1, Flow::Done);
}

#[test]
fn the_last_event_counts_even_without_its_blank_line() {
    for end in ["data: [DONE]", "data: [DONE]\n", "data:[DONE]\r\n"] {
        let stream = [&chunk("a"), end].concat();
        let (got, flow, _) = relayed(streamed(), &[stream.as_bytes()]);
        assert_eq!((got, flow), (stream + "\n\n", Flow::Done));
    }
    let stream = [chunk("a"), stop(), usage().trim_end().to_owned()].concat();
    let (got, flow, observed) = relayed(streamed(), &[stream.as_bytes()]);
    assert_eq!((got, flow, observed.usage), ([chunk("a"), stop()].concat(), Flow::Done, Some(USED)));
}

#[test]
fn an_event_over_the_limit_interrupts_the_stream() {
    let limit = 8 << 20;
    let mut reader = streamed();
    let mut out = Vec::new();
    assert_eq!(reader.push(Bytes::from(chunk("a")), &mut out), Flow::Flowing);
    let mut flow = Flow::Flowing;
    for _ in 0..=limit / (1 << 20) {
        flow = reader.push(Bytes::from("x".repeat(1 << 20)), &mut out);
    }
    assert!(matches!(flow, Flow::Failed(failure) if failure.code.as_deref() == Some("upstream_interrupted")));
    assert_eq!(out.concat(), chunk("a").as_bytes());
}

proptest! {
    #[test]
    fn no_split_changes_what_the_client_gets(
        events in prop::collection::vec(prop::sample::select(vec![0, 0, 0, 1, 2, 3, 4]), 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        end in prop::sample::select(vec!["\n", "\r\n"]),
    ) {
        let events: Vec<String> = events.into_iter().map(|event| match event {
            0 => chunk("é \"usage\": \n"),
            1 => usage(),
            2 => ": ping\n\n".to_owned(),
            3 => stop(),
            _ => "event: x\ndata: {\ndata: }\n\n".to_owned(),
        }.replace('\n', end)).collect();
        let done = DONE.replace('\n', end);
        let stream = events.concat() + &done;
        let expected = stream.replace(&usage().replace('\n', end), "");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream.as_bytes()[pair[0]..pair[1]]).collect();
        let whole = relayed(streamed(), &[stream.as_bytes()]);
        prop_assert_eq!(&whole.0, &expected);
        prop_assert_eq!(&relayed(streamed(), &pieces), &whole);
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        prop_assert_eq!(&relayed(streamed(), &bytes), &whole);
    }

    /// The gateway and the upstream must not see two different requests.
    #[test]
    fn the_authorized_request_is_the_one_sent(
        members in prop::collection::vec((
            prop::sample::select(vec!["model", "mod\\u0065l", "Model", "stream", "str\\u0065am", "max_tokens", "user", "n", "x", "\\u0000", ""]),
            prop::sample::select(vec![
                "\"gpt\"", "\"g\\u0070t\"", "\"a\\\"b\"", "true", "false", "null", "1e2", "-0", "[]", "[{\"model\":\"other\"}]", "{\"model\":\"other\"}",
                "\"\\\"model\\\":\\\"other\\\"\"", "\"\u{e9}\u{1f980}\"", " \"gpt\" ", "0.1000000000000000055511151231257827", "18446744073709551616",
            ]),
        ), 0..7),
        gaps in prop::sample::select(vec!["", " ", "\n", "\t\r\n "]),
    ) {
        let members: Vec<String> = members.iter().map(|(key, value)| format!("{gaps}\"{key}\"{gaps}:{gaps}{value}{gaps}")).collect();
        let text = format!("{gaps}{{{}}}{gaps}", members.join(","));
        let Ok(document) = Document::parse(Bytes::from(text.clone()), JsonLimits::default()) else { return Ok(()) };
        let original: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        let Some(Ok(model)) = document.string("model") else { return Ok(()) };
        prop_assert_eq!(original["model"].as_str(), Some(&*model));
        let stream = matches!(document.boolean("stream"), Some(Ok(true)));
        prop_assert_eq!(stream, original.get("stream") == Some(&Value::Bool(true)));
        let quirks = Quirks {
            rename: vec![("max_tokens".into(), "max_completion_tokens".into())],
            drop: vec!["user".into()],
            set: vec![("safe".into(), "1".into())],
            ..usual()
        };
        let asked = DialectRequest {
            operation: Operation::Chat,
            payload: &Payload::Json(document),
            stream,
            upstream_model: "up",
            max_output_tokens: None,
            quirks: &quirks,
            headers: HeaderView::EMPTY,
            created: 0,
            sse: crate::dialect::sse::SseLimits::default(),
            seed: 0,
        };
        let Call::Http { body, .. } = OpenAi.request(&asked).unwrap().call else { panic!("a remote dialect") };
        prop_assert!(Document::parse(body.clone(), JsonLimits::default()).is_ok());
        let mut expected = original;
        expected.insert("model".to_owned(), json!("up"));
        expected.shift_remove("user");
        if let Some(most) = expected.shift_remove("max_tokens") {
            expected.insert("max_completion_tokens".to_owned(), most);
        }
        expected.insert("safe".to_owned(), json!(1));
        if stream {
            expected.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
        prop_assert_eq!(serde_json::from_slice::<serde_json::Map<String, Value>>(&body).unwrap(), expected);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(pieces in prop::collection::vec("(data: ?|event: error)?[\\[{\"}:,a]{0,12}\n{0,2}", 0..8)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
        relayed(streamed(), &pieces);
        let _ = reader_for(&json!({"model": "m"})).whole(Bytes::from(pieces.concat()));
    }
}
