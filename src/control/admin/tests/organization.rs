//! OpenAI's Admin API with the requests of its SDKs.

use super::*;

const DAY: i64 = 86_400;

async fn organization(fixture: &ControlFixture, path: &str) -> Answer {
    let request = TestRequest::get().uri(&format!("/v1/organization{path}"));
    send(fixture, request.insert_header(("authorization", format!("Bearer {TOKEN}")))).await
}

/// Returns an entry of this day, hour and tenant.
fn used(id: &str, second: i64, tenant: &str, operation: Operation, cost: i64) -> Entry {
    Entry {
        id: id.to_owned(),
        created_at: second * 1_000,
        tenant: tenant.into(),
        operation,
        usage: Usage { prompt_tokens: 11, cached_tokens: 4, cache_write_tokens: 2, completion_tokens: 7, ..Usage::default() },
        cost: NanoUsd(cost),
        ..entry(0)
    }
}

fn fill(fixture: &ControlFixture) {
    let entries = vec![
        used("a", DAY, "acme", Operation::Chat, 1),
        used("b", DAY + 3_600, "acme", Operation::Completions, 1_500_000_000),
        used("c", DAY + 3_601, "globex", Operation::Chat, 2),
        used("d", 3 * DAY, "acme", Operation::Embeddings, 20),
        used("e", 3 * DAY + 5, "acme", Operation::Chat, 300),
    ];
    fixture.fresh.store.sink().store(&Batch { entries, ..Batch::default() }).unwrap();
}

#[test]
fn usage_comes_in_buckets_with_all_fields_and_null_for_what_is_not_grouped_by() {
    on_each(async |fixture: ControlFixture| {
        fill(&fixture);
        let page = organization(&fixture, &format!("/usage/completions?start_time={DAY}&end_time={}", 4 * DAY)).await.ok(200);
        assert_eq!((&page["object"], &page["has_more"], &page["next_page"]), (&json!("page"), &json!(false), &Value::Null));
        let result = |count: i64| {
            json!([{
                "object": "organization.usage.completions.result", "input_tokens": 11 * count, "output_tokens": 7 * count,
                "input_cached_tokens": 4 * count, "input_cache_write_tokens": 2 * count, "input_uncached_tokens": 5 * count,
                "input_audio_tokens": 0, "output_audio_tokens": 0, "num_model_requests": count, "project_id": null, "user_id": null,
                "api_key_id": null, "api_source": null, "model": null, "batch": null, "service_tier": null
            }])
        };
        let bucket = |day: i64, results: Value| json!({"object": "bucket", "start_time": day * DAY, "end_time": (day + 1) * DAY, "results": results});
        assert_eq!(page["data"], json!([bucket(1, result(3)), bucket(2, json!([])), bucket(3, result(1))]));
        let embedded = organization(&fixture, &format!("/usage/embeddings?start_time={}&limit=1", 3 * DAY)).await.ok(200);
        let expected = json!({
            "object": "organization.usage.embeddings.result", "input_tokens": 11, "num_model_requests": 1, "project_id": null,
            "user_id": null, "api_key_id": null, "api_source": null, "model": null
        });
        assert_eq!(embedded["data"][0]["results"], json!([expected]));
    });
}

