//! Constructors of [`Refused`], for requests that this dialect cannot express.

use std::fmt::Display;

use serde::Deserialize;

use crate::dialect::request::Refused;

/// Refuses an invalid value.
pub fn invalid(param: impl Display, message: &str) -> Refused {
    refused("invalid_value", param, message)
}

/// Refuses a valid value that this dialect cannot express.
pub fn unsupported(param: impl Display, message: &str) -> Refused {
    refused("unsupported_value", param, message)
}

/// Refuses a parameter that this dialect cannot express, whatever its value.
pub fn unsupported_parameter(param: impl Display, message: &str) -> Refused {
    refused("unsupported_parameter", param, message)
}

fn refused(code: &'static str, param: impl Display, message: &str) -> Refused {
    let param = param.to_string();
    Refused { code, message: format!("{param}: {message}"), param: Some(param) }
}

/// Refuses the parameter `name`, whose text is `raw`, and names the part that has the wrong type.
/// Parses it again to find the path of that part.
pub fn wrong_type<'a, T: Deserialize<'a>>(name: &str, raw: &'a str) -> Refused {
    let read = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(raw));
    let path = read.err().map(|error| error.path().to_string()).filter(|path| path != ".").unwrap_or_default();
    let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
    let param = format!("{name}{dot}{path}");
    // Section 3.3 names content parts, not their members.
    let part = param.find("].content[").and_then(|at| Some(at + 10 + param[at + 10..].find(']')?));
    let param = part.map_or(param.as_str(), |end| &param[..=end]);
    invalid(param, "wrong type, or duplicate key")
}
