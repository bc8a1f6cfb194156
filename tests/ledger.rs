//! The ledger: one exact entry for each routed request, which can be queried by each of its
//! dimensions.

use std::time::{SystemTime, UNIX_EPOCH};

use diesel::connection::SimpleConnection;
use diesel::{Connection as _, SqliteConnection};
use serde_json::{Value, json};

use crate::support::client::Response;
use crate::support::gateway::{ADMIN_TOKEN, Gateway, Setup};
use crate::support::store::on_every_store;
use crate::support::test_gateway::{SIMULATOR, Session, TestGateway, session};
use crate::support::unique;
use crate::support::upstream::{Answer, completion};

const FIELDS: [&str; 30] = [
    "id",
    "request_id",
    "created_at",
    "tenant",
    "team",
    "key_id",
    "subject",
    "user",
    "tags",
    "operation",
    "model",
    "upstream_model",
    "provider",
    "kind",
    "billing",
    "stream",
    "status",
    "outcome",
    "error_code",
    "finish_reason",
    "prompt_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "usage_source",
    "cost_nanousd",
    "list_cost_nanousd",
    "attempts",
    "latency_ms",
];

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Returns a response with this usage.
fn used(usage: Value) -> Answer {
    let mut body = completion("x");
    body["usage"] = usage;
    Answer::json(200, &body)
}

fn entry_using(session: &Session<'_>, model: &str, usage: Value) -> (Value, Response) {
    session.script.on("alpha", [used(usage)]);
    let answer = session.chat(model).send();
    answer.expect(200);
    (session.shared.gateway.entry_of(&answer), answer)
}

fn list(shared: &TestGateway, query: &str) -> Value {
    shared.gateway.admin("GET", &format!("/ledger?{query}"), None).expect(200)
}

fn request_ids(list: &Value) -> Vec<String> {
    list["data"].as_array().unwrap().iter().map(|entry| entry["request_id"].as_str().unwrap().to_owned()).collect()
}

