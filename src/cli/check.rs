//! `aigw check`: lists every problem of the configuration, or what it enables.

use std::path::PathBuf;

use clap::Args;

use super::error::CommandError;
use super::output::print;
use super::table::{Column, render};
use crate::config::{self, Disabled, ProcessEnvironment, Settings};

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub source: ConfigFile,
}

/// The option that names the configuration file.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file
    #[arg(long, env = "AIGW_CONFIG", value_name = "FILE", default_value = "config/aigw.toml")]
    pub config: PathBuf,
}

pub(super) fn run(arguments: &CheckArguments) -> Result<(), CommandError> {
    match config::load(&arguments.source.config, &ProcessEnvironment) {
        Ok(settings) => print(&summary(&settings)),
        Err(problems) => {
            let count = problems.0.len();
            print(&format!("{problems}\n"))?;
            Err(CommandError::failed(format!("{count} {} in the configuration", if count == 1 { "problem" } else { "problems" })))
        }
    }
}

fn summary(settings: &Settings) -> String {
    let warnings: String = settings.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    let columns = [Column::Left("PROVIDER"), Column::Left("KIND"), Column::Left("STATE")];
    let rows = settings.catalog.providers.iter().map(|provider| {
        let state = match &provider.disabled {
            None => String::from("live"),
            Some(disabled) => format!("off: {}", reason(disabled)),
        };
        vec![provider.name.to_string(), provider.kind.name.to_string(), state]
    });
    let providers = render(&columns, rows.collect(), "no providers");
    let live = settings.catalog.providers.iter().filter(|provider| provider.disabled.is_none()).count();
    let (kinds, models) = (settings.catalog.kinds.len(), settings.catalog.models.len());
    let total = settings.catalog.providers.len();
    let file = settings.file.display();
    format!("{warnings}{providers}\n{file}: no problems; {kinds} kinds, {models} models, {live} of {total} providers live\n")
}

fn reason(disabled: &Disabled) -> String {
    match disabled {
        Disabled::ByOperator => String::from("enabled = false"),
        Disabled::NoKey(source) => format!("no key in {source}"),
    }
}
