//! `aigw quickstart`: the gateway with nothing to set up, to try it.
//!
//! It is `serve` on the shipped configuration with the state in one directory, and then, like any operator, a client of its own
//! admin API: it makes the first tenant and key there and says how to use them.

mod state;
mod welcome;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use url::Url;

use super::client::Admin;
use super::failure::Failure;
use super::logging;
use super::print;
use crate::config::{self, DatabaseUrl, Disabled, Environment, ProcessEnvironment, Settings};
use crate::secret::Secret;
use crate::server;
use state::State;
use welcome::Welcome;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where to keep the database, the master key and the admin token
    #[arg(long, value_name = "DIRECTORY", default_value = "aigw-data")]
    data: PathBuf,
}

/// The process's environment, but what belongs to the state comes from the state.
struct Trial<'a>(&'a State);

impl Environment for Trial<'_> {
    fn var(&self, name: &str) -> Option<String> {
        let State { admin_token, master_key, .. } = self.0;
        match name {
            "AIGW_ADMIN_TOKEN" => Some(admin_token.expose().to_owned()),
            "AIGW_MASTER_KEY" => Some(master_key.expose().to_owned()),
            "AIGW_DATABASE_URL" => None,
            _ => ProcessEnvironment.var(name),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let state = State::open(&arguments.data)?;
    let mut settings = config::load_shipped(&Trial(&state)).map_err(|problems| Failure::refused(&problems))?;
    settings.server.listen = arguments.listen;
    settings.server.log = String::from("warn");
    settings.database.url = DatabaseUrl::Sqlite(state.database());
    settings.ledger.journal = state.journal();
    logging::start(&settings);

    let (live, missing) = providers(&settings);
    let greet = move |ready: &server::Ready| {
        let address = ready.address;
        // A thread of its own: the server's must not wait for an answer of the server.
        let _detached = std::thread::spawn(move || {
            if let Err(failure) = greet(address, &state, live, missing) {
                let _code = failure.report();
            }
        });
    };
    server::serve_with(settings, greet).map_err(|error| Failure::with_code(error.to_string(), error.exit_code()))
}

/// The brokered providers that are live, and the variables that would bring in the others.
fn providers(settings: &Settings) -> (Vec<String>, Vec<String>) {
    let (mut live, mut missing) = (Vec::new(), Vec::new());
    for provider in &settings.catalog.providers {
        match &provider.disabled {
            None => live.push(provider.name.to_string()),
            Some(Disabled::NoKey(variable)) => missing.push(variable.clone()),
            Some(Disabled::ByOperator) => {}
        }
    }
    (live, missing)
}

fn greet(address: SocketAddr, state: &State, live: Vec<String>, missing: Vec<String>) -> Result<(), Failure> {
    let url = welcome::url(address);
    let base = Url::parse(&url).map_err(|error| Failure::failed(format!("{url}: {error}")))?;
    let key = first_key(&Admin::new(base, Secret::new(state.admin_token.expose()))?)?;
    let program = std::env::args().next().unwrap_or_else(|| String::from("aigw"));
    print(&Welcome { url, state, key, live, missing, program }.to_string())
}

/// The tenant of a trial.
const TENANT: &str = "default";

/// Makes the tenant and its first key; `None` if an earlier run has.
fn first_key(admin: &Admin) -> Result<Option<Secret>, Failure> {
    use super::table::text;
    use serde_json::{Value, json};

    let list = |path: &[&str]| -> Result<Vec<Value>, Failure> {
        let whole = admin.list(path, &[])?;
        Ok(whole.get("data").and_then(Value::as_array).cloned().unwrap_or_default())
    };
    let tenants = list(&["tenants"])?;
    if tenants.is_empty() {
        admin.post(&["tenants"], &json!({"id": TENANT, "name": "Quickstart"}))?;
    } else if tenants.iter().all(|tenant| text(tenant, "id") != TENANT) || !list(&["tenants", TENANT, "keys"])?.is_empty() {
        return Ok(None);
    }
    let key = admin.post(&["tenants", TENANT, "keys"], &json!({"name": "first", "subject": "me"}))?;
    Ok(Some(Secret::new(text(&key, "key"))))
}