#[test]
fn groups_and_filters_are_accepted_in_both_spellings() {
    on_each(async |fixture: ControlFixture| {
        fill(&fixture);
        for brackets in ["", "%5B%5D", "[]"] {
            let query = format!("start_time={DAY}&limit=1&group_by{brackets}=project_id&group_by{brackets}=model&group_by{brackets}=batch");
            let page = organization(&fixture, &format!("/usage/completions?{query}")).await.ok(200);
            let results = page["data"][0]["results"].as_array().unwrap();
            let shown: Vec<_> = results
                .iter()
                .map(|result| [&result["project_id"], &result["model"], &result["batch"], &result["num_model_requests"]])
                .collect();
            assert_eq!(
                shown,
                [[&json!("acme"), &json!("m"), &json!(false), &json!(2)], [&json!("globex"), &json!("m"), &json!(false), &json!(1)]]
            );
            let only = format!(
                "start_time={DAY}&limit=1&project_ids{brackets}=globex&project_ids{brackets}=nobody&models{brackets}=m&user_ids{brackets}=ada"
            );
            let page = organization(&fixture, &format!("/usage/completions?{only}&api_key_ids{brackets}=key_1&batch=false")).await.ok(200);
            assert_eq!(page["data"][0]["results"][0]["num_model_requests"], 1);
        }
        let none = organization(&fixture, &format!("/usage/completions?start_time={DAY}&limit=2&batch=true")).await.ok(200);
        assert_eq!((none["data"].as_array().unwrap().len(), &none["data"][0]["results"]), (2, &json!([])));
    });
}

