//! Fixture of the benchmarks: one mock provider that serves the model `m`, one tenant, and its
//! keys.

use std::net::SocketAddr;
use std::sync::Arc;

use aigw::catalog::caller::{Caller, Tenant};
use aigw::catalog::directory::Directory;
use aigw::catalog::offerings::Offerings;
use aigw::catalog::snapshot::Snapshot;
use aigw::config::{self, ProcessEnvironment, Settings};
use aigw::credential::Credential;

/// Returns the settings of a gateway whose provider is at `upstream`.
pub fn settings(upstream: SocketAddr) -> Settings {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("aigw.toml");
    let text = format!(
        r#"[kind.mock]
base_url = "http://{upstream}/v1"
auth = "none"
allow_private = true
[provider."1-mock"]
kind = "mock"
[model.m.served_by.mock]
price = {{ input = 1.0, output = 2.0 }}
"#
    );
    std::fs::write(directory.path().join("mock.toml"), text).unwrap();
    std::fs::write(&file, "include = [\"mock.toml\"]\n").unwrap();
    config::load(&file, &ProcessEnvironment).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Returns a snapshot with a tenant that has `key` and that many others.
pub fn snapshot(settings: &Settings, key: &Credential, others: u64) -> Snapshot {
    let tenant = Arc::new(Tenant { name: "Acme".to_owned(), ..Tenant::minimal("acme".into()) });
    let caller = |lookup| Caller {
        name: "bench".to_owned(),
        subject: "ada@example.com".into(),
        team: Some("search".into()),
        tags: vec![("project".to_owned(), "apollo".to_owned())],
        ..Caller::minimal(Arc::clone(&tenant), "key_0199c0de00007000".into(), lookup)
    };
    let other = |nth: u64| std::array::from_fn(|at| nth.to_le_bytes().get(at).copied().unwrap_or(7));
    let callers = (0..others).map(other).chain([key.lookup()]).map(|lookup| Arc::new(caller(lookup)));
    let directory = Arc::new(Directory::build([Arc::clone(&tenant)], callers));
    Snapshot { offerings: Arc::new(Offerings::build(&settings.catalog, None, 0)), directory }
}
