//! Why a command ends without success: one line for people, one code for scripts.

use std::process::ExitCode;

use crate::config::check::Problems;

/// A line on standard error, if there is anything to say, and the exit code.
#[derive(Debug)]
pub(super) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// Exit 1: it was tried and did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// Exit 2: the command makes no sense as typed.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// Exit 78: configuration or key material is refused.
    pub fn refused(problems: &Problems) -> Self {
        Self { message: problems.to_string(), code: 78 }
    }

    /// Any exit code: what the server says.
    pub fn with_code(message: impl Into<String>, code: u8) -> Self {
        Self { message: message.into(), code }
    }

    /// Exit 0 without another word: nobody reads the output any more.
    pub fn unheard() -> Self {
        Self { message: String::new(), code: 0 }
    }

    /// Says it and gives the exit code.
    pub fn report(self) -> ExitCode {
        for line in self.message.lines() {
            eprintln!("aigw: {line}");
        }
        ExitCode::from(self.code)
    }
}
