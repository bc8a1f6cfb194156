//! Errors of the admin API as HTTP responses in OpenAI's format. The only admin file with status
//! codes.
//!
//! Handlers return [`AdminError`] for errors of the request itself and pass on [`ControlError`] for
//! everything else.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::config::Problems;
use crate::control::error::ControlError;
use crate::control::store::StoreError;

/// An error of an admin request.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The path does not exist, or the admin API is off.
    #[error("unknown endpoint {0}")]
    UnknownEndpoint(String),
    /// The path does not have this method.
    #[error("method {0} is not allowed for this path")]
    MethodNotAllowed(String),
    /// The admin token is missing or wrong.
    #[error("missing or invalid admin token; send it as `authorization: Bearer …`")]
    Unauthorized,
    /// The `host` header is not allowed.
    #[error("host name not allowed; add it to [admin] hosts, or use an IP address or localhost")]
    ForeignHost,
    /// The body is too large.
    #[error("request body exceeds {0} bytes")]
    TooLarge(usize),
    /// The body is not valid JSON.
    #[error("invalid JSON body: {0}")]
    InvalidJson(String),
    /// The control half refused or failed.
    #[error(transparent)]
    Control(#[from] ControlError),
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(super) struct AdminErrorJson<'a> {
    error: ErrorDetailsJson<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ErrorDetails")]
pub(super) struct ErrorDetailsJson<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<Vec<ProblemJson<'a>>>,
}

/// One problem of a refused configuration.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct ProblemJson<'a> {
    file: String,
    key: &'a str,
    what: &'a str,
    remedy: &'a str,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

impl AdminError {
    fn classify(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            AdminError::UnknownEndpoint(_) => (StatusCode::NOT_FOUND, INVALID, "unknown_endpoint"),
            AdminError::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, INVALID, "method_not_allowed"),
            AdminError::Unauthorized => (StatusCode::UNAUTHORIZED, INVALID, "invalid_api_key"),
            AdminError::ForeignHost => (StatusCode::FORBIDDEN, "permission_error", "foreign_host"),
            AdminError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, INVALID, "request_too_large"),
            AdminError::InvalidJson(_) => (StatusCode::BAD_REQUEST, INVALID, "invalid_json"),
            AdminError::Control(error) => classify(error),
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            AdminError::Control(ControlError::Invalid { param, .. }) => Some(param),
            AdminError::Control(ControlError::Exists { .. }) => Some("id"),
            AdminError::Control(ControlError::UnknownModel(_)) => Some("model"),
            _ => None,
        }
    }

    /// Returns the message for the client. Details of internal errors only go to the log.
    fn client_message(&self) -> String {
        match self {
            AdminError::Control(ControlError::Store(error)) => {
                log::error!("admin request failed: {error}");
                "database error; see the log of the gateway".to_owned()
            }
            AdminError::Control(error @ (ControlError::Unopened { .. } | ControlError::Keyring(_) | ControlError::Seal(_))) => {
                log::error!("admin request failed: {error}");
                error.to_string()
            }
            other => other.to_string(),
        }
    }
}

impl ResponseError for AdminError {
    fn status_code(&self) -> StatusCode {
        self.classify().0
    }

    fn error_response(&self) -> HttpResponse {
        let (status, r#type, code) = self.classify();
        let problems = match self {
            AdminError::Control(ControlError::Configuration(problems)) => Some(problems_json(problems)),
            _ => None,
        };
        let message = self.client_message();
        HttpResponse::build(status)
            .json(AdminErrorJson { error: ErrorDetailsJson { message: &message, r#type, param: self.param(), code, problems } })
    }
}

fn classify(error: &ControlError) -> (StatusCode, &'static str, &'static str) {
    match error {
        ControlError::Invalid { .. } => (StatusCode::BAD_REQUEST, INVALID, "invalid_value"),
        ControlError::NotFound { .. } => (StatusCode::NOT_FOUND, INVALID, "not_found"),
        ControlError::UnknownModel(_) => (StatusCode::NOT_FOUND, INVALID, "model_not_found"),
        ControlError::Exists { .. } => (StatusCode::CONFLICT, INVALID, "already_exists"),
        ControlError::Conflict { code, .. } => (StatusCode::CONFLICT, INVALID, code),
        ControlError::SealingUnavailable => (StatusCode::CONFLICT, INVALID, "sealing_unavailable"),
        ControlError::TenantKeyRequired => (StatusCode::FORBIDDEN, "permission_error", "tenant_key_required"),
        ControlError::Unopened { .. } | ControlError::Keyring(_) => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "unopened"),
        ControlError::Configuration(_) => (StatusCode::BAD_REQUEST, INVALID, "invalid_configuration"),
        ControlError::NotYetInEffect(_) => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "not_yet_in_effect"),
        ControlError::Interrupted | ControlError::Randomness(_) | ControlError::Seal(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "internal_error")
        }
        ControlError::Store(StoreError::Query(_)) => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "database_error"),
        ControlError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "database_unavailable"),
    }
}

fn problems_json(problems: &Problems) -> Vec<ProblemJson<'_>> {
    problems
        .0
        .iter()
        .map(|problem| ProblemJson {
            file: problem.file.display().to_string(),
            key: &problem.key,
            what: &problem.what,
            remedy: &problem.remedy,
        })
        .collect()
}
