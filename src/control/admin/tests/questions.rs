//! Questions to the ledger and to usage that make no sense, and answers in pages.

use super::*;

#[test]
fn a_cursor_of_another_question_is_refused() {
    on_each(async |bench: Bench| {
        store(&bench, 5);
        let next = |page: Value| page["next_cursor"].as_str().unwrap().to_owned();
        let cursor = next(get(&bench, "/ledger?tenant=acme&model=m&limit=2").await.ok(200));
        let again = get(&bench, &format!("/ledger?limit=1&model=m&tenant=acme&from=1&cursor={cursor}")).await.ok(200);
        assert_eq!(again["data"][0]["id"], "e00002", "order and limit are not the question");
        let usage = next(get(&bench, "/usage?group_by=subject&limit=1").await.ok(200));
        for query in [
            format!("/ledger?cursor={cursor}"),
            format!("/ledger?tenant=globex&model=m&cursor={cursor}"),
            format!("/tenants?cursor={cursor}"),
            format!("/usage?tenant=acme&model=m&cursor={cursor}"),
            format!("/usage?group_by=model&cursor={usage}"),
            "/ledger?cursor=%21".to_owned(),
            "/usage?limit=1&cursor=AAAA".to_owned(),
        ] {
            get(&bench, &query).await.refused(400, "invalid_value", json!("cursor"));
        }
    });
}

#[test]
fn ranges_limits_and_groupings_that_make_no_sense_are_refused_by_name() {
    on_each(async |bench: Bench| {
        for path in ["/ledger", "/usage"] {
            for (query, param) in [
                ("from=2&to=1", "to"),
                ("from=-1", "from"),
                ("to=253402300800000", "to"),
                ("from=1.5", "from"),
                ("from=", "from"),
                ("limit=-1", "limit"),
                ("limit=0", "limit"),
                ("limit=1001", "limit"),
                ("tenant=a%00b", "tenant"),
                ("outcome=fine", "outcome"),
                ("tenant=a&tenant=b", "tenant"),
            ] {
                get(&bench, &format!("{path}?{query}")).await.refused(400, "invalid_value", json!(param));
            }
            get(&bench, &format!("{path}?from=1&to=1")).await.ok(200);
        }
        for (query, param) in [("group_by=colour", "group_by"), ("group_by=tag:", "group_by"), ("bucket_width=1w", "bucket_width")] {
            get(&bench, &format!("/usage?{query}")).await.refused(400, "invalid_value", json!(param));
        }
    });
}

#[test]
fn usage_turns_its_pages_and_keeps_its_totals() {
    on_each(async |bench: Bench| {
        store(&bench, 6);
        let query = "/usage?group_by=subject,tag:project&bucket_width=1m&limit=1";
        let whole = get(&bench, "/usage?group_by=subject,tag:project&bucket_width=1m").await.ok(200);
        let first = get(&bench, query).await.ok(200);
        store(&bench, 7);
        let second = get(&bench, &format!("{query}&cursor={}", first["next_cursor"].as_str().unwrap())).await.ok(200);
        assert_eq!([&first["data"][0], &second["data"][0]], [&whole["data"][0], &whole["data"][1]]);
        assert_eq!((&first["has_more"], &second["has_more"], &second["next_cursor"]), (&json!(true), &json!(false), &Value::Null));
        assert_eq!((&first["totals"]["requests"], &second["totals"]["requests"]), (&json!(6), &json!(7)));
    });
}

#[actix_web::test]
async fn the_admin_plane_describes_itself() {
    let bench = Bench::of(Arc::new(sqlite()));
    let described = get(&bench, "/openapi.json").await;
    assert_eq!(described.headers.get("content-type").unwrap(), "application/json");
    let described = described.ok(200);
    assert_eq!(described["openapi"], "3.1.0");
    for (path, methods) in described["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for method in methods.as_object().unwrap().keys() {
            // Whatever it says, it knows the path and the method. Nothing is there to be found; nothing is changed.
            let request = TestRequest::default().method(method.to_uppercase().parse().unwrap()).uri(&path).set_payload("{");
            let answer = send(&bench, request.insert_header(("authorization", format!("Bearer {TOKEN}")))).await;
            let code = if answer.status.is_success() { Value::Null } else { answer.json()["error"]["code"].clone() };
            assert!(code != "unknown_endpoint" && code != "method_not_allowed", "{method} {path}: {}", answer.text);
        }
    }
}
