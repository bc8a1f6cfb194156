//! The error of a command: a message for standard error and an exit code for scripts.

use std::process::ExitCode;

use crate::config::Problems;

/// A message for standard error, which may be empty, and the exit code.
#[derive(Debug)]
pub(super) struct CommandError {
    message: String,
    code: u8,
}

impl CommandError {
    /// Exit code 1: the command failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// Exit code 2: invalid arguments.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// Exit code 78: invalid configuration or key material.
    pub fn refused(problems: &Problems) -> Self {
        Self { message: problems.to_string(), code: 78 }
    }

    /// An exit code that the server chose.
    pub fn with_code(message: impl Into<String>, code: u8) -> Self {
        Self { message: message.into(), code }
    }

    /// Exit code 0 without a message: the reader of standard output closed the pipe.
    pub fn broken_pipe() -> Self {
        Self { message: String::new(), code: 0 }
    }

    /// Prints the message and returns the exit code.
    pub fn report(self) -> ExitCode {
        for line in self.message.lines() {
            eprintln!("aigw: {line}");
        }
        ExitCode::from(self.code)
    }
}
