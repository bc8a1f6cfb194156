//! Retry and failover: special cases here, the matrix of faults in `matrix`.

mod matrix;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::client::Connection;
use crate::support::gateway::Setup;
use crate::support::test_gateway::{keyless, kind, models, session, upstream_key};
use crate::support::upstream::{Answer, Gate, MARK, Upstream, completion};

#[test]
fn providers_are_tried_in_the_natural_order_of_their_names() {
    let session = session();
    for provider in ["alpha", "beta", "gamma"] {
        session.script.on(provider, [Answer::error(500)]);
    }
    let answer = session.chat("trio").send();
    answer.error(502, "upstream_error", "all_providers_failed");
    assert_eq!(session.script.called(), ["alpha", "alpha", "beta", "beta", "gamma", "gamma"]);
    assert_eq!(answer.header("x-aigw-attempts"), Some("6"));
}

/// Calls a model of all these providers, each of which fails. Returns the order of the calls and
/// the order that the admin API shows.
fn orders(names: &[String]) -> (Vec<String>, Vec<String>) {
    let upstream = Upstream::start();
    let kinds: Vec<String> = (0..names.len()).map(|nth| format!("kind{nth}")).collect();
    let text: String = names.iter().zip(&kinds).map(|(name, kind)| keyless(kind, name, &upstream.base_url(name))).collect();
    let served = models(&[("m", &kinds.iter().map(String::as_str).collect::<Vec<_>>())]);
    let gateway = Setup::new().section(crate::support::test_gateway::RETRY).provider("all.toml", &(text + &served)).start();
    let tenant = gateway.tenant();
    let script = upstream.script();
    for name in names {
        script.on(name, [Answer::error(401)]);
    }
    gateway.chat(&tenant.key(), &json!({"model": "m", MARK: script.mark()})).send().error(502, "upstream_error", "upstream_auth_failed");
    let listed = tenant.admin("GET", "/providers?model=m", None).expect(200);
    let listed = listed["data"].as_array().unwrap().iter().map(|provider| provider["name"].as_str().unwrap().to_owned()).collect();
    (script.called(), listed)
}

#[test]
fn numbers_in_names_count_as_numbers() {
    let names = ["10-last", "2-backup", "1-primary"].map(str::to_owned);
    let (called, listed) = orders(&names);
    assert_eq!(called, ["1-primary", "2-backup", "10-last"]);
    assert_eq!(called, listed);
}

#[test]
fn the_order_shown_is_the_order_used_with_any_names() {
    let mut names: Vec<String> = (0..30)
        .map(|_| {
            let word: String = (0..fastrand::usize(1..4)).map(|_| fastrand::lowercase()).collect();
            match fastrand::u8(0..4) {
                0 => format!("{}-{word}", fastrand::u32(0..200)),
                1 => format!("{word}{}", fastrand::u32(0..20)),
                2 => format!("{:03}-{word}-{}", fastrand::u32(0..20), fastrand::u8(..)),
                _ => format!("{word}-{}", fastrand::u64(..)),
            }
        })
        .collect();
    names.sort();
    names.dedup();
    let (called, listed) = orders(&names);
    assert_eq!(called.len(), names.len());
    assert_eq!(called, listed, "the admin list shows another order than the one used");
}

#[test]
fn the_second_attempt_at_the_same_provider_may_succeed() {
    for stream in [false, true] {
        let session = session();
        session.script.on("alpha", [Answer::error(503), Answer::good()]);
        let answer = session.chat_with("pair", json!({"stream": stream})).send();
        assert_eq!(answer.status, 200);
        assert_eq!(session.script.called(), ["alpha", "alpha"]);
        assert_eq!((answer.header("x-aigw-provider"), answer.header("x-aigw-attempts")), (Some("1-alpha"), Some("2")));
    }
}

#[test]
fn every_attempt_sends_the_request_in_its_providers_form() {
    let session = session();
    session.script.on("alpha", [Answer::error(500)]);
    session.chat("pair").send().expect(200);
    let calls = session.script.calls();
    let sent: Vec<Value> = calls.iter().map(|call| call.json()["model"].clone()).collect();
    assert_eq!(sent, ["pair-at-alpha", "pair-at-alpha", "pair-at-beta"]);
    let keys: Vec<&str> = calls.iter().map(|call| call.headers.get("authorization").unwrap()).collect();
    assert_eq!(keys[1], format!("Bearer {}", upstream_key("1-alpha")));
    assert_eq!(keys[2], format!("Bearer {}", upstream_key("2-beta")));
}

#[test]
fn a_short_retry_after_is_honored_and_a_long_one_fails_over() {
    let far = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
    for (value, calls) in [("0", 2), ("1", 1), ("3600", 1), (far.as_str(), 1)] {
        for status in [429, 503] {
            let session = session();
            session.script.on("alpha", [Answer::error(status).header("retry-after", value)]);
            let answer = session.chat("pair").send();
            answer.expect(200);
            let providers = session.script.called();
            assert_eq!(providers.iter().filter(|provider| *provider == "alpha").count(), calls, "retry-after: {value}");
            assert_eq!(providers.last().map(String::as_str), Some("beta"));
        }
    }
}

