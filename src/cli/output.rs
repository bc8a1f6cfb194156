//! Standard output of the commands.

use std::io::{ErrorKind, Write};

use super::error::CommandError;

/// Writes to standard output. A reader that closes the pipe early (`aigw … | head`) ends the
/// command without an error message.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(CommandError::broken_pipe()),
        Err(error) => Err(CommandError::failed(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}