on_every_store! {
    fn an_entry_has_every_field_of_its_request(shared: &TestGateway) {
        let session = shared.session();
        let key = session.tenant.key_with(json!({"name": "n", "subject": "ada", "team": "red", "tags": {"project": "zeus", "site": "x"}}));
        session.script.on("alpha", [Answer::error(500), Answer::good()]);
        let mut body = session.body("sole");
        body["user"] = json!("end-user-7");
        let (id, before) = (unique("req"), now_ms());
        let request = shared.gateway.chat(&key, &body).header("x-request-id", &id).header("x-aigw-tags", "project=apollo,use-case=summaries");
        request.send().expect(200);
        let entry = shared.gateway.entry(&id);
        let fields = entry.as_object().unwrap();
        for field in FIELDS.iter().chain(&["ttfb_ms"]) {
            assert!(fields.contains_key(*field), "`{field}` is missing in {entry}");
        }
        let expected = json!({
            "request_id": id, "tenant": session.tenant.id, "team": "red", "key_id": key.id, "subject": "ada", "user": "end-user-7",
            "tags": {"project": "apollo", "site": "x", "use-case": "summaries"},
            "operation": "chat", "model": "solo", "upstream_model": "solo-at-alpha", "provider": "1-alpha", "kind": "alpha",
            "billing": "brokered", "stream": false, "status": 200, "outcome": "ok", "error_code": null, "finish_reason": "stop",
            "prompt_tokens": 11, "cached_tokens": 0, "cache_write_tokens": 0, "completion_tokens": 7, "reasoning_tokens": 0,
            "usage_source": "upstream", "cost_nanousd": 12_020, "list_cost_nanousd": 12_020
        });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&entry[field], value, "{field}");
        }
        let created = entry["created_at"].as_i64().unwrap();
        assert!((before..=now_ms()).contains(&created));
        let attempts = entry["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 2);
        assert_eq!((&attempts[0]["provider"], &attempts[0]["status"]), (&json!("1-alpha"), &json!(500)));
        assert!(attempts[0]["error"].is_string() && attempts[1]["error"].is_null() && attempts[1]["status"] == 200);
        let (latency, first) = (entry["latency_ms"].as_u64().unwrap(), entry["ttfb_ms"].as_u64().unwrap());
        assert!(first <= latency && latency < 10_000, "{first} {latency}");
    }

    fn every_request_leaves_exactly_one_entry(shared: &TestGateway) {
        let session = shared.session();
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let session = &session;
                scope.spawn(move || {
                    for nth in 0..25 {
                        let request = session.chat_with("gratis", json!({"stream": (worker + nth) % 2 == 0}));
                        assert_eq!(request.header("x-request-id", &format!("{}-{worker}-{nth}", session.tenant.id)).send().status, 200);
                    }
                });
            }
        });
        let entries = session.tenant.entries(200);
        let mut ids: Vec<&str> = entries.iter().map(|entry| entry["request_id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((entries.len(), ids.len()), (200, 200));
        assert_eq!(session.tenant.entries(200).len(), 200, "entries were stored twice");
    }

    fn entries_are_filtered_by_each_dimension(shared: &TestGateway) {
        let session = shared.session();
        let (ada, bob) = (session.tenant.key_with(json!({"subject": "ada"})), session.tenant.key_with(json!({"subject": "bob"})));
        let send = |key, model: &str, tags: &str| {
            let id = unique("f");
            shared.gateway.chat(key, &session.body(model)).header("x-request-id", &id).header("x-aigw-tags", tags).send();
            shared.gateway.entry(&id);
            id
        };
        let first = send(&ada, "solo", "project=apollo");
        let second = send(&bob, "pair", "project=zeus");
        session.script.on("alpha", [Answer::error(422)]);
        let third = send(&bob, "solo", "");
        session.script.on("alpha", [Answer::error(401)]);
        let fourth = send(&ada, "pair", "project=apollo,other=1");
        let [first, second, third, fourth] = [&first, &second, &third, &fourth].map(String::as_str);
        let tenant = &session.tenant.id;
        let found = |query: String| request_ids(&list(shared, &format!("tenant={tenant}&{query}")));
        assert_eq!(found(String::new()), [fourth, third, second, first], "newest first");
        assert_eq!(found(format!("key_id={}", ada.id)), [fourth, first]);
        assert_eq!(found("subject=bob".to_owned()), [third, second]);
        assert_eq!(found("model=solo".to_owned()), [third, first]);
        assert_eq!(found("provider=2-beta".to_owned()), [fourth]);
        assert_eq!(found("outcome=client_error".to_owned()), [third]);
        assert_eq!(found("tag=project%3Dapollo".to_owned()), [fourth, first]);
        assert_eq!(found("outcome=ok&model=pair&subject=ada".to_owned()), [fourth]);
        let time = shared.gateway.entry(second)["created_at"].as_i64().unwrap();
        assert!(found(format!("from={time}")).iter().any(|id| id == second) && !found(format!("from={}", time + 1)).iter().any(|id| id == second));
        assert!(!found(format!("to={time}")).iter().any(|id| id == fourth) && found(format!("to={}", time + 60_000)).iter().any(|id| id == fourth));
        assert!(found("subject=nobody".to_owned()).is_empty());
    }

    fn pages_are_read_by_cursor(shared: &TestGateway) {
        let session = shared.session();
        for _ in 0..7 {
            session.chat("gratis").send().expect(200);
        }
        let all: Vec<Value> = session.tenant.entries(7).iter().map(|entry| entry["id"].clone()).collect();
        let (mut paged, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = list(shared, &format!("tenant={}&limit=3{cursor}", session.tenant.id));
            assert_eq!(page["object"], "list");
            paged.extend(page["data"].as_array().unwrap().iter().map(|entry| entry["id"].clone()));
            pages += 1;
            if page["has_more"] == false {
                assert!(page["next_cursor"].is_null());
                break;
            }
            cursor = format!("&cursor={}", page["next_cursor"].as_str().unwrap());
            // Entries stored meanwhile must not appear on a later page.
            session.chat("gratis").send().expect(200);
        }
        assert_eq!((paged, pages), (all, 3));
    }

    fn an_invalid_query_is_rejected(shared: &TestGateway) {
        for (query, param) in [("limit=many", "limit"), ("limit=0", "limit"), ("cursor=%21%21", "cursor"), ("outcome=fine", "outcome"), ("from=yesterday", "from")] {
            let answer = shared.gateway.admin("GET", &format!("/ledger?{query}"), None);
            assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)), "{query}: {}", answer.text());
        }
        assert_eq!(shared.gateway.admin("GET", "/ledger/no-such-request", None).status, 404);
    }

    fn the_newest_entry_of_a_request_id_is_returned(shared: &TestGateway) {
        let session = shared.session();
        let id = unique("again");
        for model in ["gratis", "solo"] {
            session.chat(model).header("x-request-id", &id).send().expect(200);
        }
        session.tenant.entries(2);
        assert_eq!(shared.gateway.entry(&id)["model"], "solo");
    }

    fn usage_is_summed_by_each_dimension(shared: &TestGateway) {
        let session = shared.session();
        let bob = session.tenant.key_with(json!({"subject": "bob", "team": "blue"}));
        for (key, model, tags) in [(&session.key, "solo", "project=apollo"), (&session.key, "dear", "project=zeus"), (&bob, "solo", ""), (&bob, "solo", "project=apollo")] {
            shared.gateway.chat(key, &session.body(model)).header("x-aigw-tags", tags).send().expect(200);
        }
        session.tenant.entries(4);
        let usage = |query: &str| shared.gateway.admin("GET", &format!("/usage?tenant={}{query}", session.tenant.id), None).expect(200)["data"].as_array().unwrap().clone();
        let total = usage("");
        assert_eq!(total.len(), 1, "{total:?}");
        assert_eq!((&total[0]["requests"], &total[0]["prompt_tokens"], &total[0]["completion_tokens"]), (&json!(4), &json!(44), &json!(28)));
        let dear = 11 * 2_500 + 7 * 10_000 + 5_000_000;
        assert_eq!(total[0]["cost_nanousd"], 3 * 12_020 + dear);
        let by = |dimension: &str, name: &str| {
            let mut rows: Vec<(Value, u64)> = usage(&format!("&group_by={dimension}")).iter().map(|row| (row[name].clone(), row["requests"].as_u64().unwrap())).collect();
            rows.sort_by_key(|(value, _)| value.to_string());
            rows
        };
        assert_eq!(by("model", "model"), [(json!("dear"), 1), (json!("solo"), 3)]);
        assert_eq!(by("team", "team"), [(json!("blue"), 2), (Value::Null, 2)]);
        assert_eq!(by("subject", "subject"), [(json!("bob"), 2), (json!("someone"), 2)]);
        assert_eq!(by("provider", "provider"), [(json!("1-alpha"), 4)]);
        assert_eq!(by("tenant", "tenant"), [(json!(session.tenant.id), 4)]);
        assert_eq!(by("key", "key").iter().map(|(_, requests)| *requests).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(by("tag:project", "tag:project"), [(json!("apollo"), 2), (json!("zeus"), 1), (Value::Null, 1)]);
        let both = usage("&group_by=model,subject");
        assert_eq!(both.len(), 3, "{both:?}");
        for width in ["1m", "1h", "1d", "1mo"] {
            let rows = usage(&format!("&bucket_width={width}"));
            assert_eq!(rows.iter().map(|row| row["requests"].as_u64().unwrap()).sum::<u64>(), 4, "{width}: {rows:?}");
            assert!(rows.len() <= 2 && rows[0]["start_time"].is_i64(), "{width}: {rows:?}");
        }
        for query in ["&group_by=colour", "&bucket_width=1w", "&from=x"] {
            assert_eq!(shared.gateway.admin("GET", &format!("/usage?tenant={}{query}", session.tenant.id), None).status, 400, "{query}");
        }
    }

    fn the_csv_export_has_the_same_entries(shared: &TestGateway) {
        let session = shared.session();
        session.chat("solo").header("x-aigw-tags", "note==cmd|,quote=\"x\"").send();
        for _ in 0..2 {
            session.chat("solo").send().expect(200);
        }
        let entries = session.tenant.entries(2);
        let answer = shared.gateway.get(&format!("/admin/v1/ledger?tenant={}", session.tenant.id)).bearer(ADMIN_TOKEN).header("accept", "text/csv").send();
        assert!(answer.status == 200 && answer.header("content-type").is_some_and(|value| value.starts_with("text/csv")));
        let text = answer.text();
        let mut lines = text.lines();
        let heads: Vec<&str> = lines.next().unwrap().split(',').collect();
        for field in ["request_id", "created_at", "tenant", "model", "cost_nanousd", "outcome"] {
            assert!(heads.contains(&field), "{heads:?}");
        }
        assert!(lines.count() >= entries.len());
        assert!(entries.iter().all(|entry| text.contains(entry["id"].as_str().unwrap())));
    }
}

