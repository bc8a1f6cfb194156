//! Usage and costs of a running gateway: sums through OpenAI's API and aigw's, and impossible usage
//! reports of providers.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::client::Response;
use crate::support::gateway::{ADMIN_TOKEN, Setup};
use crate::support::store::on_every_store;
use crate::support::test_gateway::{SIMULATOR, TestGateway, session};
use crate::support::upstream::{Answer, completion};

const DAY: i64 = 86_400;

/// Yesterday's midnight, so that a test across midnight is counted in full.
fn since() -> i64 {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    now / DAY * DAY - DAY
}

fn organization(shared: &TestGateway, path: &str) -> Response {
    shared.gateway.get(&format!("/v1/organization/{path}")).bearer(ADMIN_TOKEN).send()
}

fn results(page: &Value) -> Vec<Value> {
    page["data"].as_array().unwrap().iter().flat_map(|bucket| bucket["results"].as_array().unwrap().clone()).collect()
}

on_every_store! {
    fn the_openai_usage_api_returns_the_same_sums(shared: &TestGateway) {
        let session = shared.session();
        let bob = session.tenant.key_with(json!({"subject": "bob"}));
        for (key, model) in [(&session.key, "solo"), (&session.key, "dear"), (&bob, "solo")] {
            shared.gateway.chat(key, &session.body(model)).send().expect(200);
        }
        session.post_with("/v1/completions", "solo", json!({"prompt": "x"})).send().expect(200);
        session.post_with("/v1/embeddings", "solo", json!({"input": "x"})).send().expect(200);
        let entries = session.tenant.entries(5);
        let tenant = &session.tenant.id;
        let query = format!("start_time={}&project_ids[]={tenant}", since());

        let chats: Vec<&Value> = entries.iter().filter(|entry| entry["operation"] != "embeddings").collect();
        let whole = results(&organization(shared, &format!("usage/completions?{query}")).expect(200));
        let sum = |field: &str| whole.iter().map(|result| result[field].as_i64().unwrap()).sum::<i64>();
        let owed = |field: &str, entries: &[&Value]| entries.iter().map(|entry| entry[field].as_i64().unwrap()).sum::<i64>();
        assert_eq!(sum("num_model_requests"), 4);
        assert_eq!(sum("input_tokens"), owed("prompt_tokens", &chats));
        assert_eq!(sum("output_tokens"), owed("completion_tokens", &chats));
        let by = results(&organization(shared, &format!("usage/completions?{query}&group_by[]=user_id&group_by[]=api_key_id&user_ids=bob")).expect(200));
        assert_eq!((&by[0]["user_id"], &by[0]["api_key_id"], &by[0]["project_id"]), (&json!("bob"), &json!(bob.id), &Value::Null));
        let embedded = results(&organization(shared, &format!("usage/embeddings?{query}&bucket_width=1h&limit=168")).expect(200));
        assert_eq!((embedded.len(), &embedded[0]["input_tokens"]), (1, &json!(5)));

        let costs = results(&organization(shared, &format!("costs?{query}&group_by=line_item&group_by=project_id")).expect(200));
        let all: Vec<&Value> = entries.iter().collect();
        let nano = |result: &Value| (result["amount"]["value"].as_f64().unwrap() * 1e9).round();
        #[expect(clippy::cast_precision_loss, reason = "a few cents in nano-dollars")]
        let total = owed("cost_nanousd", &all) as f64;
        assert_eq!(costs.iter().map(nano).sum::<f64>(), total);
        assert!(costs.iter().all(|result| result["project_id"] == json!(tenant) && result["amount"]["currency"] == "usd"));
        assert_eq!(organization(shared, "costs?start_time=5&limit=181").json()["error"]["param"], "limit");
        assert_eq!(shared.gateway.get("/v1/organization/costs?start_time=5").bearer(&session.key.secret).send().status, 401);
    }
}

