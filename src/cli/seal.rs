//! `aigw seal`: rotates the master key or a tenant's epoch. `rotate` works on the database
//! directly, because a master key is never sent anywhere; `epoch` calls the admin API.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::check::ConfigFile;
use super::client::AdminOptions;
use super::error::CommandError;
use super::output::print;
use super::table::text;
use crate::config::{self, ProcessEnvironment};
use crate::server;

#[derive(Debug, Args)]
pub(super) struct SealArguments {
    #[command(subcommand)]
    verb: SealCommand,
}

#[derive(Debug, Subcommand)]
enum SealCommand {
    /// Rewrap everything with a new master key: set AIGW_MASTER_KEY to the new key and
    /// AIGW_OLD_MASTER_KEY to the old one
    Rotate {
        #[command(flatten)]
        source: ConfigFile,
    },
    /// Reseal a tenant's provider keys after a leak, so that stolen grants cannot open anything
    /// written from now on
    Epoch {
        /// The tenant's id
        tenant: String,
        #[command(flatten)]
        remote: AdminOptions,
    },
}

pub(super) fn run(arguments: SealArguments) -> Result<(), CommandError> {
    match arguments.verb {
        SealCommand::Rotate { source } => rotate(&source),
        SealCommand::Epoch { tenant, remote } => {
            let answer: Value = remote.connect()?.post(&["tenants", &tenant, "epoch"], &json!({}))?;
            let remedy = "Also replace the keys at the providers: an attacker may have read them.";
            let shown = format!("{tenant} is now in epoch {}; its virtual keys keep working.\n{remedy}\n", text(&answer, "epoch"));
            print(&if remote.json { format!("{answer}\n") } else { shown })
        }
    }
}

/// Prints progress to standard error and the result to standard output. Can be run again after an
/// interruption.
fn rotate(source: &ConfigFile) -> Result<(), CommandError> {
    let settings = config::load(&source.config, &ProcessEnvironment).map_err(|problems| CommandError::refused(&problems))?;
    let progress = |roots: usize, edges: usize| eprintln!("aigw: {roots} tenants and {edges} edges moved");
    let rotated = server::rotate_master_key(&settings, progress);
    let rotated = rotated.map_err(|error| CommandError::with_code(error.to_string(), error.exit_code()))?;
    print(&format!(
        "everything is wrapped with the master key {} now ({} tenants and {} edges moved in this run)\n\
         Restart the gateways with AIGW_MASTER_KEY alone, then destroy the old key.\n",
        rotated.kid, rotated.roots, rotated.edges
    ))
}