#[test]
fn cached_tokens_have_their_own_price() {
    let session = session();
    let usage = json!({
        "prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
        "prompt_tokens_details": {"cached_tokens": 400}, "completion_tokens_details": {"reasoning_tokens": 30}
    });
    let (entry, answer) = entry_using(&session, "dear", usage);
    assert_eq!((&entry["cached_tokens"], &entry["reasoning_tokens"], &entry["completion_tokens"]), (&json!(400), &json!(30), &json!(50)));
    // 600 at 2.50, 400 at 1.25, 50 at 10.00 dollars a million, and half a cent for the call.
    assert_eq!(entry["cost_nanousd"], 600 * 2_500 + 400 * 1_250 + 50 * 10_000 + 5_000_000);
    assert_eq!(entry["list_cost_nanousd"], entry["cost_nanousd"]);
    assert_eq!(answer.header("x-aigw-cost-usd"), Some("0.0075"));
}

#[test]
fn cached_tokens_cost_the_input_price_by_default() {
    let session = session();
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 60}});
    let (entry, _) = entry_using(&session, "solo", usage);
    assert_eq!((&entry["cached_tokens"], &entry["cost_nanousd"]), (&json!(60), &json!(59_000)));
}

#[test]
fn half_a_nanodollar_is_rounded_up_once_per_entry() {
    let session = session();
    for (prompt, completion, nano) in [(1, 0, 1), (0, 1, 2), (1, 1, 2), (2, 0, 1), (3, 0, 2), (1, 2, 4), (0, 0, 0)] {
        let (entry, answer) = entry_using(&session, "odd", json!({"prompt_tokens": prompt, "completion_tokens": completion}));
        assert_eq!(entry["cost_nanousd"], nano, "{prompt} and {completion} tokens");
        let expected = if nano == 0 { "0".to_owned() } else { format!("0.{nano:09}") };
        assert_eq!(answer.header("x-aigw-cost-usd"), Some(expected.as_str()));
    }
}

