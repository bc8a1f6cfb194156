//! The command line: sub-commands, each a short function over the library.

/// Parses the command line, runs it, gives the exit code.
pub fn main() -> std::process::ExitCode {
    todo!("interface")
}
