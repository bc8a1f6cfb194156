//! The gateway that most tests share: one process, one scripted upstream, a provider for each
//! purpose. Sharing makes a test cost a few requests instead of a process. Each test has its own
//! tenant, key and script.
//!
//! Cooldown is off and pauses are short, so that tests cannot affect each other through a provider.

use std::net::SocketAddr;
use std::sync::OnceLock;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::client::Request;
use super::gateway::{Gateway, Key, Setup, Tenant};
use super::store::Store;
use super::upstream::{MARK, Script, Upstream};

/// Gateway and its upstream.
pub struct TestGateway {
    pub gateway: Gateway,
    pub upstream: Upstream,
    _sockets: Vec<Socket>,
}

/// Tenant, key and script of one test.
pub struct Session<'a> {
    pub shared: &'a TestGateway,
    pub tenant: Tenant<'a>,
    pub key: Key,
    pub script: Script,
}

/// Returns the key that a provider sends upstream.
pub fn upstream_key(provider: &str) -> String {
    format!("upstream-secret-of-{provider}-0123456789")
}

/// Returns the shared gateway on SQLite.
pub fn shared_gateway() -> &'static TestGateway {
    shared_gateway_on(Store::Sqlite)
}

/// Starts a session on the shared gateway on SQLite.
pub fn session() -> Session<'static> {
    shared_gateway().session()
}

/// Returns the shared gateway on a store.
pub fn shared_gateway_on(store: Store) -> &'static TestGateway {
    static SQLITE: OnceLock<Option<TestGateway>> = OnceLock::new();
    static POSTGRES: OnceLock<Option<TestGateway>> = OnceLock::new();
    let shared = match store {
        Store::Sqlite => &SQLITE,
        Store::Postgres => &POSTGRES,
    };
    // If the gateway does not start, one test fails slowly and the others at once.
    let built = shared.get_or_init(|| std::panic::catch_unwind(|| TestGateway::build(store)).ok());
    built.as_ref().expect("the shared gateway did not start; see the test that started it")
}

/// `[retry]` of the shared gateway: short pauses, long timeouts, no cooldown.
pub const RETRY: &str = r#"[retry]
attempts = 2
backoff = "1ms"
max_backoff = "20ms"
connect_timeout = "500ms"
first_byte_timeout = "8s"
idle_timeout = "8s"
cooldown = { failures = 0, window = "30s", rest = "15s" }
"#;

/// Retry settings for providers that never answer.
const HASTY: &str = r#"retry = { first_byte_timeout = "250ms", idle_timeout = "250ms" }"#;

impl TestGateway {
    fn build(store: Store) -> Self {
        let upstream = Upstream::start();
        let (refused, refusing) = refusing();
        let (silent, silence) = silent();
        let base_url = |provider: &str| upstream.base_url(provider);
        let mut files = vec![
            kind("alpha", "1-alpha", &base_url("alpha"), ""),
            kind("beta", "2-beta", &base_url("beta"), ""),
            kind("gamma", "3-gamma", &base_url("gamma"), ""),
            kind("narrow", "4-narrow", &base_url("narrow"), "operations = [\"chat\"]"),
            kind("mute", "5-mute", &base_url("mute"), "stream_usage = false"),
            kind("quirky", "6-quirky", &base_url("quirky"), QUIRKS),
            kind("private-club", "7-club", &base_url("club"), ""),
            keyless("open", "8-open", &base_url("open")),
        ];
        // For each kind of silent or unreachable provider, one before and one after `1-alpha`.
        let unreachable = [
            ("refused", format!("http://{refused}/v1"), ""),
            ("silent", format!("http://{silent}/v1"), ""),
            ("nameless", "http://no-such-host.invalid:8080/v1".to_owned(), ""),
            ("tls", format!("https://{}/tls/v1", upstream.address), ""),
            ("forbidden", format!("http://localhost:{}/v1", upstream.address.port()), "allow_cidrs = [\"10.0.0.0/8\"]"),
            ("hasty", base_url("hasty"), HASTY),
        ];
        for (name, base_url, more) in &unreachable {
            files.push(kind(&format!("{name}-first"), &format!("0-{name}"), base_url, more));
            files.push(kind(&format!("{name}-last"), &format!("9-{name}"), base_url, more));
            files.push(models(&[
                (&format!("{name}-solo"), &[&format!("{name}-first")]),
                (&format!("{name}-first"), &[&format!("{name}-first"), "alpha"]),
                (&format!("{name}-last"), &["alpha", &format!("{name}-last")]),
            ]));
        }
        files.push(models(&[
            ("pair", &["alpha", "beta"]),
            ("trio", &["gamma", "alpha", "beta"]),
            ("narrow", &["narrow"]),
            ("narrow-first", &["narrow", "quirky"]),
            ("mute", &["mute"]),
            ("quirky", &["quirky"]),
            ("open", &["open"]),
            ("club", &["private-club"]),
        ]));
        files.push(PRICES.to_owned());
        files.push(SIMULATOR.to_owned());
        let mut setup = Setup::new().store(store).server("workers = 2\nmax_body = \"1MiB\"\nlog = \"info\"").section(RETRY);
        for provider in ["1-alpha", "2-beta", "3-gamma", "4-narrow", "5-mute", "6-quirky", "7-club"] {
            setup = setup.env(&key_env(provider), &upstream_key(provider));
        }
        for (name, _, _) in &unreachable {
            for provider in [format!("0-{name}"), format!("9-{name}")] {
                setup = setup.env(&key_env(&provider), &upstream_key(&provider));
            }
        }
        for (number, text) in files.iter().enumerate() {
            setup = setup.provider(&format!("{number:02}.toml"), text);
        }
        Self { gateway: setup.start(), upstream, _sockets: silence.into_iter().chain([refusing]).collect() }
    }

