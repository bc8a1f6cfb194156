//! OpenAI-compatible providers: upstream requests, answers, and headers in both directions.

use serde_json::json;

use crate::support::client::Connection;
use crate::support::test_gateway::{session, shared_gateway, upstream_key};
use crate::support::unique;
use crate::support::upstream::{Answer, completion};

#[test]
fn a_request_goes_upstream_byte_for_byte_except_the_model() {
    let session = session();
    let body = |model: &str| {
        format!(
            "{{ \"x_script\":\"MARK\",\n\t\"model\" :  \"{model}\" , \"messages\":[{{\"role\":\"user\",\"content\":\"h\\u00e9 \\\"model\\\": 1 \u{1F600}\"}}],\
             \"big\":12345678901234567890123,\"exp\":1.50e+3,\"unknown\":{{\"a\":1,\"a\":2}},\"empty\":[ ],\"last\":null\r\n}}\n"
        )
    };
    session.raw("/v1/chat/completions", &body("solo")).send().expect(200);
    assert_eq!(session.script.call().text(), body("solo-at-alpha").replace("MARK", session.script.mark()));
}

#[test]
fn an_alias_works_like_the_name() {
    let session = session();
    for alias in ["sole", "org/only.1"] {
        let answer = session.chat(alias).send();
        answer.expect(200);
        assert_eq!(answer.header("x-aigw-model"), Some("solo"));
    }
    assert!(session.script.calls().iter().all(|call| call.json()["model"] == "solo-at-alpha"));
}

