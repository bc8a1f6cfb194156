//! Invalid queries of the ledger and of usage, and pagination.

use super::*;

#[test]
fn a_cursor_of_another_query_is_refused() {
    on_each(async |fixture: ControlFixture| {
        store(&fixture, 5);
        let next = |page: Value| page["next_cursor"].as_str().unwrap().to_owned();
        let cursor = next(get(&fixture, "/ledger?tenant=acme&model=m&limit=2").await.ok(200));
        let again = get(&fixture, &format!("/ledger?limit=1&model=m&tenant=acme&from=1&cursor={cursor}")).await.ok(200);
        assert_eq!(again["data"][0]["id"], "e00002", "order and limit must not be part of the fingerprint");
        let usage = next(get(&fixture, "/usage?group_by=subject&limit=1").await.ok(200));
        for query in [
            format!("/ledger?cursor={cursor}"),
            format!("/ledger?tenant=globex&model=m&cursor={cursor}"),
            format!("/tenants?cursor={cursor}"),
            format!("/usage?tenant=acme&model=m&cursor={cursor}"),
            format!("/usage?group_by=model&cursor={usage}"),
            "/ledger?cursor=%21".to_owned(),
            "/usage?limit=1&cursor=AAAA".to_owned(),
        ] {
            get(&fixture, &query).await.refused(400, "invalid_value", json!("cursor"));
        }
    });
}

#[test]
fn invalid_ranges_limits_and_groupings_are_refused_by_name() {
    on_each(async |fixture: ControlFixture| {
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
                get(&fixture, &format!("{path}?{query}")).await.refused(400, "invalid_value", json!(param));
            }
            get(&fixture, &format!("{path}?from=1&to=1")).await.ok(200);
        }
        for (query, param) in [("group_by=colour", "group_by"), ("group_by=tag:", "group_by"), ("bucket_width=1w", "bucket_width")] {
            get(&fixture, &format!("/usage?{query}")).await.refused(400, "invalid_value", json!(param));
        }
    });
}

#[test]
fn usage_is_paginated_and_keeps_its_totals() {
    on_each(async |fixture: ControlFixture| {
        store(&fixture, 6);
        let query = "/usage?group_by=subject,tag:project&bucket_width=1m&limit=1";
        let whole = get(&fixture, "/usage?group_by=subject,tag:project&bucket_width=1m").await.ok(200);
        let first = get(&fixture, query).await.ok(200);
        store(&fixture, 7);
        let second = get(&fixture, &format!("{query}&cursor={}", first["next_cursor"].as_str().unwrap())).await.ok(200);
        assert_eq!([&first["data"][0], &second["data"][0]], [&whole["data"][0], &whole["data"][1]]);
        assert_eq!((&first["has_more"], &second["has_more"], &second["next_cursor"]), (&json!(true), &json!(false), &Value::Null));
        assert_eq!((&first["totals"]["requests"], &second["totals"]["requests"]), (&json!(6), &json!(7)));
    });
}

#[actix_web::test]
async fn the_admin_plane_describes_itself() {
    let fixture = ControlFixture::of(Arc::new(sqlite()));
    let described = get(&fixture, "/openapi.json").await;
    assert_eq!(described.headers.get("content-type").unwrap(), "application/json");
    let described = described.ok(200);
    assert_eq!(described["openapi"], "3.1.0");
    for (path, methods) in described["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for method in methods.as_object().unwrap().keys() {
            // Any status is fine except an unknown path or method. Nothing exists and nothing is
            // changed.
            let request = TestRequest::default().method(method.to_uppercase().parse().unwrap()).uri(&path).set_payload("{");
            let answer = send(&fixture, request.insert_header(("authorization", format!("Bearer {TOKEN}")))).await;
            let code = if answer.status.is_success() { Value::Null } else { answer.json()["error"]["code"].clone() };
            assert!(code != "unknown_endpoint" && code != "method_not_allowed", "{method} {path}: {}", answer.text);
        }
    }
}
