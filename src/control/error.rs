//! Errors of the control half. [`admin`](super::admin) maps them to status codes.

use super::master::keyring::KeyringError;
use super::store::StoreError;
use crate::config::Problems;
use crate::credential::NoRandomness;
use crate::seal::SealError;

/// A refusal or a failure. The message is for the operator and never contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A value is invalid.
    #[error("{message}")]
    Invalid {
        /// Name of the parameter.
        param: String,
        /// The requirement.
        message: String,
    },
    /// The object does not exist.
    #[error("{what} {id:?} not found")]
    NotFound {
        /// Kind of object, such as `tenant`.
        what: &'static str,
        /// The requested id.
        id: String,
    },
    /// The catalog does not have this model.
    #[error("model {0:?} not found in the catalog")]
    UnknownModel(String),
    /// An object with this id already exists.
    #[error("{what} {id:?} already exists")]
    Exists {
        /// Kind of object, such as `tenant`.
        what: &'static str,
        /// The requested id.
        id: String,
    },
    /// The state of the object does not allow the change.
    #[error("{message}")]
    Conflict {
        /// Error code for programs.
        code: &'static str,
        /// Message with the remedy.
        message: String,
    },
    /// There is no master key, so nothing can be sealed.
    #[error("sealing is unavailable: the gateway has no master key; set AIGW_MASTER_KEY (generate one with: openssl rand -base64 32)")]
    SealingUnavailable,
    /// The custody is `tenant`, and the tenant key is missing or wrong.
    #[error("missing or invalid tenant key; this tenant has custody `tenant`, send its key as `x-aigw-tenant-key: aigw-tk-…`")]
    TenantKeyRequired,
    /// A sealed row was altered: edited by hand, or restored in part.
    #[error("the {blob} blob of {of} does not open because its row was altered; restore the row from a backup")]
    Unopened {
        /// Type of the blob, such as `ROOT`.
        blob: &'static str,
        /// Ids of the owner.
        of: String,
    },
    /// The master key of a blob is not configured, or the row was altered.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The configuration is invalid; the previous one stays in effect.
    #[error("invalid configuration, nothing has changed: {0}")]
    Configuration(#[from] Problems),
    /// The change is in the database but could not be read back and published.
    #[error("the change is stored but not yet in effect in this process: {0}; it takes effect as soon as the database can be read")]
    NotYetInEffect(String),
    /// The process shuts down, or the operation panicked.
    #[error("the operation was interrupted; try again")]
    Interrupted,
    /// No credential could be generated.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ControlError {
    /// Returns [`ControlError::Invalid`].
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        ControlError::Invalid { param: param.into(), message: message.into() }
    }

    /// Returns [`ControlError::NotFound`].
    pub fn not_found(what: &'static str, id: impl Into<String>) -> Self {
        ControlError::NotFound { what, id: id.into() }
    }
}

impl From<diesel::result::Error> for ControlError {
    fn from(error: diesel::result::Error) -> Self {
        ControlError::Store(StoreError::Query(error))
    }
}