#[test]
fn a_long_retry_after_of_the_last_provider_is_passed_on() {
    for status in [429, 503] {
        let session = session();
        session.script.on("alpha", [Answer::error(status).header("retry-after", "120")]);
        let answer = session.chat("solo").send();
        answer.error(status, "upstream_error", "all_providers_failed");
        assert_eq!(answer.header("retry-after"), Some("120"));
        assert_eq!(session.script.calls().len(), 1);
    }
}

#[test]
fn a_connection_closed_at_the_moment_of_use_loses_no_answer() {
    let session = session();
    for fault in [Answer::head(200).close().before_head(), Answer::head(200).reset().before_head()] {
        session.script.on("alpha", [Answer::good(), fault, Answer::good()]);
        let (first, connection) = session.chat("solo").send_over(Connection::open(session.shared.gateway.address));
        let (second, _) = session.chat("solo").send_over(connection);
        assert_eq!((first.status, second.status), (200, 200));
    }
    assert_eq!(session.script.calls().len(), 6);
}

#[test]
fn a_provider_that_keeps_failing_cools_down_and_is_probed_again() {
    let upstream = Upstream::start();
    let retry =
        "[retry]\nattempts = 1\nbackoff = \"1ms\"\nmax_backoff = \"5ms\"\ncooldown = { failures = 3, window = \"30s\", rest = \"1s\" }";
    let gateway = Setup::new()
        .server("workers = 2")
        .section(retry)
        .env("KEY_1_ALPHA", "secret-of-alpha-0123456789")
        .env("KEY_2_BETA", "secret-of-beta-0123456789")
        .provider("a.toml", &kind("alpha", "1-alpha", &upstream.base_url("alpha"), ""))
        .provider("b.toml", &kind("beta", "2-beta", &upstream.base_url("beta"), ""))
        .provider("m.toml", &models(&[("pair", &["alpha", "beta"]), ("solo", &["alpha"])]))
        .start();
    let tenant = gateway.tenant();
    let key = tenant.key();
    let script = upstream.script();
    let chat = |model: &str| gateway.chat(&key, &json!({"model": model, "messages": [], MARK: script.mark()})).send();
    let calls = |provider: &str| script.called().iter().filter(|called| *called == provider).count();
    script.on("alpha", [Answer::error(500)]);
    for _ in 0..3 {
        chat("pair").expect(200);
    }
    assert_eq!((calls("alpha"), calls("beta")), (3, 3));
    // Workers share the cooldown: on every worker, alpha is not called.
    for _ in 0..6 {
        let answer = chat("pair");
        answer.expect(200);
        assert_eq!(answer.header("x-aigw-attempts"), Some("1"));
    }
    assert_eq!(calls("alpha"), 3, "a provider in cooldown was called");
    let health = gateway.admin("GET", "/providers", None).expect(200);
    let cooling = health["data"].as_array().unwrap().iter().find(|provider| provider["name"] == "1-alpha").unwrap().clone();
    assert!(!cooling["cooldown_until"].is_null(), "{cooling}");
    let chain = tenant.admin("GET", "/providers?model=pair", None).expect(200);
    let in_cooldown: Vec<bool> = chain["data"].as_array().unwrap().iter().map(|provider| !provider["cooldown_until"].is_null()).collect();
    assert_eq!(in_cooldown, [true, false], "{chain}");
    let metric = "aigw_provider_in_cooldown{provider=\"1-alpha\"} 1";
    assert!(gateway.get("/metrics").send().text().contains(metric));
    // Without an alternative, a provider in cooldown is still called.
    chat("solo").error(502, "upstream_error", "all_providers_failed");
    assert_eq!(calls("alpha"), 4);
    // After the cooldown one request probes it. Until it is answered, all others go elsewhere.
    let gate = Gate::default();
    script.on("alpha", [Answer::good().gate(&gate).before_head(), Answer::good()]);
    std::thread::scope(|scope| {
        let ask = || {
            while calls("alpha") < 5 {
                chat("pair").expect(200);
            }
        };
        for _ in 0..4 {
            scope.spawn(ask);
        }
        script.until("the probe", |calls| (calls.iter().filter(|call| call.provider == "alpha").count() == 5).then_some(()));
        for _ in 0..6 {
            assert_eq!(chat("pair").header("x-aigw-provider"), Some("2-beta"));
        }
        assert_eq!(calls("alpha"), 5, "there was more than one probe");
        gate.open();
    });
    // A success ends the cooldown.
    assert_eq!(chat("pair").header("x-aigw-provider"), Some("1-alpha"));
    assert!(!gateway.get("/metrics").send().text().contains(metric));
}

#[test]
fn many_requests_in_flight_do_not_wait_for_each_other() {
    let session = session();
    let gate = Gate::default();
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let script = session.shared.upstream.script();
            script.on(
                "beta",
                [Answer::head(200)
                    .gate(&gate)
                    .before_head()
                    .header("content-type", "application/json")
                    .piece(completion("late").to_string().as_bytes())],
            );
            script.on("alpha", [Answer::error(401)]);
            let mut body = session.body("pair");
            body[MARK] = json!(script.mark());
            let connection = session.shared.gateway.chat(&session.key, &body).start();
            (script, connection)
        })
        .collect();
    for (script, _) in &slow {
        script.arrived(2);
    }
    session.chat("solo").send().expect(200);
    gate.open();
    for (_, connection) in slow {
        assert!(connection.reply().whole().text().contains("late"));
    }
    assert_eq!(session.tenant.entries(101).len(), 101);
}
