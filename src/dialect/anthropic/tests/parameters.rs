//! Limits, end user, sampling, reasoning and dropped parameters (section 5).

use super::*;

const MODEL: &str = "claude-opus-4-8";
/// Model with sampling parameters and thinking budgets.
const MANUAL: &str = "claude-haiku-4-5";

/// Returns one member of the upstream request.
#[track_caller]
fn member(model: &str, members: Value, name: &str) -> Value {
    sent(&with(model, members)).get(name).cloned().unwrap_or_default()
}

#[track_caller]
fn dropped(model: &str, members: Value) -> Vec<&'static str> {
    parts(&ask(&with(model, members)).unwrap()).2
}

#[track_caller]
fn refused(members: Value) -> (&'static str, String) {
    refusal(&with(MODEL, members))
}

#[test]
fn max_tokens_is_the_clients_or_the_default() {
    assert_eq!(member(MODEL, json!({"max_tokens": 7}), "max_tokens"), 7);
    assert_eq!(member(MODEL, json!({"max_tokens": 7, "max_completion_tokens": 9}), "max_tokens"), 9);
    assert_eq!(member(MODEL, json!({"max_tokens": 7, "max_completion_tokens": null}), "max_tokens"), 7);
    assert_eq!(member(MODEL, json!({"max_tokens": 0}), "max_tokens"), 0);
    assert_eq!(member(MODEL, json!({"max_tokens": 500_000}), "max_tokens"), 500_000);
    for model in [MODEL, "claude-3-haiku-20240307", "deepseek-chat"] {
        assert_eq!(member(model, json!({}), "max_tokens"), 32_000);
    }
    let catalog = |most| parts(&ask_with(&Asking { max_output: Some(most), ..Asking::default() }, &with(MODEL, json!({}))).unwrap()).1;
    assert_eq!(catalog(8192)["max_tokens"], 8192);
    assert_eq!(catalog(64_000)["max_tokens"], 32_000);
    for wrong in [json!(-1), json!(1.5), json!("5"), json!([])] {
        assert_eq!(refused(json!({"max_tokens": wrong})), ("invalid_value", "max_tokens".into()));
        assert_eq!(refused(json!({"max_completion_tokens": wrong})), ("invalid_value", "max_completion_tokens".into()));
    }
}

#[test]
fn blank_stop_sequences_are_dropped() {
    let stop = |stop: Value| member(MODEL, json!({"stop": stop}), "stop_sequences");
    assert_eq!(stop(json!("END")), json!(["END"]));
    assert_eq!(stop(json!(["a", "", "\n", "b"])), json!(["a", "b"]));
    for none in [json!("\n"), json!([" "]), json!([]), json!(null)] {
        assert_eq!(stop(none), Value::Null);
    }
    assert_eq!(dropped(MODEL, json!({"stop": ["a", "\n"]})), ["stop"]);
    assert_eq!(refused(json!({"stop": 5})), ("invalid_value", "stop".into()));
    assert_eq!(refused(json!({"stop": ["a", 5]})), ("invalid_value", "stop".into()));
}

#[test]
fn email_addresses_and_telephone_numbers_are_hashed() {
    let user = |members: Value| member(MODEL, members, "metadata");
    assert_eq!(user(json!({"user": "u-1"})), json!({"user_id": "u-1"}));
    assert_eq!(user(json!({"user": "u-1", "safety_identifier": "s-1"})), json!({"user_id": "s-1"}));
    assert_eq!(user(json!({"user": ""})), Value::Null);
    assert_eq!(
        user(json!({"user": "ana@example.com"})),
        json!({"user_id": "8e43ca37701228e74983efdbd0cff5c16b3b1e5d4e29a7c05626d4d25a018e11"})
    );
    assert_eq!(
        user(json!({"safety_identifier": "+1 (555) 123-4567"})),
        json!({"user_id": "f39a67bb4bdfb0b57c3db7689c8e889659967666213927dfd795e702e59fd918"})
    );
    assert_eq!(user(json!({"metadata": {"user_id": "no"}})), Value::Null);
    assert_eq!(refused(json!({"user": 5})), ("invalid_value", "user".into()));
}

