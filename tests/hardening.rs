//! Hostile clients and hostile upstreams (spec/security.md section 7): what they send, how slowly, and how much of it.
//!
//! Each file is a row of 7.8.

mod canary;
mod decoding;
mod headers;
mod limits;
mod slow;
mod smuggling;
mod uniform;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use crate::support::LIMIT;
use crate::support::client::Request;
use crate::support::gateway::{Gateway, Key, Setup};
use crate::support::stage::{keyless, models};
use crate::support::upstream::{MARK, Script, Upstream};

/// A gateway of its own in front of an upstream of its own, for tests that need limits within reach.
pub struct Scene {
    pub gateway: Gateway,
    pub upstream: Upstream,
    pub key: Key,
    pub script: Script,
}

impl Scene {
    /// With lines for `[server]` and whole sections.
    pub fn new(server: &str, sections: &str) -> Self {
        let upstream = Upstream::start();
        let gateway = Setup::new()
            .server(server)
            .section(sections)
            .provider("alpha.toml", &keyless("alpha", "1-alpha", &upstream.base_url("alpha")))
            .provider("models.toml", &models(&[("solo", &["alpha"])]))
            .start();
        Self { key: gateway.key(), gateway, script: upstream.script(), upstream }
    }

    pub fn body(&self) -> Value {
        json!({"model": "solo", "messages": [], MARK: self.script.mark()})
    }

    pub fn chat(&self, stream: bool) -> Request {
        let mut body = self.body();
        body["stream"] = json!(stream);
        self.gateway.chat(&self.key, &body)
    }

    /// A chat request with this body and no length yet: `head` is the rest of its head, line ends included.
    pub fn head(&self, head: &str) -> Vec<u8> {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n{head}\r\n",
            self.key.secret
        )
        .into_bytes()
    }
}

/// Sends bytes as they are and gives whatever comes back until the connection is closed.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    // Whoever has had enough closes in the middle of it.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the connection is not closed ({error}) after {:?}", String::from_utf8_lossy(&answer)),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of the answers in what came back.
pub fn statuses(answers: &str) -> Vec<u16> {
    let status = |line: &str| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok();
    // An answer's head may follow a body that ends without a line end.
    answers.split("HTTP/1.1 ").skip(1).filter_map(|rest| status(&format!("HTTP/1.1 {rest}"))).filter(|status| *status != 100).collect()
}
