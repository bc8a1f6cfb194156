//! The command line: the table of commands and what their exit codes mean.
//!
//! Each command is a short function in a file of its own: either over the library (`serve`, `quickstart`, `check`) or over the
//! admin API of a running gateway (the rest). Nothing here reads TOML, the store or a request.

mod check;
mod client;
mod edge;
mod failure;
mod key;
mod ledger;
mod logging;
mod moment;
mod provider;
mod quickstart;
mod seal;
mod serve;
mod table;
mod tenant;
mod units;
mod usage;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::Failure;

/// An LLM gateway: one OpenAI-compatible endpoint in front of every model provider.
#[derive(Debug, Parser)]
#[command(name = "aigw", version, propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "The commands from `tenant` on speak to a running gateway: AIGW_URL says where it is, AIGW_ADMIN_TOKEN opens it.\n\
                        Exit codes: 0 done, 1 failed, 2 wrong usage, 78 configuration or key material refused.")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try aigw: simulator models, a first tenant and key made and printed, then serves
    Quickstart(quickstart::Arguments),
    /// Run the gateway
    Serve(serve::Arguments),
    /// Validate the configuration and say what it enables
    Check(check::Arguments),
    /// Tenants: who pays
    Tenant(tenant::Arguments),
    /// Virtual keys: what callers present
    Key(key::Arguments),
    /// Providers: their health, a tenant's chain, a tenant's own accounts
    Provider(provider::Arguments),
    /// Gateways that tenants' own provider keys are granted to
    Edge(edge::Arguments),
    /// Replace the keys that seal
    Seal(seal::Arguments),
    /// What was used and what it cost
    Usage(usage::Arguments),
    /// The ledger: one entry for each request
    Ledger(ledger::Arguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell to complete in
        shell: clap_complete::Shell,
    },
}

/// Parses the command line, runs it, gives the exit code.
pub fn main() -> ExitCode {
    match run(CommandLine::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<(), Failure> {
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
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// Writes to standard output. A reader that has seen enough (`aigw … | head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::unheard()),
        Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_commands_is_sound() {
        CommandLine::command().debug_assert();
    }
}
