//! What ids and names may look like: ASCII of at most 64 bytes (spec/security.md), safe in paths, headers, logs and SQL.

use crate::config::toml::Section;

/// How long ids and names may be, in bytes.
const LONGEST: usize = 64;

/// The rule for names of kinds, providers and tenants, as a remedy.
pub const NAME_RULE: &str = "use 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit";

/// The rule for ids and aliases of models, as a remedy.
pub const MODEL_RULE: &str = "use 1 to 64 of A-Z a-z 0-9 . _ - : / @ + and begin with a letter or digit";

/// Whether `name` may name a kind, a provider or a tenant.
pub fn is_name(name: &str) -> bool {
    is_made_of(name, b"._-")
}

/// Whether `id` may name a model.
pub fn is_model(id: &str) -> bool {
    is_made_of(id, b"._-:/@+")
}

/// Whether a provider may know a model by this name: visible ASCII that JSON need not escape.
pub fn is_upstream_model(name: &str) -> bool {
    (1..=256).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

fn is_made_of(name: &str, marks: &[u8]) -> bool {
    name.len() <= LONGEST
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
}

/// Notes a problem with the section if its name is none.
pub fn check_name(section: &Section<'_>, name: &str, what: &str) {
    if !is_name(name) {
        section.problem("", format!("{name:?} cannot name a {what}"), NAME_RULE);
    }
}
