//! The command line: the table of commands and the meaning of exit codes.
//!
//! Each command is a short function in a file of its own. `serve`, `quickstart`, `check` and `seal
//! rotate` call the library; the others call the admin API of a running gateway. Nothing here reads
//! TOML, the store or a request.

mod check;
mod client;
mod edge;
mod error;
mod format;
mod key;
mod ledger;
mod logging;
mod output;
mod provider;
mod quickstart;
mod seal;
mod serve;
mod table;
mod tenant;
mod time_argument;
mod usage;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use error::CommandError;

/// An LLM gateway: one OpenAI-compatible endpoint in front of every model provider.
#[derive(Debug, Parser)]
#[command(name = "aigw", version, propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "The commands from `tenant` on call the admin API of a running gateway: set AIGW_URL and AIGW_ADMIN_TOKEN.\n\
                        Exit codes: 0 done, 1 failed, 2 wrong usage, 78 configuration or key material refused.")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try aigw: serve with simulator models, a first tenant and a first key, which is printed
    Quickstart(quickstart::QuickstartArguments),
    /// Run the gateway
    Serve(serve::ServeArguments),
    /// Validate the configuration and list what it enables
    Check(check::CheckArguments),
    /// Manage tenants, the customers who pay
    Tenant(tenant::TenantArguments),
    /// Manage virtual keys, which callers present
    Key(key::KeyArguments),
    /// Show provider health and a tenant's chain, manage a tenant's own providers
    Provider(provider::ProviderArguments),
    /// Manage edges, the gateways that may use tenants' own provider keys
    Edge(edge::EdgeArguments),
    /// Rotate the master key or a tenant's epoch
    Seal(seal::SealArguments),
    /// Report usage and cost
    Usage(usage::UsageArguments),
    /// Read the ledger, one entry per request
    Ledger(ledger::LedgerArguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell to complete for
        shell: clap_complete::Shell,
    },
}

/// Parses the command line, runs the command and returns its exit code.
pub fn main() -> ExitCode {
    match run(CommandLine::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Quickstart(arguments) => quickstart::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Tenant(arguments) => tenant::run(arguments),
        Command::Key(arguments) => key::run(arguments),
        Command::Provider(arguments) => provider::run(arguments),
        Command::Edge(arguments) => edge::run(arguments),
        Command::Seal(arguments) => seal::run(arguments),
        Command::Usage(arguments) => usage::run(&arguments),
        Command::Ledger(arguments) => ledger::run(arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "aigw", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_commands_is_valid() {
        CommandLine::command().debug_assert();
    }
}
