//! Why the control half did not do what it was asked. No statuses: those are [`admin::error`](super::admin)'s.

use super::master::keyring::KeyringError;
use super::store::StoreError;
use crate::config::check::Problems;
use crate::credential::NoRandomness;
use crate::seal::SealError;

/// A refusal or a failure. The text is for the operator and names no secret.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A value cannot be taken.
    #[error("{message}")]
    Invalid {
        /// Which one.
        param: String,
        /// What it has to be.
        message: String,
    },
    /// There is no such thing.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// Such as `tenant`.
        what: &'static str,
        /// The id asked for.
        id: String,
    },
    /// The catalog has no such model.
    #[error("there is no model {0:?} in the catalog")]
    UnknownModel(String),
    /// There is one already.
    #[error("{what} {id:?} exists already")]
    Exists {
        /// Such as `tenant`.
        what: &'static str,
        /// The id asked for.
        id: String,
    },
    /// It is in no state to be changed so.
    #[error("{message}")]
    Conflict {
        /// For programs.
        code: &'static str,
        /// For people, with the remedy.
        message: String,
    },
    /// There is no master key, so nothing can be sealed.
    #[error("sealing is not available here: the gateway has no master key; set AIGW_MASTER_KEY (make one with: openssl rand -base64 32)")]
    SealingUnavailable,
    /// The tenant keeps its own root, and its key is missing or wrong.
    #[error("this tenant keeps its own key: send it as `x-aigw-tenant-key: aigw-tk-…`; the one sent is missing or wrong")]
    TenantKeyRequired,
    /// A sealed row is not what was written there: edited by hand, or restored in part.
    #[error("the {blob} blob of {of} does not open: it is not what was written there; restore the row from a backup")]
    Unopened {
        /// Its type, such as `ROOT`.
        blob: &'static str,
        /// Whose it is. Ids only.
        of: String,
    },
    /// The master key that something is wrapped under is not here, or the row is damaged.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Nothing was sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The configuration is refused; what was in effect still is.
    #[error("the configuration is refused, nothing has changed: {0}")]
    Configuration(#[from] Problems),
    /// The change is in the database but could not be read back and published.
    #[error("the change is stored but not yet in effect in this process: {0}; it will be as soon as the database can be read")]
    NotYetInEffect(String),
    /// The blocking threads are going away, or the work panicked.
    #[error("the work was interrupted; try again")]
    Interrupted,
    /// No credential could be made.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ControlError {
    /// Shorthand for [`ControlError::Invalid`].
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        ControlError::Invalid { param: param.into(), message: message.into() }
    }

    /// Shorthand for [`ControlError::NotFound`].
    pub fn not_found(what: &'static str, id: impl Into<String>) -> Self {
        ControlError::NotFound { what, id: id.into() }
    }
}

impl From<diesel::result::Error> for ControlError {
    fn from(error: diesel::result::Error) -> Self {
        ControlError::Store(StoreError::Query(error))
    }
}