    /// Starts a session with a new tenant, key and script.
    pub fn session(&self) -> Session<'_> {
        let tenant = self.gateway.tenant();
        let key = tenant.key();
        Session { shared: self, tenant, key, script: self.upstream.script() }
    }
}

impl Session<'_> {
    /// Returns the body of a chat request, marked for this test's script.
    pub fn body(&self, model: &str) -> Value {
        json!({"model": model, "messages": [{"role": "user", "content": "hi"}], MARK: self.script.mark()})
    }

    /// Creates a chat request.
    pub fn chat(&self, model: &str) -> Request {
        self.shared.gateway.chat(&self.key, &self.body(model))
    }

    /// Creates a streaming chat request.
    pub fn streamed(&self, model: &str) -> Request {
        self.chat_with(model, json!({"stream": true}))
    }

    /// Creates a chat request with these additional fields.
    pub fn chat_with(&self, model: &str, fields: Value) -> Request {
        self.post_with("/v1/chat/completions", model, fields)
    }

    /// Creates a request with these additional fields.
    pub fn post_with(&self, target: &str, model: &str, fields: Value) -> Request {
        let mut body = self.body(model);
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.shared.gateway.post(target, &self.key, &body)
    }

    /// Creates a request with this exact body, in which `MARK` is replaced by the mark.
    pub fn raw(&self, target: &str, body: &str) -> Request {
        self.shared.gateway.request("POST", target).bearer(&self.key.secret).text(&body.replace("MARK", self.script.mark()))
    }
}

/// Returns the variable with a provider's key.
pub fn key_env(provider: &str) -> String {
    format!("KEY_{}", provider.to_uppercase().replace('-', "_"))
}

/// Returns the TOML of a kind on loopback with one provider.
pub fn kind(kind: &str, provider: &str, base_url: &str, more: &str) -> String {
    let env = key_env(provider);
    format!(
        "[kind.{kind}]\nbase_url = \"{base_url}\"\nallow_private = true\n{}{more}\n\n[provider.\"{provider}\"]\nkind = \"{kind}\"\napi_key_env = \"{env}\"\n{}",
        if more.contains("auth") { "" } else { "auth = \"bearer\"\n" },
        if kind == "private-club" { "tenants = [\"club-members\"]\n" } else { "" }
    )
}

/// Returns the TOML of a kind on loopback without a key, with one provider.
pub fn keyless(kind: &str, provider: &str, base_url: &str) -> String {
    format!(
        "[kind.{kind}]\nbase_url = \"{base_url}\"\nallow_private = true\nauth = \"none\"\n\n[provider.\"{provider}\"]\nkind = \"{kind}\"\n"
    )
}

/// Returns the TOML of models with their kinds, at 1 and 2 US dollars per million tokens.
pub fn models(models: &[(&str, &[&str])]) -> String {
    let mut text = String::new();
    for (model, kinds) in models {
        for kind in *kinds {
            text.push_str(&format!(
                "[model.\"{model}\".served_by.{kind}]\nmodel = \"{model}-at-{kind}\"\nprice = {{ input = 1.0, output = 2.0 }}\n"
            ));
        }
    }
    text
}

const QUIRKS: &str = r#"auth = { header = "api-key" }
headers = { "x-title" = "aigw", "x-static" = "from the kind" }
query = { "api-version" = "2024-10-21" }
paths = { chat = "deployments/{model}/chat/completions" }
request = { rename = { max_completion_tokens = "max_tokens" }, drop = ["user"], set = { safe_mode = true } }
"#;

/// TOML of the simulator with prices.
pub const SIMULATOR: &str = r#"
[kind.simulator]
dialect = "simulator"
auth = "none"

[provider."50-simulator"]
kind = "simulator"

[model.sim-echo.served_by.simulator]
price = { input = 1.0, output = 2.0 }

[model.sim-lorem.served_by.simulator]
price = "free"
"#;

const PRICES: &str = r#"
[model.solo]
aliases = ["sole", "org/only.1"]
context_window = 131072
max_output_tokens = 4096
[model.solo.served_by.alpha]
model = "solo-at-alpha"
price = { input = 0.59, output = 0.79 }

[model.dear]
[model.dear.served_by.alpha]
price = { input = 2.5, cached_input = 1.25, cache_write = 3.125, output = 10.0, request = 0.005 }

[model.long]
[model.long.served_by.alpha]
price = { input = 1.25, output = 10.0, long_context = { above = 1000, input = 2.5, output = 15.0 } }

[model.odd]
[model.odd.served_by.alpha]
price = { input = 0.0005, output = 0.0015 }

[model.gratis.served_by.alpha]
price = "free"
"#;

/// Returns an address that refuses connections: its port is bound, but nothing listens.
pub fn refusing() -> (SocketAddr, Socket) {
    let socket = bound();
    (socket.local_addr().unwrap().as_socket().unwrap(), socket)
}

/// Returns an address that never accepts connections: its backlog is full.
fn silent() -> (SocketAddr, Vec<Socket>) {
    let socket = bound();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let mut sockets = vec![socket];
    for _ in 0..4 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address);
        sockets.push(filler);
    }
    (address.as_socket().unwrap(), sockets)
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket
}