#[test]
fn a_prompt_over_the_threshold_costs_the_long_context_price() {
    let session = session();
    for (prompt, nano) in [(1000, 1000 * 1_250 + 10 * 10_000), (1001, 1001 * 2_500 + 10 * 15_000)] {
        let (entry, _) = entry_using(&session, "long", json!({"prompt_tokens": prompt, "completion_tokens": 10}));
        assert_eq!(entry["cost_nanousd"], nano, "{prompt} tokens");
    }
}

#[test]
fn an_invalid_usage_does_not_fail_the_request() {
    let session = session();
    for usage in [
        json!({"prompt_tokens": -5, "completion_tokens": 1.5}),
        json!("much"),
        json!({"prompt_tokens": 18_446_744_073_709_551_615_u64, "completion_tokens": 1}),
        json!(null),
        json!([]),
    ] {
        session.script.on("alpha", [used(usage.clone())]);
        let answer = session.chat("solo").send();
        assert_eq!(answer.expect(200)["usage"], usage, "the response was changed");
        let entry = session.shared.gateway.entry_of(&answer);
        assert!(entry["cost_nanousd"].as_i64().is_some_and(|cost| cost >= 0), "{usage}: {entry}");
    }
}

#[test]
fn the_usage_of_a_response_without_usage_is_estimated() {
    let session = session();
    let mut body = completion("exactly 21 bytes here");
    body.as_object_mut().unwrap().remove("usage");
    session.script.on("alpha", [Answer::json(200, &body)]);
    let answer = session.chat("solo").send();
    let entry = session.shared.gateway.entry_of(&answer);
    assert_eq!((&entry["usage_source"], &entry["completion_tokens"]), (&json!("estimated"), &json!(7)));
    assert!(entry["prompt_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
}

#[test]
fn embeddings_and_completions_have_entries() {
    let session = session();
    let answer = session.post_with("/v1/embeddings", "solo", json!({"input": "x"})).send();
    assert_eq!(answer.expect(200)["data"][0]["embedding"], json!([0.5, -0.25]));
    let entry = session.shared.gateway.entry_of(&answer);
    assert_eq!((&entry["operation"], &entry["prompt_tokens"], &entry["completion_tokens"]), (&json!("embeddings"), &json!(5), &json!(0)));
    assert_eq!(entry["cost_nanousd"], 5 * 590);
    let answer = session.post_with("/v1/completions", "solo", json!({"prompt": "x"})).send();
    answer.expect(200);
    let entry = session.shared.gateway.entry_of(&answer);
    assert_eq!(
        (&entry["operation"], &entry["finish_reason"], &entry["cost_nanousd"]),
        (&json!("completions"), &json!("length"), &json!(12_020))
    );
}

#[test]
fn a_failed_request_has_an_entry_without_cost() {
    let session = session();
    session.script.on("alpha", [Answer::error(500)]);
    let answer = session.chat("solo").send();
    let entry = session.shared.gateway.entry_of(&answer);
    let expected = json!({"status": 502, "outcome": "upstream_error", "error_code": "all_providers_failed", "usage_source": "none", "prompt_tokens": 0, "cost_nanousd": 0, "provider": "1-alpha"});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&entry[field], value, "{field}: {entry}");
    }
}

