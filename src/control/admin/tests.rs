mod description;
mod organization;
mod queries;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use serde_json::{Value, json};

use super::routes;
use crate::control::store::testing::sqlite;
use crate::control::testing::{ControlFixture, TOKEN, on_each};
use crate::ledger::entry::{AttemptRecord, Entry, Outcome, UsageSource};
use crate::ledger::{Batch, EntrySink};
use crate::terms::{Billing, NanoUsd, Operation, Usage};

/// A complete response.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} {}", self.status, self.text))
    }

    #[track_caller]
    fn refused(&self, status: u16, code: &str, param: Value) {
        let error = &self.json()["error"];
        assert_eq!((self.status.as_u16(), &error["code"], &error["param"]), (status, &json!(code), &param), "{}", self.text);
        assert!(error["type"].is_string() && error["message"].as_str().is_some_and(|message| !message.is_empty()));
    }

    #[track_caller]
    fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
}

async fn send(fixture: &ControlFixture, request: TestRequest) -> Answer {
    let app = init_service(App::new().app_data(web::Data::from(Arc::clone(&fixture.control))).configure(routes)).await;
    let response = call_service(&app, request.to_request()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = String::from_utf8(read_body(response).await.to_vec()).unwrap();
    Answer { status, headers, text }
}

async fn ask(fixture: &ControlFixture, method: &str, path: &str, body: Option<Value>) -> Answer {
    let request = TestRequest::default().method(method.parse().unwrap()).uri(&format!("/admin/v1{path}"));
    let request = request.insert_header(("authorization", format!("Bearer {TOKEN}")));
    send(fixture, if let Some(body) = body { request.set_payload(body.to_string()) } else { request }).await
}

async fn get(fixture: &ControlFixture, path: &str) -> Answer {
    ask(fixture, "GET", path, None).await
}

fn entry(nth: i64) -> Entry {
    Entry {
        id: format!("e{nth:05}"),
        request_id: format!("req-{}", nth / 2).into(),
        created_at: 1_000 * nth,
        tenant: "acme".into(),
        team: None,
        key_id: "key_1".into(),
        subject: if nth % 2 == 0 { "ada" } else { "bob, \"B\"" }.into(),
        user: Some("u".into()),
        tags: vec![("project".to_owned(), "apollo".to_owned())],
        operation: Operation::Chat,
        model: "m".into(),
        upstream_model: "up".into(),
        provider: "1-p".into(),
        kind: "k".into(),
        billing: Billing::Brokered,
        stream: false,
        status: 200,
        outcome: Outcome::Ok,
        error_code: None,
        finish_reason: Some("stop".into()),
        usage: Usage { prompt_tokens: 11, completion_tokens: 7, ..Usage::default() },
        usage_source: UsageSource::Upstream,
        cost: NanoUsd(5),
        list_cost: NanoUsd(5),
        attempts: vec![AttemptRecord { provider: "1-p".into(), status: Some(200), error: None, ms: 3, request_id: None }],
        latency_ms: 4,
        ttfb_ms: Some(3),
    }
}

fn store(fixture: &ControlFixture, count: i64) {
    fixture.fresh.store.sink().store(&Batch { entries: (0..count).map(entry).collect(), ..Batch::default() }).unwrap();
}

#[test]
fn a_tenant_is_created_changed_listed_and_deleted() {
    on_each(async |fixture: ControlFixture| {
        let made = ask(&fixture, "POST", "/tenants", Some(json!({"id": "acme", "name": "Acme"}))).await.ok(201);
        assert_eq!(
            (&made["brokered"], &made["broker_fallback"], &made["custody"], &made["enabled"]),
            (&json!(true), &json!(false), &json!("operator"), &json!(true))
        );
        ask(&fixture, "POST", "/tenants", Some(json!({"id": "acme"}))).await.refused(409, "already_exists", json!("id"));
        let changed = ask(&fixture, "PATCH", "/tenants/acme", Some(json!({"broker_fallback": true}))).await.ok(200);
        assert_eq!((&changed["name"], &changed["broker_fallback"]), (&json!("Acme"), &json!(true)));
        assert_eq!(get(&fixture, "/tenants").await.ok(200)["data"], json!([changed]));
        assert_eq!(ask(&fixture, "DELETE", "/tenants/acme", None).await.ok(200)["deleted"], true);
        get(&fixture, "/tenants/acme").await.refused(404, "not_found", Value::Null);
        get(&fixture, "/tenants/acme/keys").await.refused(404, "not_found", Value::Null);
    });
}

#[test]
fn a_key_is_shown_once_and_its_name_stands_for_it() {
    on_each(async |fixture: ControlFixture| {
        fixture.tenant("acme").await;
        let made = ask(&fixture, "POST", "/tenants/acme/keys", Some(json!({"name": "ci", "tags": {"b": "2", "a": "1"}}))).await.ok(201);
        let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
        assert_eq!((&made["subject"], &made["status"], &made["tags"]), (&json!("ci"), &json!("active"), &json!({"a": "1", "b": "2"})));
        assert_eq!(made["display"], format!("aigw-sk-…{}", &key[key.len() - 4..]));
        for path in [format!("/tenants/acme/keys/{id}"), "/tenants/acme/keys".to_owned()] {
            let shown = get(&fixture, &path).await;
            shown.ok(200);
            assert!(!shown.text.contains(key));
        }
        let nameless = ask(&fixture, "POST", "/tenants/acme/keys", None).await.ok(201);
        assert_eq!((&nameless["name"], &nameless["subject"]), (&nameless["id"], &nameless["id"]));
        let rotated = ask(&fixture, "POST", &format!("/tenants/acme/keys/{id}/rotate"), Some(json!({"grace": "1h"}))).await.ok(201);
        assert_eq!((&rotated["rotated_from"], &rotated["name"]), (&json!(id), &json!("ci")));
        assert_eq!(ask(&fixture, "DELETE", &format!("/tenants/acme/keys/{id}"), None).await.ok(200)["status"], "revoked");
        ask(&fixture, "PATCH", &format!("/tenants/acme/keys/{id}"), Some(json!({"rpm": 1}))).await.refused(409, "key_revoked", Value::Null);
    });
}

#[test]
fn a_null_clears_a_field_and_a_missing_one_leaves_it() {
    on_each(async |fixture: ControlFixture| {
        fixture.tenant("acme").await;
        let fields = json!({"team": "red", "rpm": 5, "allowed_models": [], "monthly_budget_cents": 0});
        let made = ask(&fixture, "POST", "/tenants/acme/keys", Some(fields)).await.ok(201);
        assert_eq!((&made["allowed_models"], &made["monthly_budget_cents"]), (&json!([]), &json!(0)));
        let path = format!("/tenants/acme/keys/{}", made["id"].as_str().unwrap());
        let changed = ask(&fixture, "PATCH", &path, Some(json!({"team": null, "allowed_models": null}))).await.ok(200);
        assert_eq!((&changed["team"], &changed["allowed_models"], &changed["rpm"]), (&Value::Null, &Value::Null, &json!(5)));
    });
}

#[test]
fn bad_input_is_refused_by_name_and_changes_nothing() {
    on_each(async |fixture: ControlFixture| {
        fixture.tenant("acme").await;
        let long = "x".repeat(300_000);
        for (path, body, status, code, param) in [
            ("/tenants", json!({"id": "A B"}), 400, "invalid_value", json!("id")),
            ("/tenants", json!({"id": "a", "custody": "nobody"}), 400, "invalid_value", json!("custody")),
            ("/tenants", json!({"id": "a", "custody": "tenant"}), 409, "sealing_unavailable", Value::Null),
            ("/tenants", json!({"id": "a", "name": long}), 413, "request_too_large", Value::Null),
            ("/tenants/acme/keys", json!({"rpm": 0}), 400, "invalid_value", json!("rpm")),
            ("/tenants/acme/keys", json!({"tags": {"a b": "c"}}), 400, "invalid_value", json!("tags")),
            ("/tenants/acme/keys", json!({"expires_at": 1_800_000_000_000_i64}), 400, "invalid_value", json!("expires_at")),
            ("/tenants/acme/keys", json!({"monthly_budget_cents": u64::MAX}), 400, "invalid_value", json!("monthly_budget_cents")),
            ("/tenants/acme/keys", json!({"allowed_models": [""]}), 400, "invalid_value", json!("allowed_models[0]")),
            ("/tenants/acme/keys", json!({"expires": 1}), 400, "invalid_value", json!("expires")),
            ("/tenants/nobody/keys", json!({}), 404, "not_found", Value::Null),
            ("/tenants/acme/keys/key_x/rotate", json!({"grace": "soon"}), 400, "invalid_value", json!("grace")),
            ("/tenants/acme/keys/key_x/rotate", json!({}), 404, "not_found", Value::Null),
        ] {
            ask(&fixture, "POST", path, Some(body)).await.refused(status, code, param);
        }
        assert_eq!(get(&fixture, "/tenants").await.ok(200)["data"].as_array().unwrap().len(), 1);
        assert_eq!(get(&fixture, "/tenants/acme/keys").await.ok(200)["data"], json!([]));
    });
}

#[test]
fn lists_are_paginated() {
    on_each(async |fixture: ControlFixture| {
        for id in ["a", "b", "c", "d", "e"] {
            fixture.tenant(id).await;
        }
        let first = get(&fixture, "/tenants?limit=2").await.ok(200);
        let second = get(&fixture, &format!("/tenants?limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await.ok(200);
        let last = get(&fixture, &format!("/tenants?limit=2&cursor={}", second["next_cursor"].as_str().unwrap())).await.ok(200);
        let ids =
            |page: &Value| page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!((ids(&first), ids(&second), ids(&last)), (vec!["a".into(), "b".into()], vec!["c".into(), "d".into()], vec!["e".into()]));
        assert_eq!((&last["has_more"], &last["next_cursor"], &last["object"]), (&json!(false), &Value::Null, &json!("list")));
    });
}

#[test]
fn the_ledger_is_flushed_read_and_paged() {
    on_each(async |fixture: ControlFixture| {
        store(&fixture, 5);
        let first = get(&fixture, "/ledger?tenant=acme&limit=3").await.ok(200);
        assert_eq!(fixture.flushed.load(Ordering::Relaxed), 1);
        let newest = &first["data"][0];
        assert_eq!((&newest["id"], &newest["prompt_tokens"], &newest["cost_nanousd"]), (&json!("e00004"), &json!(11), &json!(5)));
        assert_eq!(newest["attempts"], json!([{"provider": "1-p", "status": 200, "error": null, "ms": 3}]));
        assert_eq!(newest["tags"], json!({"project": "apollo"}));
        let cursor = first["next_cursor"].as_str().unwrap();
        let second = get(&fixture, &format!("/ledger?tenant=acme&limit=3&cursor={cursor}")).await.ok(200);
        assert_eq!((second["data"].as_array().unwrap().len(), &second["has_more"]), (2, &json!(false)));
        assert_eq!(get(&fixture, "/ledger/req-1").await.ok(200)["id"], "e00003");
        get(&fixture, "/ledger/req-9").await.refused(404, "not_found", Value::Null);
        let tagged = get(&fixture, "/ledger?tag=project%3Dapollo&subject=ada&from=1000&to=4000").await.ok(200);
        assert_eq!(tagged["data"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn invalid_queries_are_refused_by_parameter() {
    on_each(async |fixture: ControlFixture| {
        for (path, param) in [
            ("/ledger?limit=0", "limit"),
            ("/ledger?limit=1001", "limit"),
            ("/ledger?limit=2&limit=3", "limit"),
            ("/ledger?cursor=%21", "cursor"),
            ("/ledger?cursor=YQ", "cursor"),
            ("/ledger?outcome=fine", "outcome"),
            ("/ledger?from=yesterday", "from"),
            ("/ledger?tenant=", "tenant"),
            ("/ledger?colour=red", "colour"),
            ("/usage?group_by=colour", "group_by"),
            ("/usage?group_by=tag:", "group_by"),
            ("/usage?bucket_width=1w", "bucket_width"),
            ("/tenants?limit=x", "limit"),
            ("/catalog?x=1", "x"),
        ] {
            get(&fixture, path).await.refused(400, "invalid_value", json!(param));
        }
    });
}

#[test]
fn the_export_is_csv_of_all_entries_or_up_to_the_limit() {
    on_each(async |fixture: ControlFixture| {
        store(&fixture, 2_500);
        let csv = async |query: &str| {
            let request = TestRequest::get().uri(&format!("/admin/v1/ledger{query}"));
            let request = request.insert_header(("authorization", format!("Bearer {TOKEN}"))).insert_header(("accept", "text/csv"));
            send(&fixture, request).await
        };
        let all = csv("").await;
        assert!(all.headers.get("content-type").unwrap().to_str().unwrap().starts_with("text/csv"));
        let mut reader = csv::Reader::from_reader(all.text.as_bytes());
        let heads = reader.headers().unwrap().clone();
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!((rows.len(), &rows[0][0], &rows[2_499][0]), (2_500, "e02499", "e00000"));
        let subject = heads.iter().position(|head| head == "subject").unwrap();
        assert_eq!(&rows[0][subject], "bob, \"B\"");
        assert_eq!(csv("?limit=7").await.text.lines().count(), 8);
        assert_eq!(csv("?subject=nobody").await.text.lines().count(), 1);
        csv("?limit=x").await.refused(400, "invalid_value", json!("limit"));
    });
}

#[test]
fn usage_is_grouped_bucketed_and_totalled() {
    on_each(async |fixture: ControlFixture| {
        store(&fixture, 4);
        let plain = get(&fixture, "/usage").await.ok(200);
        assert_eq!(
            (&plain["data"][0]["requests"], &plain["totals"]["prompt_tokens"], &plain["has_more"]),
            (&json!(4), &json!(44), &json!(false))
        );
        for query in
            ["group_by=subject,tag:project", "group_by[]=subject&group_by[]=tag:project", "group_by=subject&group_by=tag%3Aproject"]
        {
            let grouped = get(&fixture, &format!("/usage?{query}&bucket_width=1d")).await.ok(200);
            let row = &grouped["data"][0];
            assert_eq!((&row["subject"], &row["tag:project"], &row["requests"]), (&json!("ada"), &json!("apollo"), &json!(2)), "{query}");
            assert_eq!((&row["start_time"], &row["end_time"]), (&json!(0), &json!(86_400_000)));
        }
        assert_eq!(get(&fixture, "/usage?bucket_width=1mo").await.ok(200)["data"][0]["end_time"], 31 * 86_400_000_i64);
        assert_eq!(get(&fixture, "/usage?group_by=key&tenant=nobody").await.ok(200)["data"], json!([]));
    });
}

#[test]
fn only_the_admin_token_is_accepted_and_every_refusal_is_the_same() {
    on_each(async |fixture: ControlFixture| {
        let near = [&TOKEN[1..], "", "x", &format!("{TOKEN}x")].map(|token| format!("Bearer {token}"));
        let mut texts = Vec::new();
        for value in near.iter().map(String::as_str).chain([TOKEN, &format!("Basic {TOKEN}")]) {
            for path in ["/tenants", "/nothing", "/ledger/x", ""] {
                let answer =
                    send(&fixture, TestRequest::get().uri(&format!("/admin/v1{path}")).insert_header(("authorization", value))).await;
                answer.refused(401, "invalid_api_key", Value::Null);
                texts.push(answer.text);
            }
        }
        let twice = TestRequest::get().uri("/admin/v1/tenants").append_header(("authorization", format!("Bearer {TOKEN}")));
        texts.push(send(&fixture, twice.append_header(("authorization", "Bearer x"))).await.text);
        texts.push(send(&fixture, TestRequest::get().uri("/admin/v1/tenants").insert_header(("x-api-key", TOKEN))).await.text);
        texts.dedup();
        assert_eq!(texts.len(), 1);
        let lower = TestRequest::get().uri("/admin/v1/tenants").insert_header(("authorization", format!("bearer {TOKEN}")));
        send(&fixture, lower).await.ok(200);
    });
}

#[actix_web::test]
async fn without_a_token_there_is_nothing_behind_the_gate() {
    let fixture = ControlFixture::with(Arc::new(sqlite()), None, "x.toml".into());
    for value in ["Bearer ", &format!("Bearer {TOKEN}")] {
        let answer = send(&fixture, TestRequest::get().uri("/admin/v1/tenants").insert_header(("authorization", value))).await;
        answer.refused(404, "unknown_endpoint", Value::Null);
    }
}

#[actix_web::test]
async fn every_answer_has_the_headers_of_the_plane() {
    let fixture = ControlFixture::of(Arc::new(sqlite()));
    for path in ["/tenants", "/tenants/nobody", "/nothing"] {
        let request = TestRequest::get().uri(&format!("/admin/v1{path}")).insert_header(("x-request-id", "mine-1"));
        let answer = send(&fixture, request.insert_header(("authorization", format!("Bearer {TOKEN}")))).await;
        for (name, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("x-request-id", "mine-1")] {
            assert_eq!(answer.headers.get(name).unwrap(), value, "{path}");
        }
    }
    get(&fixture, "/nothing").await.refused(404, "unknown_endpoint", Value::Null);
    ask(&fixture, "DELETE", "/tenants", None).await.refused(405, "method_not_allowed", Value::Null);
}

#[actix_web::test]
async fn a_reload_publishes_and_a_bad_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("aigw.toml");
    let model = |id: &str| {
        format!(
            "[kind.sim]\ndialect = \"simulator\"\nauth = \"none\"\n[provider.\"1-sim\"]\nkind = \"sim\"\n[model.{id}.served_by.sim]\nprice = {{ input = 0.59, output = 2 }}\n"
        )
    };
    let providers = directory.path().join("sim.toml");
    std::fs::write(&file, "include = [\"sim.toml\"]\n").unwrap();
    std::fs::write(&providers, model("one")).unwrap();
    let fixture = ControlFixture::configured(Arc::new(sqlite()), &file);
    fixture.tenant("acme").await;
    std::fs::write(&providers, "[model.two.served_by.nonesuch]\n").unwrap();
    let refused = ask(&fixture, "POST", "/reload", None).await;
    refused.refused(400, "invalid_configuration", Value::Null);
    assert!(refused.json()["error"]["problems"][0]["remedy"].is_string());
    assert!(fixture.gateway.snapshot().offerings.model("one").is_some());
    std::fs::write(&providers, model("two")).unwrap();
    let reloaded = ask(&fixture, "POST", "/reload", None).await.ok(200);
    assert_eq!((&reloaded["models"], &reloaded["providers"]), (&json!(1), &json!(1)));
    let published = fixture.gateway.snapshot();
    assert!(published.offerings.model("two").is_some() && published.offerings.model("one").is_none());
    assert!(published.directory.tenants.contains_key("acme"));
    let catalog = get(&fixture, "/catalog").await.ok(200);
    let served = &catalog["data"][0]["served_by"][0];
    assert_eq!(
        (&served["providers"], &served["price"]["input"], &served["price"]["output"]),
        (&json!(["1-sim"]), &json!("0.59"), &json!("2"))
    );
    let provider = &get(&fixture, "/providers").await.ok(200)["data"][0];
    assert_eq!((&provider["name"], &provider["enabled"], &provider["cooldown_until"]), (&json!("1-sim"), &json!(true), &json!(7_000)));
    assert_eq!(get(&fixture, "/tenants/acme/providers?model=two").await.ok(200)["data"][0]["name"], "1-sim");
    assert_eq!(get(&fixture, "/tenants/acme/providers").await.ok(200)["data"].as_array().unwrap().len(), 1);
    get(&fixture, "/tenants/acme/providers?model=one").await.refused(404, "model_not_found", json!("model"));
    ask(&fixture, "PATCH", "/tenants/acme", Some(json!({"brokered": false}))).await.ok(200);
    assert_eq!(get(&fixture, "/tenants/acme/providers?model=two").await.ok(200)["data"], json!([]));
}
