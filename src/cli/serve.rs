//! `aigw serve`: the gateway.

use clap::Args;

use super::check::Source;
use super::failure::Failure;
use super::logging;
use crate::config::{self, ProcessEnvironment};
use crate::server;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let settings = config::load(&arguments.source.config, &ProcessEnvironment).map_err(|problems| Failure::refused(&problems))?;
    logging::start(&settings);
    server::serve(settings).map_err(|error| Failure::with_code(error.to_string(), error.exit_code()))
}
