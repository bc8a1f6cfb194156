//! Gateway with its own edge (spec/security.md 1.5): the keys it can use, and the end of its edge
//! key.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{bring, setup};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Key};
use crate::support::upstream::{MARK, Upstream};

/// Sends a request and returns the key that went upstream, or the refusal.
fn spent(gateway: &Gateway, key: &Key, upstream: &Upstream) -> Option<String> {
    let script = upstream.script();
    let answer = gateway.chat(key, &json!({"model": "solo", "messages": [], MARK: script.mark()})).send();
    let sent = script.calls().first().and_then(|call| call.headers.get("authorization")).map(str::to_owned);
    assert_eq!(answer.status == 200, sent.is_some(), "{}", answer.text());
    sent
}

#[test]
fn an_edge_without_the_master_key_spends_its_grants_until_removed() {
    let upstream = Upstream::start();
    let first = setup(&upstream).start();
    let (mine, others) = (first.tenant(), first.tenant());
    bring(&mine, "5-mine", "alpha", "sk-mine-0123456789");
    bring(&others, "5-mine", "alpha", "sk-others-0123456789");
    let (key, foreign) = (mine.key(), others.key());
    let made = first.cli(&["edge", "add", "far", "--tenant", &mine.id, "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap_or_else(|_| panic!("{made:?}"));
    let edge_key = made["edge_key"].as_str().unwrap();
    let far = setup(&upstream)
        .without_env("AIGW_MASTER_KEY")
        .env("AIGW_EDGE_KEY", edge_key)
        .section("[sealing]\nedge = \"far\"")
        .database(&first.database)
        .start();
    assert_eq!(spent(&far, &key, &upstream).as_deref(), Some("Bearer sk-mine-0123456789"));
    assert_eq!(spent(&far, &foreign, &upstream), None, "that tenant was not granted to this edge");
    let later = mine.key();
    eventually("a later key to be known there", || (far.get("/v1/models").bearer(&later.secret).send().status == 200).then_some(()));
    assert!(spent(&far, &later, &upstream).is_some());
    // It seals nothing, even on request.
    let answer =
        far.admin("PUT", &format!("/tenants/{}/providers/6-more", mine.id), Some(&json!({"kind": "alpha", "api_key": "sk-0123456789"})));
    answer.error(409, "invalid_request_error", "sealing_unavailable");
    first.admin("DELETE", "/edges/far", None).expect(200);
    let removed = Instant::now();
    eventually("the removed edge to spend nothing", || spent(&far, &key, &upstream).is_none().then_some(()));
    assert!(removed.elapsed() < Duration::from_secs(2), "{:?}", removed.elapsed());
    assert!(spent(&first, &key, &upstream).is_some());
}