#[test]
fn an_escaped_key_is_the_same_key() {
    let session = session();
    session.raw("/v1/chat/completions", r#"{"x_script":"MARK","mod\u0065l":"so\u006co","messages":[]}"#).send().expect(200);
    assert_eq!(session.script.call().json()["model"], "solo-at-alpha");
}

#[test]
fn an_answer_comes_back_byte_for_byte() {
    let session = session();
    let odd = "{ \"id\" : \"x\",\n \"choices\":[],\"extra\":{\"b\":1.0e2,\"a\":\"\\u00e9\"},\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2} }\n\n";
    session.script.on(
        "alpha",
        [
            Answer::text(200, "application/json; charset=utf-8", odd),
            Answer::head(200).header("content-type", "application/json").chunked().piece(&odd.as_bytes()[..9]).piece(&odd.as_bytes()[9..]),
        ],
    );
    for _ in 0..2 {
        let answer = session.chat("solo").send();
        assert_eq!((answer.status, answer.text().as_str()), (200, odd));
        assert!(answer.header("content-type").is_some_and(|value| value.starts_with("application/json")));
    }
}

#[test]
fn the_quirks_of_a_kind_are_applied_and_the_rest_is_kept() {
    let session = session();
    session.raw(
        "/v1/chat/completions",
        r#"{"x_script":"MARK", "max_completion_tokens": 5,"user":"u","model":"quirky","safe_mode":false,"messages":[{"user":"kept"}], "n":1}"#,
    )
    .send()
    .expect(200);
    let call = session.script.call();
    let expected = json!({"x_script": session.script.mark(), "max_tokens": 5, "model": "quirky-at-quirky", "safe_mode": true, "messages": [{"user": "kept"}], "n": 1});
    assert_eq!(call.json(), expected);
    assert!(call.text().contains(r#""messages":[{"user":"kept"}]"#), "{}", call.text());
    let (path, query) = call.target.split_once('?').unwrap();
    assert_eq!((path, query), ("/quirky/v1/deployments/quirky-at-quirky/chat/completions", "api-version=2024-10-21"));
    assert_eq!(call.headers.get("api-key"), Some(upstream_key("6-quirky").as_str()));
    assert_eq!(call.headers.get("authorization"), None);
    assert_eq!((call.headers.get("x-title"), call.headers.get("x-static")), (Some("aigw"), Some("from the kind")));
}

#[test]
fn a_field_is_set_even_if_the_client_omits_it() {
    let session = session();
    session.chat("quirky").send().expect(200);
    assert_eq!(session.script.call().json()["safe_mode"], true);
}

#[test]
fn each_operation_has_its_path() {
    let session = session();
    for (target, path) in [
        ("/v1/chat/completions", "/alpha/v1/chat/completions"),
        ("/v1/completions", "/alpha/v1/completions"),
        ("/v1/embeddings", "/alpha/v1/embeddings"),
    ] {
        session.post_with(target, "solo", json!({"input": "x", "prompt": "x"})).send().expect(200);
        let call = session.script.calls().pop().unwrap();
        assert_eq!((call.method.as_str(), call.target.as_str()), ("POST", path));
        assert_eq!(call.json()["model"], "solo-at-alpha");
    }
}

#[test]
fn only_the_listed_request_headers_pass() {
    let session = session();
    let passing = [
        ("accept", "application/json"),
        ("openai-beta", "assistants=v2"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "some-beta"),
        ("idempotency-key", "once"),
    ];
    let kept_back = [
        ("x-api-key", session.key.secret.as_str()),
        ("api-key", session.key.secret.as_str()),
        ("cookie", "session=1"),
        ("x-aigw-tags", "project=apollo"),
        ("x-forwarded-for", "10.1.2.3"),
        ("forwarded", "for=10.1.2.3"),
        ("proxy-authorization", "Basic eA=="),
        ("te", "trailers"),
        ("keep-alive", "timeout=5"),
        ("x-custom", "anything"),
        ("openai-organization", "org-1"),
        ("openai-project", "proj-1"),
        ("x-stainless-lang", "python"),
        ("user-agent", "a client"),
        ("referer", "https://app.example"),
        ("x-request-id", "mine-123"),
    ];
    let request = passing.iter().chain(&kept_back).fold(session.chat("solo"), |request, (name, value)| request.header(name, value));
    request.send().expect(200);
    let headers = session.script.call().headers;
    for (name, value) in passing {
        assert_eq!(headers.get(name), Some(value), "{name} must pass");
    }
    for (name, value) in kept_back {
        assert_ne!(headers.get(name), Some(value), "{name} must not pass");
    }
    assert_eq!(headers.get("authorization"), Some(format!("Bearer {}", upstream_key("1-alpha")).as_str()));
    let text = format!("{headers:?}");
    assert!(!text.contains(&session.key.secret), "the virtual key went upstream: {text}");
    assert_eq!(headers.names().iter().filter(|name| **name == "authorization").count(), 1);
}

#[test]
fn a_header_named_by_connection_does_not_pass() {
    let session = session();
    session.chat("solo").header("connection", "keep-alive, openai-beta").header("openai-beta", "hop").send().expect(200);
    assert_eq!(session.script.call().headers.get("openai-beta"), None);
}

#[test]
fn a_provider_without_auth_gets_no_credential_at_all() {
    let session = session();
    session.chat("open").send().expect(200);
    let headers = session.script.call().headers;
    for name in ["authorization", "api-key", "x-api-key"] {
        assert_eq!(headers.get(name), None);
    }
}

#[test]
fn only_the_listed_response_headers_pass() {
    let session = session();
    let mut answer = Answer::text(200, "application/json", &completion("x").to_string()).header("x-request-id", "upstream-77");
    let kept_back = [
        ("set-cookie", "a=b"),
        ("location", "https://elsewhere.example"),
        ("server", "nginx"),
        ("via", "1.1 proxy"),
        ("alt-svc", "h3=\":443\""),
        ("www-authenticate", "Basic"),
        ("openai-organization", "org-secret"),
        ("x-ratelimit-remaining-requests", "1"),
        ("x-custom", "anything"),
        ("cf-ray", "1"),
        ("access-control-allow-origin", "*"),
    ];
    for (name, value) in kept_back {
        answer = answer.header(name, value);
    }
    session.script.on("alpha", [answer]);
    let answer = session.chat("solo").send();
    answer.expect(200);
    for (name, _) in kept_back {
        assert_eq!(answer.header(name), None, "{name} must not pass");
    }
    assert_eq!(answer.header("x-upstream-request-id"), Some("upstream-77"));
    assert_ne!(answer.header("x-request-id"), Some("upstream-77"));
}

#[test]
fn every_answer_forbids_sniffing_and_storing() {
    let session = session();
    for answer in [session.chat("solo").send(), session.chat("nonesuch").send(), session.shared.gateway.get("/v1/models").send()] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "status {}", answer.status);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "status {}", answer.status);
    }
}

