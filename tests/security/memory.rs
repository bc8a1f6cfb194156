//! Keys in the memory of a running gateway, which is searched from outside. Needs Linux and root,
//! because the gateway blocks debuggers of its own user.

use std::fs::{File, read_to_string};
use std::os::unix::fs::FileExt;

use memchr::memmem::Finder;
use serde_json::json;

use super::{bring, setup};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Key};
use crate::support::upstream::{Answer, MARK, Script, Upstream};

const CANARY: &str = "sk-canary-that-must-not-stay-7c41e09b5d";
const PIECE: u64 = 1 << 20;

/// Counts a text in the process's writable memory. `None` if it cannot be read.
fn occurrences(gateway: &Gateway, text: &str) -> Option<usize> {
    let process = format!("/proc/{}", gateway.pid());
    let (maps, memory) = (read_to_string(format!("{process}/maps")).ok()?, File::open(format!("{process}/mem")).ok()?);
    let finder = Finder::new(text);
    let overlap = text.len() as u64 - 1;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let (mut at, end) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        while at < end {
            let mut piece = vec![0; (end - at).min(PIECE + overlap) as usize];
            // Memory unmapped in the meantime is skipped.
            let read = memory.read_at(&mut piece, at).unwrap_or_default();
            found += finder.find_iter(&piece[..read]).count();
            at += PIECE;
        }
    }
    Some(found)
}

/// Uses the key in a whole answer, a stream, an upstream refusal, and a call cancelled by the
/// client.
fn spend(gateway: &Gateway, key: &Key, script: &Script) {
    let body = |stream: bool| json!({"model": "solo", "messages": [], "stream": stream, MARK: script.mark()});
    let answers = [Answer::good(), Answer::streamed(&["a", "b"], None), Answer::error(400), Answer::stream().delta("a").hang()];
    script.on("alpha", answers);
    gateway.chat(key, &body(false)).send().expect(200);
    assert_eq!(script.calls()[0].headers.get("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    assert_eq!(gateway.chat(key, &body(true)).send().status, 200);
    assert_eq!(gateway.chat(key, &body(false)).send().status, 400);
    let mut broken = gateway.chat(key, &body(true)).open();
    broken.frame().unwrap();
    broken.disconnect();
    script.gone();
}

/// Restarts the gateway, so that it has only used the key and not received it.
fn spending(upstream: &Upstream, cache: &str) -> Option<(Gateway, Key, String)> {
    let gateway = setup(upstream).section(&format!("[sealing]\ncache = \"{cache}\"")).start();
    if occurrences(&gateway, "aigw").is_none_or(|found| found == 0) {
        println!("skipped: the memory of another process may not be read here");
        return None;
    }
    let (key, tenant) = {
        let tenant = gateway.tenant();
        bring(&tenant, "5-mine", "alpha", CANARY);
        (tenant.key(), tenant.id.clone())
    };
    gateway.sigterm();
    gateway.exit();
    gateway.restart();
    assert_eq!(occurrences(&gateway, CANARY), Some(0), "it is sealed at rest");
    Some((gateway, key, tenant))
}

/// Checks that the key is cached for that time, used, and then gone without further calls.
fn ends_by_itself(cache: &str) {
    let upstream = Upstream::start();
    let Some((gateway, key, _)) = spending(&upstream, cache) else { return };
    spend(&gateway, &key, &upstream.script());
    eventually("the key to be gone", || (occurrences(&gateway, CANARY) == Some(0)).then_some(()));
    gateway.chat(&key, &json!({"model": "solo", "messages": []})).send().expect(200);
}

#[test]
fn p9_no_memory_holds_a_key_after_its_lifetime() {
    ends_by_itself("2s");
}

#[test]
fn p9_no_memory_holds_a_key_once_it_is_revoked() {
    let upstream = Upstream::start();
    let Some((gateway, key, tenant)) = spending(&upstream, "300s") else { return };
    spend(&gateway, &key, &upstream.script());
    assert!(occurrences(&gateway, CANARY).unwrap() > 0, "the search finds what is kept");
    gateway.admin("DELETE", &format!("/tenants/{tenant}/keys/{}", key.id), None).expect(200);
    eventually("the key to be gone", || (occurrences(&gateway, CANARY) == Some(0)).then_some(()));
}

#[test]
fn p9_no_memory_holds_an_uncacheable_key() {
    ends_by_itself("0s");
}
