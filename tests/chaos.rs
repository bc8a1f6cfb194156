//! Three providers that fail at random, sixty-four concurrent clients: no answer is wrong or
//! duplicated, every request has one entry, and nothing leaks.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Key, Setup};
use crate::support::test_gateway::{keyless, models};
use crate::support::unique;
use crate::support::upstream::{Answer, MARK, Upstream, completion, good_usage};

const CLIENTS: usize = 64;
const REQUESTS: usize = 8;
const RETRY: &str = r#"[retry]
backoff = "1ms"
max_backoff = "10ms"
first_byte_timeout = "2s"
idle_timeout = "2s"
cooldown = { failures = 5, window = "30s", rest = "50ms" }
"#;

/// Returns a unique valid answer, or a random fault.
fn answer(text: &str, stream: bool) -> Answer {
    let half = text.split_at(text.len() / 2);
    let good = || if stream { Answer::streamed(&[half.0, half.1], Some(&good_usage())) } else { Answer::json(200, &completion(text)) };
    match fastrand::u8(0..16) {
        0 => Answer::head(200).reset().before_head(),
        1 => Answer::head(200).close().before_head(),
        2 => Answer::error(500),
        3 => Answer::error(429),
        4 => Answer::error(401),
        5 => Answer::raw(b"lorem ipsum\r\n\r\n"),
        6 => Answer::head(503).chunked().piece(b"x").reset(),
        7 if stream => Answer::stream().close(),
        7 => Answer::head(200)
            .header("content-type", "application/json")
            .claiming(9999)
            .piece(&completion(text).to_string().as_bytes()[..30])
            .close(),
        8 if stream => Answer::stream().delta(half.0).reset(),
        9 if stream => Answer::stream().delta(half.0).close(),
        _ => good(),
    }
}

/// Checks a client's answer.
fn check(text: &str, stream: bool, status: u16, body: &str, complete: bool) {
    if status != 200 {
        let error: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{status}: {body}"));
        assert!(matches!(status, 429 | 502..=504) && error["error"]["type"] == "upstream_error", "{status}: {body}");
        return;
    }
    assert!(complete, "an answer broke off: {body}");
    if !stream {
        assert_eq!(body, completion(text).to_string());
        return;
    }
    let received: String = body
        .split("\n\n")
        .filter_map(|frame| serde_json::from_str::<Value>(frame.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    if body.ends_with("data: [DONE]\n\n") {
        assert_eq!(received, text);
    } else {
        assert!(body.contains("upstream_interrupted"), "cut short without a word: {body}");
        assert!(text.starts_with(&received), "{received:?} is not a prefix of {text:?}");
    }
}

fn client(gateway: &Gateway, upstream: &Upstream, key: &Key, left: &AtomicUsize) {
    for _ in 0..REQUESTS {
        let (text, stream, script) = (unique("answer"), fastrand::bool(), upstream.script());
        for provider in ["alpha", "beta", "gamma"] {
            script.on(provider, (0..6).map(|_| answer(&text, stream)));
        }
        let request = gateway.chat(key, &json!({"model": "trio", "messages": [], "stream": stream, MARK: script.mark()}));
        if fastrand::u8(0..16) == 0 {
            // Some disconnect without waiting. Only their requests may not have been read.
            let connection = request.start();
            script.arrived(1);
            drop(connection);
            left.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let answer = request.send();
        check(&text, stream, answer.status, &answer.text(), answer.complete);
    }
}

/// Returns the resident memory in KiB and the number of open files.
fn footprint(gateway: &Gateway) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap();
    (resident, fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count())
}

#[test]
fn chaos_corrupts_no_answer_and_loses_no_entry() {
    let upstream = Upstream::start();
    let mut setup = Setup::new().server("workers = 2").section(RETRY);
    for (place, provider) in ["alpha", "beta", "gamma"].into_iter().enumerate() {
        setup =
            setup.provider(&format!("{provider}.toml"), &keyless(provider, &format!("{place}-{provider}"), &upstream.base_url(provider)));
    }
    let gateway = setup.provider("models.toml", &models(&[("trio", &["alpha", "beta", "gamma"])])).start();
    let tenant = gateway.tenant();
    let key = tenant.key();
    let left = AtomicUsize::new(0);
    let mut footprints = Vec::new();
    for round in 1..=3 {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| client(&gateway, &upstream, &key, &left));
            }
        });
        let total = CLIENTS * REQUESTS * round;
        let usage = crate::support::eventually("an entry for every request", || {
            let usage = gateway.admin("GET", &format!("/usage?tenant={}", tenant.id), None).expect(200);
            (usage["data"][0]["requests"].as_u64() >= u64::try_from(total).ok()).then_some(usage)
        });
        assert_eq!(usage["data"][0]["requests"], json!(total), "more entries than requests");
        footprints.push(footprint(&gateway));
    }
    let metrics = gateway.get("/metrics").send().text();
    for queue in ["requests", "settlements", "ledger_memory"] {
        let line = format!("aigw_queue_depth{{queue=\"{queue}\"}} 0");
        assert!(metrics.contains(&line), "something of {queue} is left behind:\n{metrics}");
    }
    let ((memory, files), (memory_then, files_then)) = (footprints[1], footprints[2]);
    assert!(memory_then < memory + memory / 4 + 8 * 1024, "memory grows: {footprints:?}");
    assert!(files_then < files + CLIENTS, "connections are left behind: {footprints:?}");
    assert!(gateway.is_running() && !gateway.log().contains("panicked"), "{}", gateway.log());
    assert!(left.into_inner() > 0);
}