#[test]
fn tiers_are_mapped_to_anthropics() {
    for (given, sent) in [("default", "standard_only"), ("auto", "auto"), ("flex", "auto"), ("priority", "auto")] {
        assert_eq!(member(MODEL, json!({"service_tier": given}), "service_tier"), sent);
    }
    assert_eq!(member(MODEL, json!({"service_tier": null}), "service_tier"), Value::Null);
}

#[test]
fn more_than_one_choice_is_refused() {
    for one in [json!(null), json!(1)] {
        assert_eq!(member(MODEL, json!({"n": one}), "n"), Value::Null);
    }
    assert_eq!(refused(json!({"n": 2})), ("unsupported_value", "n".into()));
    for wrong in [json!(0), json!(-1), json!("1"), json!(1.5)] {
        assert_eq!(refused(json!({"n": wrong})), ("invalid_value", "n".into()));
    }
}

#[test]
fn a_stream_is_requested_only_if_the_client_does() {
    assert_eq!(member(MODEL, json!({"stream": true, "stream_options": {"include_usage": true}}), "stream"), true);
    assert_eq!(member(MODEL, json!({"stream": false}), "stream"), Value::Null);
    assert_eq!(member(MODEL, json!({"stream": true, "stream_options": {"include_usage": true}}), "stream_options"), Value::Null);
    assert_eq!(
        dropped(MODEL, json!({"stream": true, "stream_options": {"include_obfuscation": false}})),
        ["stream_options.include_obfuscation"]
    );
}

#[test]
fn sampling_out_of_range_is_refused_for_every_model() {
    for model in [MODEL, MANUAL] {
        for (name, wrong) in [
            ("temperature", json!(2.1)),
            ("temperature", json!(-0.1)),
            ("temperature", json!("1")),
            ("top_p", json!(1.1)),
            ("top_p", json!(-1)),
            ("top_k", json!(-1)),
            ("top_k", json!(1.5)),
        ] {
            assert_eq!(refusal(&with(model, json!({name: wrong}))), ("invalid_value", name.into()));
        }
    }
}

/// Returns the sampling parameters that are sent and those reported as dropped.
#[track_caller]
fn sampling(asking: &Asking<'_>, model: &str, members: Value) -> (Value, Value, Value, Vec<&'static str>) {
    let (_, body, dropped) = parts(&ask_with(asking, &with(model, members)).unwrap());
    let get = |name: &str| body.get(name).cloned().unwrap_or_default();
    (get("temperature"), get("top_p"), get("top_k"), dropped)
}

#[test]
fn of_two_sampling_parameters_the_temperature_is_kept() {
    let sampled = |members: Value| sampling(&Asking::default(), MANUAL, members);
    let none = Value::Null;
    assert_eq!(sampled(json!({"temperature": 0.2, "top_p": 0.9, "top_k": 5})), (json!(0.2), none.clone(), json!(5), vec!["top_p"]));
    assert_eq!(sampled(json!({"temperature": 0.2, "top_p": 1})), (json!(0.2), none.clone(), none.clone(), vec![]));
    assert_eq!(sampled(json!({"temperature": 1, "top_p": 0.9})), (none.clone(), json!(0.9), none.clone(), vec![]));
    assert_eq!(sampled(json!({"temperature": 1.7, "top_p": 0.9})), (none.clone(), json!(0.9), none.clone(), vec!["temperature"]));
    assert_eq!(sampled(json!({"temperature": 0})), (json!(0), none.clone(), none.clone(), vec![]));
    assert_eq!(sampled(json!({"temperature": null, "top_p": null, "top_k": null})), (none.clone(), none.clone(), none, vec![]));
}