#[test]
fn requests_that_are_not_routed_are_not_in_the_ledger() {
    let session = session();
    let refused = [session.chat("nonesuch").send(), session.raw("/v1/chat/completions", "{").send()];
    let answer = session.chat("gratis").send();
    session.shared.gateway.entry_of(&answer);
    for answer in refused {
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(session.shared.gateway.admin("GET", &format!("/ledger/{id}"), None).status, 404);
    }
}

#[test]
fn invalid_tags_are_dropped_or_truncated_and_do_not_fail_a_request() {
    let session = session();
    for tags in ["", ",", "=", "=x", "novalue", "a=1,,b=2", "a=1,a=2", "k=\u{e9}", &"a=1,".repeat(500), &format!("k={}", "v".repeat(3000))]
    {
        let answer = session.chat("gratis").header("x-aigw-tags", tags).send();
        assert!(matches!(answer.status, 200 | 400), "{tags:?}: {}", answer.status);
        if answer.status == 200 {
            assert!(session.shared.gateway.entry_of(&answer)["tags"].is_object());
        }
    }
}

/// Returns the peak resident memory of the process in KiB.
fn peak(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap()
}

#[test]
fn an_export_of_any_length_is_streamed() {
    let gateway = Setup::new().server("workers = 1").provider("simulator.toml", SIMULATOR).start();
    let tenant = gateway.tenant();
    let key = tenant.key_with(json!({"tags": {"padding": "x".repeat(200)}}));
    gateway.chat(&key, &json!({"model": "sim-echo", "messages": [{"role": "user", "content": "x"}]})).send().expect(200);
    let made = tenant.entries(1).remove(0);
    // 2^16 copies of the entry: 35 MB as CSV.
    let mut database = SqliteConnection::establish(gateway.database.strip_prefix("sqlite://").unwrap()).unwrap();
    database.batch_execute("PRAGMA busy_timeout = 5000; CREATE TEMP TABLE copies AS SELECT * FROM entries").unwrap();
    database.batch_execute(&"INSERT INTO copies SELECT * FROM copies;".repeat(16)).unwrap();
    database
        .batch_execute("UPDATE copies SET id = 'copy-' || rowid, created_at = created_at - rowid; INSERT INTO entries SELECT * FROM copies")
        .unwrap();
    let export = |query: &str| gateway.get(&format!("/admin/v1/ledger{query}")).bearer(ADMIN_TOKEN).header("accept", "text/csv").open();
    // A quarter of it, several times, so that all threads and caches have allocated what they keep.
    let quarter = format!("?from={}", made["created_at"].as_i64().unwrap() - (1 << 14));
    (0..4).for_each(|_| drop(export(&quarter).whole()));
    let before = peak(&gateway);
    let (mut lines, mut bytes, mut reply) = (0, 0, export(""));
    while let Some(piece) = reply.piece() {
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
        bytes += piece.len() as u64;
    }
    assert!(reply.complete && lines == 1 + 1 + (1 << 16), "{lines} lines");
    let grown = (peak(&gateway) - before) * 1024;
    assert!(bytes > 30_000_000 && grown < bytes / 8, "{bytes} bytes of CSV took {grown} bytes of memory");
}