#[test]
fn impossible_usage_is_estimated_and_logged() {
    let session = session();
    for usage in [
        json!({"prompt_tokens": -5, "completion_tokens": 7}),
        json!({"prompt_tokens": 18_446_744_073_709_551_615_u64, "completion_tokens": 1}),
        json!({"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 6}}),
        json!("much"),
    ] {
        let mut body = completion("exactly 21 bytes here");
        body["usage"] = usage.clone();
        session.script.on("alpha", [Answer::json(200, &body)]);
        let answer = session.chat("solo").send();
        assert_eq!(answer.expect(200)["usage"], usage, "the answer was changed");
        let entry = session.shared.gateway.entry_of(&answer);
        assert_eq!((&entry["usage_source"], &entry["completion_tokens"]), (&json!("estimated"), &json!(7)), "{usage}");
        let prompt = entry["prompt_tokens"].as_i64().unwrap();
        assert!((1..1_000).contains(&prompt), "{prompt}");
        assert_eq!(entry["cost_nanousd"], prompt * 590 + 7 * 790);
        let log = session.shared.gateway.log();
        let warning = format!("provider 1-alpha reported impossible usage for request {}", entry["request_id"].as_str().unwrap());
        assert!(log.contains(&warning), "{usage} is not in the log");
    }
}

#[test]
fn entry_fields_are_limited_in_length() {
    let session = session();
    let long = "é".repeat(100_000);
    let (mut finished, mut failed) = (completion("x"), json!({"error": {"message": "no", "type": "t", "param": null}}));
    finished["choices"][0]["finish_reason"] = json!(long);
    failed["error"]["code"] = json!(long);
    session.script.on("alpha", [Answer::json(200, &finished), Answer::json(422, &failed)]);
    for (status, field) in [(200, "finish_reason"), (422, "error_code")] {
        let answer = session.chat_with("solo", json!({"user": long})).send();
        assert!(answer.expect(status).to_string().contains(&long), "the answer was cut");
        let entry = session.shared.gateway.entry_of(&answer);
        for field in ["user", field] {
            let kept = entry[field].as_str().unwrap_or_else(|| panic!("{field} is missing: {}", entry["outcome"]));
            assert!(long.starts_with(kept) && (500..=512).contains(&kept.len()), "{field} takes {} bytes", kept.len());
        }
    }
}

#[test]
fn expired_entries_become_monthly_sums_at_start() {
    use diesel::connection::SimpleConnection;
    use diesel::{Connection, SqliteConnection};

    let gateway = Setup::new().section("[ledger]\nkeep = \"30d\"").provider("sim.toml", SIMULATOR).start();
    let tenant = gateway.tenant();
    let key = tenant.key_with(json!({"tags": {"project": "apollo"}}));
    for _ in 0..3 {
        gateway.chat(&key, &json!({"model": "sim-echo", "messages": [{"role": "user", "content": "x"}]})).send().expect(200);
    }
    tenant.entries(3);
    let usage = |query: &str| gateway.admin("GET", &format!("/usage?tenant={}{query}", tenant.id), None).expect(200)["data"].clone();
    let questions = ["", "&group_by=model,subject", "&group_by=tag:project", "&tag=project%3Dapollo"];
    let before = questions.map(usage);
    let mut database = SqliteConnection::establish(gateway.database.strip_prefix("sqlite://").unwrap()).unwrap();
    database.batch_execute("PRAGMA busy_timeout = 5000; UPDATE entries SET created_at = created_at - 86400000 * 40").unwrap();
    gateway.kill9();
    gateway.restart();
    crate::support::eventually("the entries to go", || {
        let left = gateway.admin("GET", &format!("/ledger?tenant={}", tenant.id), None).expect(200);
        left["data"].as_array().unwrap().is_empty().then_some(())
    });
    assert_eq!(questions.map(usage), before);
    let months = usage("&bucket_width=1mo");
    assert_eq!((months.as_array().unwrap().len(), &months[0]["requests"]), (1, &json!(3)));
}
