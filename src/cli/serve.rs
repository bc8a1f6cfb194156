//! `aigw serve`: runs the gateway.

use clap::Args;

use super::check::ConfigFile;
use super::error::CommandError;
use super::logging;
use crate::config::{self, ProcessEnvironment};
use crate::server;

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    source: ConfigFile,
}

pub(super) fn run(arguments: &ServeArguments) -> Result<(), CommandError> {
    let settings = config::load(&arguments.source.config, &ProcessEnvironment).map_err(|problems| CommandError::refused(&problems))?;
    logging::start(&settings);
    server::serve(settings).map_err(|error| CommandError::with_code(error.to_string(), error.exit_code()))
}
