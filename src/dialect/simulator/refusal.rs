//! Constructor of the simulator's [`Refused`].

use crate::dialect::request::Refused;

/// The refusal of a parameter that must be `expected`, such as `a string`.
pub(super) fn refused(param: impl Into<String>, expected: &str) -> Refused {
    let param = param.into();
    Refused { code: "invalid_value", message: format!("{param} must be {expected}"), param: Some(param) }
}
