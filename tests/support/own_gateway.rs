//! Gateway of a single test, for tests that stop it or need limits within reach.

use serde_json::{Value, json};

use super::client::Request;
use super::gateway::{Gateway, Key, Setup};
use super::store::Store;
use super::test_gateway::{keyless, models};
use super::upstream::{MARK, Script, Upstream};

/// One gateway process, its upstream, and a key and a script to call it with.
pub struct OwnGateway {
    pub gateway: Gateway,
    pub upstream: Upstream,
    pub key: Key,
    pub script: Script,
}

impl OwnGateway {
    /// Starts a gateway on SQLite with lines for `[server]` and whole sections.
    pub fn new(server: &str, sections: &str) -> Self {
        Self::on(Store::Sqlite, server, sections)
    }

    /// Starts a gateway on a store with lines for `[server]` and whole sections.
    pub fn on(store: Store, server: &str, sections: &str) -> Self {
        let upstream = Upstream::start();
        let gateway = Setup::new()
            .store(store)
            .server(server)
            .section(sections)
            .provider("alpha.toml", &keyless("alpha", "1-alpha", &upstream.base_url("alpha")))
            .provider("models.toml", &models(&[("solo", &["alpha"])]))
            .start();
        Self { key: gateway.key(), gateway, script: upstream.script(), upstream }
    }

    /// Body of a chat request.
    pub fn body(&self) -> Value {
        json!({"model": "solo", "messages": [], MARK: self.script.mark()})
    }

    /// Chat request.
    pub fn chat(&self, stream: bool) -> Request {
        let mut body = self.body();
        body["stream"] = json!(stream);
        self.gateway.chat(&self.key, &body)
    }

    /// Head of a chat request; `head` holds its further lines, line ends included.
    pub fn head(&self, head: &str) -> Vec<u8> {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n{head}\r\n",
            self.key.secret
        )
        .into_bytes()
    }
}
