//! Why the control half did not do what it was asked. No statuses: those are [`admin::error`](super::admin)'s.

use super::store::StoreError;
use crate::config::check::Problems;
use crate::credential::NoRandomness;

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
