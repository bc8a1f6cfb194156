//! Rules for ids and names: ASCII of at most 64 bytes (spec/security.md), safe in paths, headers, logs and SQL.

use super::section::Section;

/// Maximum length of ids and names, in bytes.
const LONGEST: usize = 64;

/// Rule for names of kinds, providers and tenants, as a remedy.
pub const NAME_RULE: &str = "use 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit";

/// Rule for ids and aliases of models, as a remedy.
pub const MODEL_RULE: &str = "use 1 to 64 of A-Z a-z 0-9 . _ - : / @ + and begin with a letter or digit";

/// Returns whether `name` is a valid name of a kind, provider or tenant.
pub fn is_name(name: &str) -> bool {
    is_made_of(name, b"._-")
}

/// Returns whether `id` is a valid model id or alias.
pub fn is_model(id: &str) -> bool {
    is_made_of(id, b"._-:/@+")
}

/// Returns whether `name` is a valid upstream model name: visible ASCII that needs no escaping in JSON.
pub fn is_upstream_model(name: &str) -> bool {
    (1..=256).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

fn is_made_of(name: &str, marks: &[u8]) -> bool {
    name.len() <= LONGEST
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
}

/// Records a problem if `name` is not a valid name.
pub fn check_name(section: &Section<'_>, name: &str, what: &str) {
    if !is_name(name) {
        section.problem("", format!("{name:?} cannot name a {what}"), NAME_RULE);
    }
}
