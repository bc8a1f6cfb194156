//! Every way the gateway itself refuses a request, and the one table of their statuses, types and
//! codes (DESIGN.md section 5).
//!
//! Both readers of the table, the ledger entry and the client's answer, go through
//! [`Refusal::details`].

use std::time::Duration;

use crate::dialect::request::Refused;
use crate::payload::PayloadFormat;
use crate::payload::form::error::FormError;
use crate::terms::{ModelId, Operation};

/// A request refused by the gateway. The text is the client's error message; it holds nothing of
/// the prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key is missing, malformed, unknown, revoked or expired. The answer does not tell which.
    #[error("missing or invalid API key")]
    InvalidKey,
    /// Too many failed authentications from this address.
    #[error("too many failed authentications from this address; try again later")]
    TooManyFailures {
        /// Time until the address may try again.
        retry_after: Duration,
    },
    /// The tenant is disabled.
    #[error("this tenant is disabled; ask the operator")]
    TenantDisabled,
    /// The model is unknown, not allowed for this key, or served by no enabled provider.
    #[error("the model `{0}` does not exist or this key has no access to it; GET /v1/models lists the available models")]
    UnknownModel(String),
    /// The path is unknown.
    #[error("unknown endpoint {0}")]
    UnknownEndpoint(String),
    /// The path is known, but not with this method.
    #[error("method not allowed: {0}")]
    MethodNotAllowed(String),
    /// The body is not a valid JSON object.
    #[error("invalid JSON body: {0}")]
    InvalidJson(String),
    /// The body is not a valid form.
    #[error("invalid form: {0}")]
    InvalidForm(FormError),
    /// The body is not declared to be in the operation's format.
    #[error("unsupported content-type; send {}", .0.media_type())]
    UnsupportedContentType(PayloadFormat),
    /// A field is missing or invalid.
    #[error("{message}")]
    InvalidValue {
        /// Name of the field.
        param: String,
        /// The problem and its remedy.
        message: String,
    },
    /// The body is larger than allowed.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// `max_body` in bytes.
        limit: usize,
    },
    /// The body has a content encoding that the gateway does not decode.
    #[error("unsupported content-encoding `{0}`; send the body uncompressed or as one of gzip and zstd")]
    UnsupportedEncoding(String),
    /// A zstd body needs more memory to decode than allowed.
    #[error("the body needs a zstd window larger than {limit} bytes; compress it with a smaller window")]
    WindowTooLarge {
        /// `max_zstd_window` in bytes.
        limit: usize,
    },
    /// HTTP in a form that the gateway does not accept.
    #[error("{0}")]
    BadRequest(&'static str),
    /// An `expect` header with another value than `100-continue`.
    #[error("unsupported expect header; only 100-continue is supported")]
    ExpectationFailed,
    /// The request line and headers did not arrive in time.
    #[error("timed out waiting for the request headers")]
    SlowHead,
    /// The request line and headers are too large, or there are too many headers.
    #[error("the request headers are too large or too many")]
    HeadTooLarge,
    /// The body did not arrive in time.
    #[error("timed out waiting for the request body")]
    SlowBody,
    /// The provider's dialect cannot express the request.
    #[error("{}", .0.message)]
    Inexpressible(Refused),
    /// The first provider's dialect or kind does not support this operation.
    #[error("the model `{model}` does not support {operation}")]
    UnsupportedOperation {
        /// The catalog's model id.
        model: ModelId,
        /// The requested operation.
        operation: Operation,
    },
    /// A bounded queue or the memory for bodies is full.
    #[error("too many requests in flight; try again shortly")]
    Overloaded,
    /// Every provider of the chain failed.
    #[error("all providers failed")]
    AllProvidersFailed {
        /// Status for the client, derived from the last failure: 429, 502, 503 or 504.
        status: u16,
        /// Delay requested by the last provider.
        retry_after: Option<Duration>,
    },
    /// The last provider of the chain rejected its credential.
    #[error("the provider rejected its credential; ask the operator to check it")]
    UpstreamAuthFailed,
    /// The provider's address is forbidden.
    #[error("the network guard forbids the provider's address; ask the operator to check it")]
    UpstreamForbidden,
    /// The gateway has not been able to check for revoked keys for too long.
    #[error("virtual keys cannot be verified right now; try again shortly")]
    Unconfirmed,
    /// An error of the gateway itself.
    #[error("the gateway failed to handle this request")]
    Internal,
}

/// One row of the table: how a refusal appears to the client and in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalDetails<'a> {
    /// HTTP status.
    pub status: u16,
    /// Error type (`error.type` in OpenAI's envelope).
    pub error_type: &'static str,
    /// Stable machine-readable code.
    pub code: &'static str,
    /// The request's field at fault.
    pub param: Option<&'a str>,
    /// Delay after which the client may try again.
    pub retry_after: Option<Duration>,
    /// Whether the connection must close after the answer: the rest of the body is unread, or its
    /// framing is doubtful.
    pub closes_connection: bool,
}

