//! The trait of a dialect.

use super::call::Prepared;
use super::failure::Failure;
use super::request::{DialectRequest, Refused};
use crate::terms::Operation;

/// Language of an upstream, implemented in code.
pub trait Dialect: Send + Sync + 'static {
    /// Name in TOML.
    fn name(&self) -> &'static str;

    /// Path below the base URL for `operation`. `None` if the dialect does not support it.
    fn path(&self, operation: Operation) -> Option<&'static str>;

    /// Whether calls leave the process. `false` only for dialects that return
    /// [`Call::Scripted`](super::call::Call::Scripted).
    fn is_remote(&self) -> bool {
        true
    }

    /// Translates one request. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Refused`] if the request cannot be expressed. The client gets it with status 400.
    fn request(&self, request: &DialectRequest<'_>) -> Result<Prepared, Refused>;

    /// Parses an upstream's answer whose status is not a success.
    fn failure(&self, status: u16, body: &[u8]) -> Failure;
}

impl std::fmt::Debug for dyn Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for dyn Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}
