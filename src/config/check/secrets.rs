//! Credentials: where they are found, and which are too weak to start with (spec/security.md 4.5). No text here quotes one.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use zeroize::Zeroizing;

use crate::config::Environment;
use crate::config::toml::Section;
use crate::secret::Secret;

/// What came of looking for a credential.
#[derive(Debug)]
pub enum Found {
    /// It is there.
    Key(Secret),
    /// The variable or the file of that name is not.
    Absent(String),
    /// TOML names no place, or a problem was noted.
    Nowhere,
}

/// The three keys that tell where a credential comes from; only the first two may be used.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Names an environment variable.
    pub env: &'static str,
    /// Names a file; `None` where a file is no choice.
    pub file: Option<&'static str>,
    /// What an impatient operator would write the credential itself under.
    pub literal: &'static str,
    /// The variable looked at if none is named.
    pub default: Option<&'static str>,
}

impl Place {
    /// Finds the credential. A literal one is refused.
    pub fn find(self, section: &mut Section<'_>, environment: &dyn Environment) -> Found {
        if section.has(self.literal) {
            section.value(self.literal);
            let remedy = format!(
                "put it into the environment and name the variable: {} = \"…\"; then replace the key, it has been on disk",
                self.env
            );
            section.key_problem(self.literal, "a literal credential in TOML is refused", remedy);
            return Found::Nowhere;
        }
        let variable = section.text(self.env);
        let file = self.file.and_then(|key| section.text(key).map(|file| (key, file)));
        match (variable, file) {
            (Some(_), Some((key, _))) => {
                section.problem(key, format!("{} names a place already", self.env), "keep one of the two");
                Found::Nowhere
            }
            (None, Some((key, file))) => from_file(section, key, file),
            (Some(variable), None) if !is_variable(variable) => {
                // Not quoted: it may be the credential itself, put into the wrong place.
                section.key_problem(
                    self.env,
                    "is no name of an environment variable",
                    "write the variable's name, such as OPENAI_API_KEY, not its value",
                );
                Found::Nowhere
            }
            (variable, None) => match variable.or(self.default) {
                Some(variable) => from_variable(environment, variable),
                None => Found::Nowhere,
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
        Some(value) if !value.is_empty() => Found::Key(Secret::new(value)),
        _ => Found::Absent(variable.to_owned()),
    }
}

fn from_file(section: &Section<'_>, key: &str, file: &str) -> Found {
    match std::fs::read_to_string(file).map(Zeroizing::new) {
        Ok(text) if text.trim().is_empty() => Found::Absent(file.to_owned()),
        Ok(text) => {
            if std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
                section.notes().warning(format!(
                    "{}: {}: {file} is open to other users; chmod 600 it",
                    section.file().display(),
                    section.path(key)
                ));
            }
            Found::Key(Secret::new(text.trim()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Found::Absent(file.to_owned()),
        Err(error) => {
            section.key_problem(
                key,
                format!("{file} cannot be read ({error})"),
                "let the user that runs aigw read it, or name another file",
            );
            Found::Nowhere
        }
    }
}

/// Why a provider's key cannot travel in a header; `None` if it can.
pub fn provider_key_fault(key: &Secret) -> Option<(&'static str, &'static str)> {
    let is_visible = key.expose().bytes().all(|byte| byte.is_ascii_graphic());
    (!is_visible)
        .then_some(("the key has a space, a line break or another byte that no header may carry", "copy it again from the provider"))
}

/// Texts that stand in tutorials and not in tokens.
const KNOWN_DEFAULTS: [&str; 8] = ["sk-1234", "changeme", "change-me", "change_me", "password", "passw0rd", "letmein", "qwertyuiop"];

/// Why an admin token is refused; `None` if it is good.
pub fn admin_token_fault(token: &Secret) -> Option<&'static str> {
    let token = token.expose();
    let lower = Zeroizing::new(token.to_ascii_lowercase());
    if token.len() < 32 {
        Some("the admin token has fewer than 32 characters")
    } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("the admin token has a byte that no header may carry")
    } else if token.bytes().collect::<BTreeSet<_>>().len() < 10 {
        Some("the admin token has fewer than 10 distinct characters")
    } else if KNOWN_DEFAULTS.iter().any(|known| lower.contains(known)) {
        Some("the admin token holds a well-known default")
    } else if ["aigw-sk-", "aigw-tk-", "aigw-ek-"].iter().any(|prefix| token.starts_with(prefix)) {
        Some("the admin token has the form of a virtual key, tenant key or edge key")
    } else {
        None
    }
}

/// A master key, spelled in one way: standard base64 with padding.
///
/// # Errors
/// Why it is refused.
pub fn master_key(text: &Secret) -> Result<Secret, &'static str> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decode = |alphabet| GeneralPurpose::new(alphabet, lenient).decode(text.expose());
    let bytes = Zeroizing::new(decode(&STANDARD).or_else(|_| decode(&URL_SAFE)).map_err(|_| "the master key is no base64")?);
    if bytes.len() != 32 {
        return Err("the master key is not 32 bytes long");
    }
    if bytes.iter().all(|byte| *byte == bytes[0]) {
        return Err("all bytes of the master key are equal");
    }
    Ok(Secret::new(general_purpose::STANDARD.encode(bytes.as_slice())))
}