impl Refusal {
    /// Whether the providers are at fault, and not the request.
    pub fn is_upstream_failure(&self) -> bool {
        matches!(self, Self::AllProvidersFailed { .. } | Self::UpstreamAuthFailed | Self::UpstreamForbidden)
    }

    /// This refusal's row of the table.
    pub fn details(&self) -> RefusalDetails<'_> {
        const INVALID: &str = "invalid_request_error";
        const UPSTREAM: &str = "upstream_error";
        const SERVER: &str = "server_error";
        const SHORTLY: Duration = Duration::from_secs(1);
        match self {
            Self::InvalidKey => row(401, INVALID, "invalid_api_key"),
            Self::TooManyFailures { retry_after } => row(429, "rate_limit_error", "rate_limit_exceeded").retry(Some(*retry_after)),
            Self::TenantDisabled => row(403, "permission_error", "tenant_disabled"),
            Self::UnknownModel(_) => row(404, INVALID, "model_not_found").param(Some("model")),
            Self::UnknownEndpoint(_) => row(404, INVALID, "unknown_endpoint"),
            Self::MethodNotAllowed(_) => row(405, INVALID, "method_not_allowed"),
            Self::InvalidJson(_) | Self::UnsupportedContentType(PayloadFormat::Json) => row(400, INVALID, "invalid_json"),
            Self::InvalidForm(_) | Self::UnsupportedContentType(PayloadFormat::Form) => row(400, INVALID, "invalid_value"),
            Self::InvalidValue { param, .. } => row(400, INVALID, "invalid_value").param(Some(param)),
            Self::TooLarge { .. } => row(413, INVALID, "request_too_large").closing(),
            Self::UnsupportedEncoding(_) => row(415, INVALID, "unsupported_encoding").closing(),
            Self::WindowTooLarge { .. } => row(413, INVALID, "request_too_large"),
            Self::BadRequest(_) => row(400, INVALID, "bad_request").closing(),
            Self::ExpectationFailed => row(417, INVALID, "expectation_failed").closing(),
            Self::SlowHead | Self::SlowBody => row(408, INVALID, "request_timeout").closing(),
            Self::HeadTooLarge => row(431, INVALID, "headers_too_large").closing(),
            Self::Inexpressible(refused) => row(400, INVALID, refused.code).param(refused.param.as_deref()),
            Self::UnsupportedOperation { .. } => row(400, INVALID, "unsupported_operation"),
            Self::Overloaded => row(503, SERVER, "overloaded").retry(Some(SHORTLY)),
            Self::AllProvidersFailed { status, retry_after } => {
                row(*status, UPSTREAM, "all_providers_failed").retry(retry_after.filter(|_| matches!(status, 429 | 503)))
            }
            Self::UpstreamAuthFailed => row(502, UPSTREAM, "upstream_auth_failed"),
            Self::UpstreamForbidden => row(502, UPSTREAM, "upstream_forbidden"),
            Self::Unconfirmed => row(503, SERVER, "keys_unconfirmed").retry(Some(SHORTLY)),
            Self::Internal => row(500, SERVER, "internal_error"),
        }
    }
}

const fn row(status: u16, error_type: &'static str, code: &'static str) -> RefusalDetails<'static> {
    RefusalDetails { status, error_type, code, param: None, retry_after: None, closes_connection: false }
}

impl<'a> RefusalDetails<'a> {
    fn param(self, param: Option<&'a str>) -> Self {
        Self { param, ..self }
    }

    fn retry(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    fn closing(self) -> Self {
        Self { closes_connection: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_busy_chain_passes_on_the_delay_of_its_last_provider() {
        let retry_after = Some(Duration::from_secs(7));
        for (status, expected) in [(429, retry_after), (503, retry_after), (502, None), (504, None)] {
            let refusal = Refusal::AllProvidersFailed { status, retry_after };
            assert_eq!((refusal.details().status, refusal.details().retry_after), (status, expected));
        }
    }

    #[test]
    fn a_refused_value_names_its_field() {
        let refused = Refused { code: "unsupported_value", param: Some("n".to_owned()), message: "n must be 1".to_owned() };
        let inexpressible = Refusal::Inexpressible(refused);
        assert_eq!(inexpressible.to_string(), "n must be 1");
        assert_eq!(inexpressible.details(), row(400, "invalid_request_error", "unsupported_value").param(Some("n")));
        assert_eq!(Refusal::UnknownModel("m".to_owned()).details().param, Some("model"));
    }
}