#[test]
fn costs_are_exact_decimals_by_project_and_line_item() {
    on_each(async |fixture: ControlFixture| {
        fill(&fixture);
        let answer =
            organization(&fixture, &format!("/costs?start_time={DAY}&end_time={}&group_by[]=project_id&group_by[]=line_item", 2 * DAY))
                .await;
        assert!(answer.text.contains(r#""amount":{"value":1.500000001,"currency":"usd"}"#), "{}", answer.text);
        assert!(answer.text.contains(r#""amount":{"value":0.000000002,"currency":"usd"}"#), "{}", answer.text);
        let results = &answer.ok(200)["data"][0]["results"];
        assert_eq!(
            (&results[0]["project_id"], &results[0]["line_item"], &results[0]["user_id"]),
            (&json!("acme"), &json!("m"), &Value::Null)
        );
        let one = organization(&fixture, &format!("/costs?start_time={DAY}&end_time={}&line_items=other", 2 * DAY)).await.ok(200);
        assert_eq!(one["data"][0]["results"], json!([]));
    });
}

#[test]
fn pages_cover_every_bucket_once() {
    on_each(async |fixture: ControlFixture| {
        fill(&fixture);
        for (width, seconds, limit) in [("1d", DAY, 2), ("1h", 3_600, 7), ("1m", 60, 1_440)] {
            // The period starts within a bucket: the first one only counts entries since then.
            let (start, end) = (DAY + 1, 4 * DAY);
            let query = format!("/usage/completions?start_time={start}&end_time={end}&bucket_width={width}&limit={limit}");
            let (mut starts, mut requests, mut more) = (Vec::new(), 0, String::new());
            loop {
                let page = organization(&fixture, &format!("{query}{more}")).await.ok(200);
                for bucket in page["data"].as_array().unwrap() {
                    starts.push(bucket["start_time"].as_i64().unwrap());
                    requests += bucket["results"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|result| result["num_model_requests"].as_i64().unwrap())
                        .sum::<i64>();
                }
                let Some(next) = page["next_page"].as_str() else { break };
                assert_eq!(page["data"].as_array().unwrap().len(), limit);
                more = format!("&page={next}");
            }
            assert_eq!(starts, (0..3 * DAY / seconds).map(|nth| DAY + nth * seconds).collect::<Vec<_>>(), "{width}");
            assert_eq!(requests, 3, "{width}");
        }
    });
}

#[test]
fn limits_depend_on_the_bucket_width() {
    on_each(async |fixture: ControlFixture| {
        for (path, width, usual, longest) in [
            ("usage/completions", "1d", 7, 31),
            ("usage/completions", "1h", 24, 168),
            ("usage/embeddings", "1m", 60, 1_440),
            ("costs", "1d", 7, 180),
        ] {
            let query = format!("/{path}?start_time=0&bucket_width={width}");
            assert_eq!(organization(&fixture, &query).await.ok(200)["data"].as_array().unwrap().len(), usual);
            assert_eq!(
                organization(&fixture, &format!("{query}&limit={longest}")).await.ok(200)["data"].as_array().unwrap().len(),
                longest
            );
            for limit in [(longest + 1).to_string(), "0".to_owned(), "-1".to_owned()] {
                organization(&fixture, &format!("{query}&limit={limit}")).await.refused(400, "invalid_value", json!("limit"));
            }
        }
    });
}

#[test]
fn invalid_parameters_are_refused_by_name() {
    on_each(async |fixture: ControlFixture| {
        for (query, param) in [
            ("", "start_time"),
            ("start_time=-1", "start_time"),
            ("start_time=1730419200000", "start_time"),
            ("start_time=yesterday", "start_time"),
            ("start_time=5&end_time=5", "end_time"),
            ("start_time=5&end_time=4", "end_time"),
            ("start_time=5&bucket_width=1w", "bucket_width"),
            ("start_time=5&group_by=colour", "group_by"),
            ("start_time=5&group_by[]=line_item", "group_by"),
            ("start_time=5&project_ids[]=", "project_ids"),
            ("start_time=5&project_ids[]=%00", "project_ids[]"),
            ("start_time=5&batch=perhaps", "batch"),
            ("start_time=5&page=x", "page"),
            ("start_time=5&colour=red", "colour"),
            ("start_time=5&start_time=6", "start_time"),
        ] {
            organization(&fixture, &format!("/usage/completions?{query}")).await.refused(400, "invalid_value", json!(param));
        }
        organization(&fixture, "/costs?start_time=0&bucket_width=1h").await.refused(400, "invalid_value", json!("bucket_width"));
        organization(&fixture, "/costs?start_time=0&group_by=model").await.refused(400, "invalid_value", json!("group_by"));
        let next = organization(&fixture, "/usage/completions?start_time=0&limit=1").await.ok(200)["next_page"].clone();
        let next = next.as_str().unwrap();
        organization(&fixture, &format!("/usage/completions?start_time=0&limit=2&page={next}")).await.ok(200);
        for other in ["/usage/completions?start_time=1", "/usage/embeddings?start_time=0", "/usage/completions?start_time=0&group_by=model"]
        {
            organization(&fixture, &format!("{other}&page={next}")).await.refused(400, "invalid_value", json!("page"));
        }
    });
}

#[actix_web::test]
async fn it_is_behind_the_same_gate() {
    let fixture = ControlFixture::of(Arc::new(sqlite()));
    let nobody = send(&fixture, TestRequest::get().uri("/v1/organization/costs?start_time=0")).await;
    nobody.refused(401, "invalid_api_key", Value::Null);
    organization(&fixture, "/projects").await.refused(404, "unknown_endpoint", Value::Null);
    let off = ControlFixture::with(Arc::new(sqlite()), None, "x.toml".into());
    organization(&off, "/costs?start_time=0").await.refused(404, "unknown_endpoint", Value::Null);
}

#[test]
fn costs_over_months_outlive_their_entries() {
    on_each(async |fixture: ControlFixture| {
        fill(&fixture);
        let query = format!("/costs?start_time=0&end_time={}&limit=31", 31 * DAY);
        let owed = |page: Value| {
            let results = page["data"].as_array().unwrap().iter().flat_map(|bucket| bucket["results"].as_array().unwrap().clone());
            results.map(|result| (result["amount"]["value"].as_f64().unwrap() * 1e9).round()).sum::<f64>()
        };
        let before = owed(organization(&fixture, &query).await.ok(200));
        assert_eq!(fixture.control.roll_up(3 * DAY * 1_000 + 1).await.unwrap(), 4);
        assert_eq!(get(&fixture, "/ledger").await.ok(200)["data"].as_array().unwrap().len(), 1);
        assert_eq!(owed(organization(&fixture, &query).await.ok(200)), before);
        assert_eq!(fixture.control.roll_up(3 * DAY * 1_000 + 1).await.unwrap(), 0);
    });
}
