//! Protection of keys, on the real binary: properties P3, P6, P8 and P9 and section 4.6 of
//! spec/security.md. Properties of single blobs are tested beside the code that makes them.

mod access;
mod byo;
mod canary;
mod edges;
mod memory;
mod revocation;
mod rows;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Setup, Tenant};
use crate::support::test_gateway::{RETRY, key_env, kind, models, upstream_key};
use crate::support::upstream::Upstream;

/// Master key of the tests.
pub const MASTER: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
/// Another master key.
pub const OTHER_MASTER: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// Starts a gateway with a master key, the kinds `alpha` and `beta`, and a brokered provider of
/// each: `1-alpha`, `20-beta`.
pub fn setup(upstream: &Upstream) -> Setup {
    let base_url = |provider: &str| upstream.base_url(provider);
    Setup::new()
        .section(RETRY)
        .env("AIGW_MASTER_KEY", MASTER)
        .provider("alpha.toml", &kind("alpha", "1-alpha", &base_url("alpha"), ""))
        .provider("beta.toml", &kind("beta", "20-beta", &base_url("beta"), ""))
        .provider("models.toml", &models(&[("pair", &["alpha", "beta"]), ("solo", &["alpha"])]))
        .env(&key_env("1-alpha"), &upstream_key("1-alpha"))
        .env(&key_env("20-beta"), &upstream_key("20-beta"))
}

/// Adds a tenant's own provider.
pub fn bring(tenant: &Tenant<'_>, name: &str, kind: &str, key: &str) -> Value {
    tenant.admin("PUT", &format!("/providers/{name}"), Some(&json!({"kind": kind, "api_key": key}))).expect(200)
}

/// Edits the SQLite database while the gateway is stopped.
pub fn edit(gateway: &Gateway, sql: &str) {
    use diesel::connection::SimpleConnection;
    use diesel::{Connection, SqliteConnection};
    gateway.kill9();
    let path = gateway.database.strip_prefix("sqlite://").unwrap();
    SqliteConnection::establish(path).unwrap().batch_execute(sql).unwrap();
    gateway.restart();
}
