//! `[admin]`: the admin API.

use std::net::SocketAddr;

use super::environment::Environment;
use super::secret_source::{self, Found, SecretSource};
use super::section::Section;
use crate::secret::Secret;

/// `[admin]`: the admin API.
#[derive(Debug)]
pub struct Admin {
    /// Admin token; `None`: the admin API is off.
    pub token: Option<Secret>,
    /// Address of a separate listener; `None`: the listener of `[server]` serves the admin API too.
    pub listen: Option<SocketAddr>,
    /// Host names accepted by that listener besides IP addresses and `localhost`, in lower case.
    pub hosts: Vec<String>,
}

/// Reads `[admin]`.
pub(super) fn read(root: &mut Section<'_>, environment: &dyn Environment) -> Admin {
    const SOURCE: SecretSource = SecretSource { env: "token_env", file: None, literal: "token", default: Some("AIGW_ADMIN_TOKEN") };
    let mut section = root.section_or_empty("admin");
    let token = match SOURCE.find(&mut section, environment) {
        Found::Secret(token) => Some(token),
        Found::Missing(variable) => {
            section.diagnostics().warning(format!("the admin API is off: {variable} is not set"));
            None
        }
        Found::Nothing => None,
    };
    if let Some(fault) = token.as_ref().and_then(secret_source::admin_token_fault) {
        section.key_problem("token_env", fault, "make one with: openssl rand -hex 32");
    }
    let listen = section.parsed("listen", "write an address and a port such as \"127.0.0.1:8081\"", |text| text.parse().ok());
    let hosts = section.texts("hosts").unwrap_or_default();
    if let Some(bad) = hosts.iter().find(|host| host.is_empty() || host.contains([':', '/', ' '])) {
        section.problem(
            "hosts",
            format!("{bad:?} is not a host name"),
            "write names without scheme and port, such as \"aigw.example.com\"",
        );
    }
    section.done();
    Admin { token, listen, hosts: hosts.into_iter().map(str::to_ascii_lowercase).collect() }
}