#[test]
fn sampling_is_dropped_where_it_is_not_supported() {
    let all = json!({"temperature": 0.2, "top_p": 0.9, "top_k": 5});
    let nothing = (Value::Null, Value::Null, Value::Null, vec!["temperature", "top_k", "top_p"]);
    assert_eq!(sampling(&Asking::default(), "claude-opus-5", all.clone()), nothing);
    let pinned = |version| Asking { version: Some(version), ..Asking::default() };
    assert_eq!(sampling(&pinned("2026-10-21"), MANUAL, all.clone()), nothing);
    assert_eq!(sampling(&pinned("2027-01-01"), MANUAL, all.clone()), nothing);
    assert_eq!(sampling(&pinned("2023-06-01"), MANUAL, all).0, json!(0.2));
}

#[test]
fn while_thinking_only_a_high_top_p_is_kept() {
    let thinking = |model: &str, top_p: f64| {
        let members = json!({"reasoning_effort": "high", "temperature": 0.2, "top_p": top_p, "top_k": 5});
        sampling(&Asking::default(), model, members)
    };
    for model in [MANUAL, "claude-sonnet-4-6"] {
        assert_eq!(thinking(model, 0.95), (Value::Null, json!(0.95), Value::Null, vec!["temperature", "top_k"]));
        assert_eq!(thinking(model, 0.94), (Value::Null, Value::Null, Value::Null, vec!["temperature", "top_k", "top_p"]));
    }
    let own = |kind: &str| sampling(&Asking::default(), MANUAL, json!({"thinking": {"type": kind}, "temperature": 0.2})).0;
    assert_eq!((own("enabled"), own("disabled")), (Value::Null, json!(0.2)));
    assert_eq!(sampling(&Asking::default(), "claude-sonnet-4-6", json!({"reasoning_effort": "none", "temperature": 0.2})).0, json!(0.2));
}

