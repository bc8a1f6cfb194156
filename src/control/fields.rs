//! Validation of names, tags and other values of the admin API. Each function returns the value to
//! store, or an error that states the requirement.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::error::ControlError;

/// Maximum length of a name, subject, team or tag value in bytes.
const MAX_LABEL: usize = 256;
/// Maximum number of tags of one key.
const MAX_TAGS: usize = 32;
/// Maximum number of models that one key can list.
const MAX_MODELS: usize = 1_000;
/// The end of the year 9999 in Unix seconds. A larger value is in milliseconds by mistake.
const MAX_TIME: i64 = 253_402_300_799;

/// Validates an id that is part of a path: 1 to 64 characters of `[a-z0-9-]`.
///
/// # Errors
/// If it is anything else; so for every validator here.
pub fn slug(param: &str, text: String) -> Result<String, ControlError> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if fits { Ok(text) } else { Err(ControlError::invalid(param, format!("{param} must be 1 to 64 characters of a-z, 0-9 and -"))) }
}

/// Validates a display text: not blank, no control characters, at most 256 bytes.
pub fn label(param: &str, text: String) -> Result<String, ControlError> {
    let fits = text.len() <= MAX_LABEL && !text.trim().is_empty() && !text.chars().any(char::is_control);
    if fits {
        Ok(text)
    } else {
        Err(ControlError::invalid(param, format!("{param} must be 1 to {MAX_LABEL} bytes, not blank, without control characters")))
    }
}

/// Validates tags and sorts them by name. Names have 1 to 64 characters of `[A-Za-z0-9._-]`, values
/// are labels.
pub fn tags(param: &str, tags: BTreeMap<String, String>) -> Result<Vec<(String, String)>, ControlError> {
    if tags.len() > MAX_TAGS {
        return Err(ControlError::invalid(param, format!("{param} must have at most {MAX_TAGS} tags")));
    }
    tags.into_iter()
        .map(|(name, value)| {
            if !is_tag_name(&name) {
                let message = format!("names in {param} must be 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'");
                return Err(ControlError::invalid(param, message));
            }
            let value = label(&format!("{param}.{name}"), value)?;
            Ok((name, value))
        })
        .collect()
}

/// Validates a list of model names.
pub fn models(param: &str, names: Vec<String>) -> Result<Vec<String>, ControlError> {
    if names.len() > MAX_MODELS {
        return Err(ControlError::invalid(param, format!("{param} must have at most {MAX_MODELS} models")));
    }
    names.into_iter().enumerate().map(|(nth, name)| label(&format!("{param}[{nth}]"), name)).collect()
}

/// Validates a limit: at least 1.
pub fn limit(param: &str, value: u32) -> Result<i64, ControlError> {
    if value == 0 {
        Err(ControlError::invalid(param, format!("{param} must be at least 1, or null for no limit")))
    } else {
        Ok(value.into())
    }
}

/// Validates an amount in cents.
pub fn cents(param: &str, value: u64) -> Result<i64, ControlError> {
    value.try_into().map_err(|_| ControlError::invalid(param, format!("{param} is too large")))
}

/// Validates a time in Unix seconds.
pub fn unix_seconds(param: &str, seconds: i64) -> Result<i64, ControlError> {
    if (0..=MAX_TIME).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(ControlError::invalid(param, format!("{param} must be in Unix seconds, not milliseconds")))
    }
}

/// Distinguishes a field that is null (`Some(None)`) from one that is missing (`None`). For
/// `#[serde(default, deserialize_with = …)]`.
///
/// # Errors
/// If the value is neither null nor a `T`.
pub fn double_option<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn is_tag_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_short_lower_case_ascii() {
        for good in ["a", "acme", "acme-2", &"x".repeat(64)] {
            assert!(slug("id", good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "Acme", "a b", "a_b", "ä", "a/b", &"x".repeat(65)] {
            assert!(slug("id", bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_are_not_blank_and_have_no_control_characters() {
        assert!(label("name", "Ärzte & Söhne, Dept. 7".to_owned()).is_ok());
        for bad in ["", "  ", "a\nb", "nul \0", &"x".repeat(257)] {
            assert!(label("name", bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tags_are_sorted_and_the_error_names_the_wrong_one() {
        let given = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(tags("tags", given(&[("b", "2"), ("a", "1")])).unwrap()[0].0, "a");
        let Err(ControlError::Invalid { param, .. }) = tags("tags", given(&[("a", "")])) else { panic!("an empty value passed") };
        assert_eq!(param, "tags.a");
        assert!(tags("tags", given(&[("a=b", "c")])).is_err());
    }

    #[test]
    fn milliseconds_are_refused_as_seconds() {
        assert!(unix_seconds("expires_at", 1_800_000_000).is_ok());
        assert!(unix_seconds("expires_at", 1_800_000_000_000).is_err());
        assert!(unix_seconds("expires_at", -1).is_err());
    }
}
