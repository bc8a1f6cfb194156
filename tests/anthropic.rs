//! The Anthropic dialect through the running gateway: golden cases, streams cut anywhere, bad input, exact costs.
//!
//! The dialect lets no unknown field of a body through, so a test has a lane of its own, and a kind whose static header bears
//! the mark of the lane's script.

mod bad_input;
mod catalog;
mod costs;
mod golden;
mod splits;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::client::{Request, Response};
use crate::support::gateway::{Gateway, Key, Setup};
use crate::support::stage::{RETRY, key_env};
use crate::support::upstream::{Answer, MARK_HEADER, Script, Upstream};

/// How many tests and cases can be played on one stage.
const LANES: usize = 160;

/// The models each lane serves, under these names upstream.
const MODELS: [&str; 13] = [
    "claude-fable-5",
    "claude-haiku-4-5",
    "claude-haiku-4-5-20251001",
    "claude-haiku-5-5",
    "claude-opus-4-8",
    "claude-opus-5",
    "claude-opus-5-5",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
    "claude-sonnet-5",
    "claude-sonnet-5-5",
    "claude-sonnet-9",
    "compat-1",
];

/// A gateway in front of a scripted Messages API.
struct Stage {
    gateway: Gateway,
    key: Key,
    scripts: Vec<Script>,
    taken: AtomicUsize,
    _upstream: Upstream,
}

/// One test's part of the stage.
struct Lane<'a> {
    stage: &'a Stage,
    name: String,
    script: &'a Script,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(Stage::build)
}

impl Stage {
    fn build() -> Self {
        let upstream = Upstream::start();
        let scripts: Vec<Script> = (0..LANES).map(|_| upstream.script()).collect();
        let mut setup =
            Setup::new().server("workers = 2").section(RETRY).section("[upstream]\nmax_line = \"64KiB\"\nmax_event = \"256KiB\"");
        let mut text = String::new();
        for (nth, script) in scripts.iter().enumerate() {
            let lane = format!("lane{nth}");
            setup = setup.env(&key_env(&lane), &provider_key(&lane));
            text.push_str(&format!(
                "[kind.{lane}]\ndialect = \"anthropic\"\nbase_url = \"{}\"\nauth = {{ header = \"x-api-key\" }}\nallow_private = true\n\
                 headers = {{ {MARK_HEADER} = \"{}\" }}\n[provider.{lane}]\nkind = \"{lane}\"\napi_key_env = \"{}\"\n",
                upstream.base_url(&lane),
                script.mark(),
                key_env(&lane),
            ));
            for model in MODELS {
                text.push_str(&format!(
                    "[model.\"{lane}/{model}\".served_by.{lane}]\nmodel = \"{model}\"\n\
                     price = {{ input = 3, output = 15, cached_input = 0.3, cache_write = 3.75, cache_write_1h = 6 }}\n"
                ));
            }
        }
        let gateway = setup.provider("lanes.toml", &text).start();
        let key = gateway.key();
        Self { gateway, key, scripts, taken: AtomicUsize::new(0), _upstream: upstream }
    }

    /// A lane nobody has used yet.
    fn lane(&self) -> Lane<'_> {
        let nth = self.taken.fetch_add(1, Ordering::SeqCst);
        let script = self.scripts.get(nth).expect("all lanes are taken: raise LANES");
        Lane { stage: self, name: format!("lane{nth}"), script }
    }
}

/// The key a lane's provider sends upstream.
fn provider_key(lane: &str) -> String {
    format!("anthropic-secret-of-{lane}-0123456789")
}

impl Lane<'_> {
    /// A chat request with this body, its model replaced by the one this lane serves under that name.
    fn chat(&self, body: &Value) -> Request {
        let mut body = body.clone();
        body["model"] = json!(self.model(body["model"].as_str().unwrap()));
        self.stage.gateway.chat(&self.stage.key, &body)
    }

    /// A chat request for `claude-sonnet-4-6` with these members besides a message.
    fn ask(&self, members: &Value) -> Request {
        let mut body = json!({"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "Hi"}]});
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.chat(&body)
    }

    /// The catalog's name for an upstream model on this lane.
    fn model(&self, upstream: &str) -> String {
        assert!(MODELS.contains(&upstream), "add {upstream} to MODELS");
        format!("{}/{upstream}", self.name)
    }

    /// Says what the upstream answers, in turn.
    fn answers(&self, answers: impl IntoIterator<Item = Answer>) -> &Self {
        self.script.on(&self.name, answers);
        self
    }

    /// The entry of an answered request.
    fn entry(&self, answer: &Response) -> Value {
        self.stage.gateway.entry_of(answer)
    }
}

/// A Messages answer with that content and usage.
fn message(content: &Value, stop_reason: &str, usage: &Value) -> Value {
    json!({
        "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null, "usage": usage
    })
}

/// A good short answer.
fn good() -> Answer {
    Answer::json(200, &message(&json!([{"type": "text", "text": "Hello."}]), "end_turn", &json!({"input_tokens": 10, "output_tokens": 5})))
}

/// The start of a Messages stream with that usage.
fn message_start(usage: &Value) -> Value {
    let mut message = message(&json!([]), "", usage);
    message["stop_reason"] = Value::Null;
    json!({"type": "message_start", "message": message})
}
