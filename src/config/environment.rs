//! Environment variables, behind a trait so that tests can supply their own.

/// Source of environment variables. Tests supply their own.
pub trait Environment {
    /// Returns the value of a variable; `None` if it is unset or empty.
    fn var(&self, name: &str) -> Option<String>;
}

/// Environment of this process.
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}