#[test]
fn an_adaptive_model_is_given_an_effort() {
    for (effort, sent_effort) in
        [("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "xhigh"), ("max", "max")]
    {
        let body = sent(&with(MODEL, json!({"reasoning_effort": effort})));
        assert_eq!(body["output_config"], json!({"effort": sent_effort}));
        assert_eq!(body["thinking"], json!({"type": "adaptive", "display": "summarized"}));
    }
    for model in ["claude-opus-4-6", "claude-mythos-preview"] {
        assert_eq!(member(model, json!({"reasoning_effort": "xhigh"}), "output_config"), json!({"effort": "high"}));
    }
    let body = sent(&with(MODEL, json!({"reasoning_effort": null})));
    assert!(body.get("thinking").is_none() && body.get("output_config").is_none());
    assert_eq!(refused(json!({"reasoning_effort": "some"})), ("invalid_value", "reasoning_effort".into()));
}

#[test]
fn no_reasoning_is_translated_by_model() {
    for (model, thinking, effort) in [
        (MANUAL, Value::Null, Value::Null),
        ("claude-opus-4-6", Value::Null, Value::Null),
        (MODEL, Value::Null, Value::Null),
        ("claude-opus-5", json!({"type": "disabled"}), Value::Null),
        ("claude-haiku-5-5", json!({"type": "disabled"}), Value::Null),
        ("claude-sonnet-5-5", json!({"type": "between_tools"}), Value::Null),
        ("claude-fable-5", Value::Null, json!({"effort": "low"})),
        ("claude-opus-5-5", Value::Null, json!({"effort": "low"})),
        ("claude-mythos-preview", Value::Null, json!({"effort": "low"})),
    ] {
        let body = sent(&with(model, json!({"reasoning_effort": "none"})));
        let get = |name: &str| body.get(name).cloned().unwrap_or_default();
        assert_eq!((get("thinking"), get("output_config")), (thinking, effort), "{model}");
    }
}

#[test]
fn a_manual_model_is_given_a_budget_of_at_most_half() {
    let budget = |effort: &str, max_tokens: u64| {
        member(MANUAL, json!({"reasoning_effort": effort, "max_tokens": max_tokens}), "thinking")["budget_tokens"].clone()
    };
    for (effort, tokens) in [("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 16_000), ("xhigh", 32_000), ("max", 32_000)] {
        assert_eq!(budget(effort, 64_000), tokens);
    }
    assert_eq!(budget("high", 4097), 2048);
    assert_eq!(budget("high", 2048), 1024);
    assert_eq!(budget("high", 2047), Value::Null);
    assert_eq!(dropped(MANUAL, json!({"reasoning_effort": "high", "max_tokens": 100})), ["reasoning_effort"]);
    assert_eq!(member(MANUAL, json!({"reasoning_effort": "max"}), "thinking"), json!({"type": "enabled", "budget_tokens": 16_000}));
    assert_eq!(member(MANUAL, json!({"reasoning_effort": "max"}), "output_config"), Value::Null);
}

#[test]
fn a_manual_model_does_not_think_with_a_forced_or_pending_call() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let thinks = |choice: Value| {
        member(MANUAL, json!({"reasoning_effort": "low", "tools": tools, "tool_choice": choice}), "thinking") != Value::Null
    };
    assert!(thinks(json!("auto")) && thinks(json!("none")));
    assert!(!thinks(json!("required")) && !thinks(json!({"type": "function", "function": {"name": "f"}})));

    let after = |thinking_blocks: Value, then: Value| {
        let call = json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let mut messages = vec![
            json!({"role": "user", "content": "a"}),
            json!({"role": "assistant", "tool_calls": [call], "thinking_blocks": thinking_blocks}),
            json!({"role": "tool", "tool_call_id": "1", "content": "r"}),
        ];
        messages.extend(then.as_array().unwrap().clone());
        sent(&json!({"model": MANUAL, "messages": messages, "tools": tools, "reasoning_effort": "low"})).get("thinking").is_some()
    };
    let thought = json!([{"type": "thinking", "thinking": "t", "signature": "s"}]);
    assert!(after(thought, json!([])));
    assert!(!after(json!([]), json!([])));
    assert!(!after(json!([]), json!([{"role": "user", "content": "b"}])));
    assert!(after(json!([]), json!([{"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}])));
}

#[test]
fn a_client_can_set_thinking_itself() {
    let own = json!({"type": "enabled", "budget_tokens": 5, "display": "omitted"});
    let prepared = ask(&with(MODEL, json!({"thinking": own, "reasoning_effort": "high"}))).unwrap();
    let (_, body, dropped) = parts(&prepared);
    assert_eq!(body["thinking"], own);
    assert_eq!(body.get("output_config"), None);
    assert_eq!(dropped, ["reasoning_effort"]);
    assert_eq!(refused(json!({"thinking": "hard"})), ("invalid_value", "thinking".into()));
}

#[test]
fn optional_parameters_are_dropped_and_reported() {
    let ignored = json!({
        "frequency_penalty": 1, "presence_penalty": 1, "logit_bias": {}, "logprobs": true, "top_logprobs": 3, "seed": 1, "metadata": {},
        "store": true, "prediction": {}, "verbosity": "low", "prompt_cache_key": "k", "prompt_cache_options": {},
        "prompt_cache_retention": "24h", "prompt_cache_breakpoint": 1, "moderation": {}, "modalities": ["text"],
    });
    let mut names: Vec<&str> = ignored.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let prepared = ask(&with(MODEL, ignored.clone())).unwrap();
    let (_, body, dropped) = parts(&prepared);
    assert_eq!(dropped, names);
    assert_eq!(body.as_object().unwrap().len(), 3);
    assert_eq!(parts(&ask(&with(MODEL, json!({"seed": null, "n": 1, "stream": false}))).unwrap()).2, [""; 0]);
}

#[test]
fn parameters_that_change_the_answer_are_refused() {
    assert_eq!(refused(json!({"audio": {"voice": "x"}})), ("unsupported_parameter", "audio".into()));
    assert_eq!(refused(json!({"web_search_options": {}})), ("unsupported_parameter", "web_search_options".into()));
    assert_eq!(refused(json!({"functions": []})), ("unsupported_parameter", "functions".into()));
    assert_eq!(refused(json!({"function_call": "auto"})), ("unsupported_parameter", "function_call".into()));
    assert_eq!(refused(json!({"modalities": ["text", "audio"]})), ("unsupported_value", "modalities".into()));
}
