//! `aigw seal`: replacing the keys that seal. `rotate` works on the database itself, because a master key never travels;
//! `epoch` asks the admin API.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::check::Source;
use super::client::Remote;
use super::failure::Failure;
use super::print;
use super::table::text;
use crate::config::{self, ProcessEnvironment};
use crate::server;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Move everything to a new master key: AIGW_MASTER_KEY is the new one, AIGW_OLD_MASTER_KEY the old one
    Rotate {
        #[command(flatten)]
        source: Source,
    },
    /// After a leak: seal a tenant's provider keys anew, so that what was stolen opens nothing that is written from now on
    Epoch {
        /// The tenant's id
        tenant: String,
        #[command(flatten)]
        remote: Remote,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.verb {
        Verb::Rotate { source } => rotate(&source),
        Verb::Epoch { tenant, remote } => {
            let answer: Value = remote.connect()?.post(&["tenants", &tenant, "epoch"], &json!({}))?;
            let remedy = "Replace the provider keys themselves at the providers, too: a thief may have read them.";
            let shown = format!("{tenant} is in epoch {}; its virtual keys go on as they are.\n{remedy}\n", text(&answer, "epoch"));
            print(&if remote.json { format!("{answer}\n") } else { shown })
        }
    }
}

/// Progress goes to standard error, the result to standard output. Cut short, it may be run again.
fn rotate(source: &Source) -> Result<(), Failure> {
    let settings = config::load(&source.config, &ProcessEnvironment).map_err(|problems| Failure::refused(&problems))?;
    let progress = |roots: usize, edges: usize| eprintln!("aigw: {roots} tenants and {edges} edges moved");
    let rotated = server::rotate_master_key(&settings, progress);
    let rotated = rotated.map_err(|error| Failure::with_code(error.to_string(), error.exit_code()))?;
    print(&format!(
        "everything is under the master key {} now ({} tenants and {} edges moved in this run)\n\
         Restart the gateways with AIGW_MASTER_KEY alone, then destroy the old key.\n",
        rotated.kid, rotated.roots, rotated.edges
    ))
}
