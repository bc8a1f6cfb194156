//! Configuration reload: atomic, and without effect on requests in flight.

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::gateway::{Gateway, Key, Setup};
use crate::support::test_gateway::{SIMULATOR, keyless, models};
use crate::support::upstream::{Answer, Gate, MARK, Upstream};

fn start(upstream: &Upstream) -> (Gateway, Key) {
    let gateway = Setup::new()
        .provider("alpha.toml", &keyless("alpha", "1-alpha", &upstream.base_url("alpha")))
        .provider("models.toml", &models(&[("solo", &["alpha"])]))
        .start();
    let key = gateway.key();
    (gateway, key)
}

fn knows(gateway: &Gateway, key: &Key, model: &str) -> bool {
    gateway.get(&format!("/v1/models/{model}")).bearer(&key.secret).send().status == 200
}

#[test]
fn a_new_file_is_active_once_reload_answers() {
    let upstream = Upstream::start();
    let (gateway, key) = start(&upstream);
    gateway.write("providers/echo.toml", SIMULATOR);
    assert!(!knows(&gateway, &key, "sim-echo"));
    gateway.admin("POST", "/reload", None).expect(200);
    // Every worker must have it, so send more requests than there are workers.
    assert!((0..16).all(|_| knows(&gateway, &key, "sim-echo")));
}

#[test]
fn sighup_reloads_too() {
    let upstream = Upstream::start();
    let (gateway, key) = start(&upstream);
    gateway.write("providers/models.toml", &models(&[("other", &["alpha"])]));
    gateway.sighup();
    eventually("the new model", || knows(&gateway, &key, "other").then_some(()));
    eventually("the end of the old model", || (!knows(&gateway, &key, "solo")).then_some(()));
}

#[test]
fn an_invalid_file_changes_nothing_and_is_reported() {
    let upstream = Upstream::start();
    let (gateway, key) = start(&upstream);
    gateway.write("providers/echo.toml", SIMULATOR);
    for (bad, hint) in [
        ("[kind.broken\n", "broken.toml"),
        ("[kind.broken]\nbase_url = \"https://x.example/v1\"\ndialct = \"openai\"\n", "dialect"),
        ("[provider.\"9-x\"]\nkind = \"nonesuch\"\n", "nonesuch"),
        ("[model.x.served_by.alpha]\nmodel = \"y\"\n", "price"),
    ] {
        gateway.write("providers/broken.toml", bad);
        let answer = gateway.admin("POST", "/reload", None);
        assert_eq!(answer.status, 400, "{}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("broken.toml") && message.contains(hint), "{message}");
        assert!(knows(&gateway, &key, "solo") && !knows(&gateway, &key, "sim-echo"));
    }
    gateway.sighup();
    eventually("the log to say why", || gateway.log().contains("broken.toml").then_some(()));
    assert!(knows(&gateway, &key, "solo") && !knows(&gateway, &key, "sim-echo") && gateway.is_running());
    std::fs::remove_file(gateway.directory.join("providers/broken.toml")).unwrap();
    gateway.admin("POST", "/reload", None).expect(200);
    assert!(knows(&gateway, &key, "sim-echo"));
}

#[test]
fn a_request_in_flight_keeps_its_configuration() {
    let upstream = Upstream::start();
    let (gateway, key) = start(&upstream);
    let (script, gate) = (upstream.script(), Gate::default());
    script.on("alpha", [Answer::stream().delta("before").gate(&gate).delta("after").event("[DONE]")]);
    let body = json!({"model": "solo", "messages": [], "stream": true, MARK: script.mark()});
    let mut reply = gateway.chat(&key, &body).open();
    assert!(reply.frame().is_some());
    gateway.write("providers/models.toml", &models(&[("other", &["alpha"])]));
    gateway.admin("POST", "/reload", None).expect(200);
    assert!(!knows(&gateway, &key, "solo"));
    gate.open();
    assert_eq!(reply.frames().last().map(String::as_str), Some("data: [DONE]"));
    let entry = gateway.entry(reply.headers.get("x-request-id").unwrap());
    assert_eq!((&entry["model"], &entry["outcome"]), (&json!("solo"), &json!("ok")));
}

#[test]
fn a_changed_price_applies_from_the_next_request() {
    let upstream = Upstream::start();
    let (gateway, key) = start(&upstream);
    let ask = || -> Value {
        let answer = gateway.chat(&key, &json!({"model": "solo", "messages": []})).send();
        answer.expect(200);
        gateway.entry_of(&answer)["cost_nanousd"].clone()
    };
    assert_eq!(ask(), 11 * 1_000 + 7 * 2_000);
    gateway.write("providers/models.toml", "[model.solo.served_by.alpha]\nprice = { input = 10.0, output = 0.0 }\n");
    gateway.admin("POST", "/reload", None).expect(200);
    assert_eq!(ask(), 11 * 10_000);
}
