//! Secrets from the environment or a file, and the checks that refuse weak ones (spec/security.md 4.5).
//! No message quotes a secret.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use zeroize::Zeroizing;

use super::environment::Environment;
use super::section::Section;
use crate::secret::Secret;

/// Result of looking up a secret.
#[derive(Debug)]
pub enum Found {
    /// The secret.
    Secret(Secret),
    /// The named variable or file is missing or empty.
    Missing(String),
    /// TOML names no source, or a problem was recorded.
    Nothing,
}

/// The TOML keys of one secret. Only `env` and `file` may be used.
#[derive(Debug, Clone, Copy)]
pub struct SecretSource {
    /// Key that names an environment variable.
    pub env: &'static str,
    /// Key that names a file; `None` where files are not supported.
    pub file: Option<&'static str>,
    /// Key under which an operator might write the secret itself, which is refused.
    pub literal: &'static str,
    /// Variable that is read if no source is named.
    pub default: Option<&'static str>,
}

impl SecretSource {
    /// Looks up the secret. A literal one is refused.
    pub fn find(self, section: &mut Section<'_>, environment: &dyn Environment) -> Found {
        if section.has(self.literal) {
            section.value(self.literal);
            let remedy = format!(
                "put it into the environment and name the variable: {} = \"…\"; then replace the key, it has been on disk",
                self.env
            );
            section.key_problem(self.literal, "a literal credential in TOML is refused", remedy);
            return Found::Nothing;
        }
        let variable = section.text(self.env);
        let file = self.file.and_then(|key| section.text(key).map(|file| (key, file)));
        match (variable, file) {
            (Some(_), Some((key, _))) => {
                section.problem(key, format!("{} is set too", self.env), "keep one of the two");
                Found::Nothing
            }
            (None, Some((key, file))) => from_file(section, key, file),
            (Some(variable), None) if !is_variable(variable) => {
                // Not quoted: it may be the secret itself in the wrong place.
                section.key_problem(
                    self.env,
                    "is not the name of an environment variable",
                    "write the variable's name, such as OPENAI_API_KEY, not its value",
                );
                Found::Nothing
            }
            (variable, None) => match variable.or(self.default) {
                Some(variable) => from_variable(environment, variable),
                None => Found::Nothing,
            },
        }
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !name.as_bytes()[0].is_ascii_digit()
}

fn from_variable(environment: &dyn Environment, variable: &str) -> Found {
    let value = environment.var(variable).map(Zeroizing::new);
    match value.as_deref().map(|value| value.trim()) {
        Some(value) if !value.is_empty() => Found::Secret(Secret::new(value)),
        _ => Found::Missing(variable.to_owned()),
    }
}

fn from_file(section: &Section<'_>, key: &str, file: &str) -> Found {
    match std::fs::read_to_string(file).map(Zeroizing::new) {
        Ok(text) if text.trim().is_empty() => Found::Missing(file.to_owned()),
        Ok(text) => {
            if std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
                section.diagnostics().warning(format!(
                    "{}: {}: {file} is readable by other users; run chmod 600 on it",
                    section.file().display(),
                    section.path(key)
                ));
            }
            Found::Secret(Secret::new(text.trim()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Found::Missing(file.to_owned()),
        Err(error) => {
            section.key_problem(
                key,
                format!("{file} cannot be read ({error})"),
                "let the user that runs aigw read it, or name another file",
            );
            Found::Nothing
        }
    }
}

/// Returns problem and remedy of a provider key that cannot be sent in a header; `None` if it can.
pub fn provider_key_fault(key: &Secret) -> Option<(&'static str, &'static str)> {
    let is_visible = key.expose().bytes().all(|byte| byte.is_ascii_graphic());
    (!is_visible)
        .then_some(("the key contains a space, a line break or another byte that headers cannot carry", "copy it again from the provider"))
}

/// Well-known default tokens.
const KNOWN_DEFAULTS: [&str; 8] = ["sk-1234", "changeme", "change-me", "change_me", "password", "passw0rd", "letmein", "qwertyuiop"];

/// Returns the reason an admin token is refused; `None` if it is accepted.
pub fn admin_token_fault(token: &Secret) -> Option<&'static str> {
    let token = token.expose();
    let lower = Zeroizing::new(token.to_ascii_lowercase());
    if token.len() < 32 {
        Some("the admin token has fewer than 32 characters")
    } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("the admin token contains a byte that headers cannot carry")
    } else if token.bytes().collect::<BTreeSet<_>>().len() < 10 {
        Some("the admin token has fewer than 10 distinct characters")
    } else if KNOWN_DEFAULTS.iter().any(|known| lower.contains(known)) {
        Some("the admin token contains a well-known default")
    } else if ["aigw-sk-", "aigw-tk-", "aigw-ek-"].iter().any(|prefix| token.starts_with(prefix)) {
        Some("the admin token has the form of a virtual key, tenant key or edge key")
    } else {
        None
    }
}

/// Normalizes a master key to standard base64 with padding.
///
/// # Errors
/// Reason for the refusal.
pub fn master_key(text: &Secret) -> Result<Secret, &'static str> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decode = |alphabet| GeneralPurpose::new(alphabet, lenient).decode(text.expose());
    let bytes = Zeroizing::new(decode(&STANDARD).or_else(|_| decode(&URL_SAFE)).map_err(|_| "the master key is not base64")?);
    if bytes.len() != 32 {
        return Err("the master key is not 32 bytes long");
    }
    if bytes.iter().all(|byte| *byte == bytes[0]) {
        return Err("all bytes of the master key are equal");
    }
    Ok(Secret::new(general_purpose::STANDARD.encode(bytes.as_slice())))
}
