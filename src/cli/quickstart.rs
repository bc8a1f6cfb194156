//! `aigw quickstart`: runs a gateway for evaluation, without any setup.
//!
//! It serves the shipped configuration with all data in one directory. Then it acts as a client of
//! its own admin API: it creates the first tenant and key and prints how to use them.

mod banner;
mod data_directory;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use url::Url;

use super::client::AdminClient;
use super::error::CommandError;
use super::logging;
use super::output::print;
use crate::config::{self, DatabaseUrl, Disabled, Environment, ProcessEnvironment, Settings};
use crate::secret::Secret;
use crate::server;
use banner::{Banner, TENANT};
use data_directory::DataDirectory;

#[derive(Debug, Args)]
pub(super) struct QuickstartArguments {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Directory for the database, the master key and the admin token
    #[arg(long, value_name = "DIRECTORY", default_value = "aigw-data")]
    data: PathBuf,
}

/// The process's environment, with the secrets of the data directory in place of its own.
struct QuickstartEnvironment<'a>(&'a DataDirectory);

impl Environment for QuickstartEnvironment<'_> {
    fn var(&self, name: &str) -> Option<String> {
        let DataDirectory { admin_token, master_key, .. } = self.0;
        match name {
            "AIGW_ADMIN_TOKEN" => Some(admin_token.expose().to_owned()),
            "AIGW_MASTER_KEY" => Some(master_key.expose().to_owned()),
            "AIGW_DATABASE_URL" => None,
            _ => ProcessEnvironment.var(name),
        }
    }
}

pub(super) fn run(arguments: &QuickstartArguments) -> Result<(), CommandError> {
    let data = DataDirectory::open(&arguments.data)?;
    let mut settings = config::load_shipped(&QuickstartEnvironment(&data)).map_err(|problems| CommandError::refused(&problems))?;
    settings.server.listen = arguments.listen;
    settings.server.log = String::from("warn");
    settings.database.url = DatabaseUrl::Sqlite(data.database());
    settings.ledger.journal = data.journal();
    logging::start(&settings);

    let (live, missing) = providers(&settings);
    let greet = move |ready: &server::Ready| {
        let address = ready.address;
        // On a thread of its own: the server's thread must not wait for a response of the server.
        let _detached = std::thread::spawn(move || {
            if let Err(failure) = greet(address, &data, live, missing) {
                let _code = failure.report();
            }
        });
    };
    server::serve_with(settings, greet).map_err(|error| CommandError::with_code(error.to_string(), error.exit_code()))
}

/// Returns the live providers, and the variables that would enable the others.
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

fn greet(address: SocketAddr, data: &DataDirectory, live: Vec<String>, missing: Vec<String>) -> Result<(), CommandError> {
    let url = banner::url(address);
    let base = Url::parse(&url).map_err(|error| CommandError::failed(format!("{url}: {error}")))?;
    let key = first_key(&AdminClient::new(base, Secret::new(data.admin_token.expose()))?)?;
    let program = std::env::args().next().unwrap_or_else(|| String::from("aigw"));
    print(&Banner { url, data, key, live, missing, program }.to_string())
}

/// Creates the tenant and its first key; `None` if an earlier run did.
fn first_key(admin: &AdminClient) -> Result<Option<Secret>, CommandError> {
    use super::table::text;
    use serde_json::{Value, json};

    let list = |path: &[&str]| -> Result<Vec<Value>, CommandError> {
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
