//! The failure of one call for the client: its cause, its name in the ledger, its retry class, and
//! the refusal it leads to.

use std::time::Duration;

use super::refusal::Refusal;
use super::retry::{self, RetryClass};
use crate::dialect::failure::{Failure, FailureOrigin};
use crate::upstream::error::{Class as ErrorClass, Error, Retry};

/// A call that led to no answer for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFailure {
    /// Cause of the failure.
    pub cause: Cause,
    /// Status of the response head, if it arrived.
    pub status: Option<u16>,
    /// Delay requested by the upstream.
    pub retry_after: Option<Duration>,
    /// The upstream's error, for the cases in which the client may see it.
    pub response: Option<Failure>,
}

/// Cause of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No usable response arrived.
    Transport(Error),
    /// The upstream answered with an error.
    Status(u16),
    /// The answer broke off or could not be parsed.
    Interrupted,
    /// The provider has no target for the operation.
    NoTarget,
    /// The tenant's own key could not be opened.
    NoCredential,
    /// The tenant's own key is not sealed for the provider's address.
    Misdirected,
    /// The adapter failed.
    Adapter,
}

impl CallFailure {
    /// A failure without a response.
    pub fn new(cause: Cause) -> Self {
        Self { cause, status: None, retry_after: None, response: None }
    }

    /// A transport error, after a head of `status` if one arrived.
    pub fn transport(error: Error, status: Option<u16>) -> Self {
        Self { status: error.status.or(status), ..Self::new(Cause::Transport(error)) }
    }

    /// An answer with a head of `status` that reports or is a failure.
    pub fn response(status: u16, failure: Failure, retry_after: Option<Duration>) -> Self {
        let cause = match failure.origin {
            FailureOrigin::Interrupted => Cause::Interrupted,
            FailureOrigin::Upstream | FailureOrigin::Policy => Cause::Status(failure.status),
        };
        Self { cause, status: Some(status), retry_after, response: Some(failure) }
    }

    /// The class of the failure in the ledger.
    pub fn name(&self) -> &'static str {
        match self.cause {
            Cause::Transport(error) => error.class.as_str(),
            Cause::Status(status) => retry::name_of_status(status),
            Cause::Interrupted => "interrupted",
            Cause::NoTarget => "no_target",
            Cause::NoCredential => "auth",
            Cause::Misdirected => "misdirected",
            Cause::Adapter => "adapter",
        }
    }

    /// Consequence of the failure for the chain.
    pub fn class(&self) -> RetryClass {
        match self.cause {
            Cause::Transport(Error { retry: Retry::Never, .. }) => RetryClass::Local,
            Cause::Transport(_) | Cause::Interrupted => RetryClass::Transient,
            Cause::Status(status) => retry::class_of_status(status),
            Cause::NoTarget | Cause::NoCredential | Cause::Misdirected | Cause::Adapter => RetryClass::Local,
        }
    }

    /// Whether a pooled connection broke before a byte of the response arrived.
    pub fn may_be_stale(&self) -> bool {
        matches!(self.cause, Cause::Transport(Error { retry: Retry::Immediately, .. }))
    }

    /// The refusal of a request whose last call failed like this (DESIGN.md section 5).
    pub fn refusal(&self) -> Refusal {
        let status = match self.cause {
            Cause::Transport(Error { class: ErrorClass::Denied(_), .. }) => return Refusal::UpstreamForbidden,
            Cause::Misdirected => return Refusal::UpstreamForbidden,
            Cause::NoCredential | Cause::Status(401..=403) => return Refusal::UpstreamAuthFailed,
            Cause::Transport(error) if error.class.is_timeout() => 504,
            Cause::Status(408 | 504) => 504,
            // Clients know what to do with these.
            Cause::Status(status @ (429 | 503)) => status,
            Cause::Transport(_) | Cause::Status(_) | Cause::Interrupted | Cause::NoTarget | Cause::Adapter => 502,
        };
        Refusal::AllProvidersFailed { status, retry_after: self.retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::error::Stage;

    fn reported(code: &str, origin: FailureOrigin) -> CallFailure {
        let failure = Failure { status: 400, code: Some(code.into()), origin, ..Failure::interrupted("m") };
        CallFailure::response(200, failure, None)
    }

    #[test]
    fn an_upstream_that_reports_our_own_code_is_not_taken_for_an_interruption() {
        let theirs = reported("upstream_interrupted", FailureOrigin::Upstream);
        assert_eq!((theirs.name(), theirs.class(), theirs.cause), ("client_error", RetryClass::Fault, Cause::Status(400)));
        let ours = reported("upstream_interrupted", FailureOrigin::Interrupted);
        assert_eq!((ours.name(), ours.class(), ours.cause), ("interrupted", RetryClass::Transient, Cause::Interrupted));
    }

    #[test]
    fn the_last_failure_decides_the_status_for_the_client() {
        let status = |cause| CallFailure::new(cause).refusal().details().status;
        for (upstream, expected) in [(429, 429), (503, 503), (408, 504), (504, 504), (500, 502), (404, 502), (401, 502)] {
            assert_eq!(status(Cause::Status(upstream)), expected, "{upstream}");
        }
        assert_eq!(status(Cause::Transport(Error::timeout(Stage::Head))), 504);
        assert_eq!(status(Cause::Transport(Error::new(Stage::Head, ErrorClass::Reset))), 502);
        assert_eq!(CallFailure::new(Cause::NoCredential).refusal(), Refusal::UpstreamAuthFailed);
        assert_eq!(CallFailure::new(Cause::Misdirected).refusal(), Refusal::UpstreamForbidden);
    }
}
