//! Anthropic dialect through the running gateway: golden cases, split streams, bad input, exact
//! costs.
//!
//! The dialect passes no unknown field of a body on, so each test has its own provider, of a kind
//! whose static header carries the mark of the provider's script.

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
use crate::support::test_gateway::{RETRY, key_env};
use crate::support::upstream::{Answer, MARK_HEADER, Script, Upstream};

/// Number of providers, and so of tests and cases, of the shared gateway.
const PROVIDERS: usize = 160;

/// Upstream names of the models that each provider serves.
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

/// Gateway in front of a scripted Messages API.
struct AnthropicGateway {
    gateway: Gateway,
    key: Key,
    scripts: Vec<Script>,
    taken: AtomicUsize,
    _upstream: Upstream,
}

/// Provider of one test on the shared gateway.
struct TestProvider<'a> {
    shared: &'a AnthropicGateway,
    name: String,
    script: &'a Script,
}

fn shared_gateway() -> &'static AnthropicGateway {
    static SHARED: OnceLock<AnthropicGateway> = OnceLock::new();
    SHARED.get_or_init(AnthropicGateway::build)
}

impl AnthropicGateway {
    fn build() -> Self {
        let upstream = Upstream::start();
        let scripts: Vec<Script> = (0..PROVIDERS).map(|_| upstream.script()).collect();
        let mut setup =
            Setup::new().server("workers = 2").section(RETRY).section("[upstream]\nmax_line = \"64KiB\"\nmax_event = \"256KiB\"");
        let mut text = String::new();
        for (nth, script) in scripts.iter().enumerate() {
            let provider = format!("provider{nth}");
            setup = setup.env(&key_env(&provider), &provider_key(&provider));
            text.push_str(&format!(
                "[kind.{provider}]\ndialect = \"anthropic\"\nbase_url = \"{}\"\nauth = {{ header = \"x-api-key\" }}\nallow_private = true\n\
                 headers = {{ {MARK_HEADER} = \"{}\" }}\n[provider.{provider}]\nkind = \"{provider}\"\napi_key_env = \"{}\"\n",
                upstream.base_url(&provider),
                script.mark(),
                key_env(&provider),
            ));
            for model in MODELS {
                text.push_str(&format!(
                    "[model.\"{provider}/{model}\".served_by.{provider}]\nmodel = \"{model}\"\n\
                     price = {{ input = 3, output = 15, cached_input = 0.3, cache_write = 3.75, cache_write_1h = 6 }}\n"
                ));
            }
        }
        let gateway = setup.provider("providers.toml", &text).start();
        let key = gateway.key();
        Self { gateway, key, scripts, taken: AtomicUsize::new(0), _upstream: upstream }
    }

    /// Returns an unused provider.
    fn provider(&self) -> TestProvider<'_> {
        let nth = self.taken.fetch_add(1, Ordering::SeqCst);
        let script = self.scripts.get(nth).expect("all providers are taken: raise PROVIDERS");
        TestProvider { shared: self, name: format!("provider{nth}"), script }
    }
}

/// Returns the key that a provider sends upstream.
fn provider_key(provider: &str) -> String {
    format!("anthropic-secret-of-{provider}-0123456789")
}

impl TestProvider<'_> {
    /// Creates a chat request with this body and this provider's name of its model.
    fn chat(&self, body: &Value) -> Request {
        let mut body = body.clone();
        body["model"] = json!(self.model(body["model"].as_str().unwrap()));
        self.shared.gateway.chat(&self.shared.key, &body)
    }

    /// Creates a chat request for `claude-sonnet-4-6` with a message and these members.
    fn ask(&self, members: &Value) -> Request {
        let mut body = json!({"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "Hi"}]});
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.chat(&body)
    }

    /// Returns the catalog name of an upstream model of this provider.
    fn model(&self, upstream: &str) -> String {
        assert!(MODELS.contains(&upstream), "add {upstream} to MODELS");
        format!("{}/{upstream}", self.name)
    }

    /// Sets the upstream's answers, in turn.
    fn answers(&self, answers: impl IntoIterator<Item = Answer>) -> &Self {
        self.script.on(&self.name, answers);
        self
    }

    /// Waits for the ledger entry of an answered request.
    fn entry(&self, answer: &Response) -> Value {
        self.shared.gateway.entry_of(answer)
    }
}

/// Returns a message with that content and usage.
fn message(content: &Value, stop_reason: &str, usage: &Value) -> Value {
    json!({
        "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null, "usage": usage
    })
}

/// Returns a short valid answer.
fn good() -> Answer {
    Answer::json(200, &message(&json!([{"type": "text", "text": "Hello."}]), "end_turn", &json!({"input_tokens": 10, "output_tokens": 5})))
}

/// Returns the first event of a stream with that usage.
fn message_start(usage: &Value) -> Value {
    let mut message = message(&json!([]), "", usage);
    message["stop_reason"] = Value::Null;
    json!({"type": "message_start", "message": message})
}