#[test]
fn a_valid_request_id_is_kept_and_any_other_replaced() {
    let session = session();
    let sane = unique("trace.1_A");
    assert_eq!(session.chat("solo").header("x-request-id", &sane).send().header("x-request-id"), Some(sane.as_str()));
    let long = "x".repeat(4000);
    for insane in ["", "two words", "a\tb", "<script>", long.as_str()] {
        let answer = session.chat("solo").header("x-request-id", insane).send();
        let id = answer.header("x-request-id").unwrap();
        assert!(id != insane && !id.is_empty(), "{insane:?} became {id:?}");
    }
    let ids = [session.chat("solo").send(), session.chat("solo").send()].map(|answer| answer.header("x-request-id").unwrap().to_owned());
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn every_answer_has_a_request_id_even_without_a_key() {
    for target in ["/v1/models", "/v1/nothing", "/healthz", "/nowhere"] {
        assert!(shared_gateway().gateway.get(target).send().header("x-request-id").is_some(), "{target}");
    }
}

#[test]
fn a_routed_answer_has_provider_model_attempts_and_cost() {
    let session = session();
    session.script.on("alpha", [Answer::error(500), Answer::good()]);
    let answer = session.chat("sole").send();
    answer.expect(200);
    assert_eq!(answer.header("x-aigw-provider"), Some("1-alpha"));
    assert_eq!(answer.header("x-aigw-model"), Some("solo"));
    assert_eq!(answer.header("x-aigw-attempts"), Some("2"));
    // 11 tokens at 0.59 and 7 at 0.79 US dollars per million.
    assert_eq!(answer.header("x-aigw-cost-usd"), Some("0.00001202"));
}

#[test]
fn a_free_answer_costs_0() {
    let session = session();
    assert_eq!(session.chat("gratis").send().header("x-aigw-cost-usd"), Some("0"));
}

#[test]
fn an_unrouted_answer_has_no_routing_headers() {
    let session = session();
    let answer = session.chat("nonesuch").send();
    for name in ["x-aigw-provider", "x-aigw-model", "x-aigw-attempts", "x-aigw-cost-usd"] {
        assert_eq!(answer.header(name), None);
    }
}

#[test]
fn a_large_request_arrives_whole() {
    let session = session();
    let text = "0123456789".repeat(40_000);
    session.chat_with("solo", json!({"padding": text})).send().expect(200);
    assert_eq!(session.script.call().json()["padding"], text.as_str());
}

#[test]
fn a_chunked_request_gets_a_content_length() {
    let session = session();
    let body = session.body("solo").to_string();
    let mut connection = Connection::open(session.shared.gateway.address);
    connection.write(
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n", session.key.secret)
            .as_bytes(),
    );
    for piece in body.as_bytes().chunks(20) {
        connection.write(format!("{:x}\r\n", piece.len()).as_bytes());
        connection.write(piece);
        connection.write(b"\r\n");
    }
    connection.write(b"0\r\n\r\n");
    connection.reply().whole().expect(200);
    assert_eq!(session.script.call().text(), body.replace("\"solo\"", "\"solo-at-alpha\""));
}

#[test]
fn a_client_may_wait_for_a_100_continue() {
    let session = session();
    session.chat("solo").header("expect", "100-continue").send().expect(200);
}

#[test]
fn upstream_connections_are_kept_and_used_again() {
    let session = session();
    let (first, connection) = session.chat("quirky").send_over(Connection::open(session.shared.gateway.address));
    let (second, _) = session.chat("quirky").send_over(connection);
    assert_eq!((first.status, second.status), (200, 200));
    let calls = session.script.calls();
    assert!(calls[1].earlier > 0, "the second call opened a connection of its own");
}

#[test]
fn the_upstream_is_asked_for_an_unencoded_answer() {
    let session = session();
    session.chat("solo").header("accept-encoding", "gzip, br").send().expect(200);
    let headers = session.script.call().headers;
    assert!(matches!(headers.get("accept-encoding"), None | Some("identity")), "{:?}", headers.get("accept-encoding"));
}

#[test]
fn a_provider_reserved_for_a_tenant_serves_that_tenant_alone() {
    let session = session();
    session.chat("club").send().error(404, "invalid_request_error", "model_not_found");
    let gateway = &session.shared.gateway;
    gateway.admin("POST", "/tenants", Some(&json!({"id": "club-members", "name": "members"}))).expect(201);
    let answer = gateway.admin("POST", "/tenants/club-members/keys", Some(&json!({"name": "k", "subject": "s"}))).expect(201);
    let key = crate::support::gateway::Key { id: String::new(), secret: answer["key"].as_str().unwrap().to_owned() };
    gateway.chat(&key, &session.body("club")).send().expect(200);
    assert_eq!(session.script.called(), ["club"]);
}
