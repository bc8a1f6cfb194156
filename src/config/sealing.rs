//! `[sealing]`: master key and edge key.

use std::time::Duration;

use super::environment::Environment;
use super::secret_source::{self, Found, SecretSource};
use super::section::Section;
use crate::secret::Secret;

/// Upper limit of `cache` (spec/security.md 1.6).
const LONGEST_CACHE: Duration = Duration::from_secs(300);

/// `[sealing]`: the master key and this gateway's edge key.
#[derive(Debug, Default)]
pub struct Sealing {
    /// Master key, 32 bytes in base64; `None`: BYO is off.
    pub master_key: Option<Secret>,
    /// Previous master key, needed while anything is still sealed under it.
    pub old_master_key: Option<Secret>,
    /// This gateway's edge; `None`: the edge `local`.
    pub edge: Option<EdgeIdentity>,
    /// Time a worker caches an opened provider key of a tenant.
    pub cache: Duration,
}

/// Edge made by `aigw edge add`.
#[derive(Debug)]
pub struct EdgeIdentity {
    /// Edge id.
    pub id: String,
    /// Edge key, `aigw-ek-…`. Its form is checked at start.
    pub key: Secret,
}

/// Reads `[sealing]`.
pub(super) fn read(root: &mut Section<'_>, environment: &dyn Environment) -> Sealing {
    const FILE: &str = "master_key_file";
    const SOURCE: SecretSource =
        SecretSource { env: "master_key_env", file: Some(FILE), literal: "master_key", default: Some("AIGW_MASTER_KEY") };
    let mut section = root.section_or_empty("sealing");
    let found = SOURCE.find(&mut section, environment);
    let key = if section.has(FILE) { FILE } else { SOURCE.env };
    let master_key = match found {
        Found::Secret(text) => secret_source::master_key(&text)
            .map_err(|fault| {
                let remedy = "make one with: openssl rand -base64 32; keep it, sealed provider keys cannot be opened without it";
                section.key_problem(key, fault, remedy);
            })
            .ok(),
        Found::Missing(file) if key == FILE => {
            let remedy = "put the master key there, or leave master_key_file out to run without BYO";
            section.key_problem(FILE, format!("{file} does not exist or is empty"), remedy);
            None
        }
        Found::Missing(_) if section.has("edge") => None,
        Found::Missing(variable) => {
            section.diagnostics().warning(format!("tenants cannot bring provider keys of their own: {variable} is not set"));
            None
        }
        Found::Nothing => None,
    };
    let old_master_key = old_master_key(&mut section, environment);
    let edge = edge(&mut section, environment);
    let cache = section.duration_up_to("cache", LONGEST_CACHE).unwrap_or(Duration::from_secs(60));
    section.done();
    Sealing { master_key, old_master_key, edge, cache }
}

/// Reads the previous master key, present only during `aigw seal rotate`.
fn old_master_key(section: &mut Section<'_>, environment: &dyn Environment) -> Option<Secret> {
    const FILE: &str = "old_master_key_file";
    const SOURCE: SecretSource =
        SecretSource { env: "old_master_key_env", file: Some(FILE), literal: "old_master_key", default: Some("AIGW_OLD_MASTER_KEY") };
    let Found::Secret(text) = SOURCE.find(section, environment) else { return None };
    let key = if section.has(FILE) { FILE } else { SOURCE.env };
    let remedy = "set it to the previous master key, or remove it if nothing is sealed under it";
    secret_source::master_key(&text).map_err(|fault| section.key_problem(key, fault, remedy)).ok()
}

/// Reads edge id and edge key, which must be set together.
fn edge(section: &mut Section<'_>, environment: &dyn Environment) -> Option<EdgeIdentity> {
    const FILE: &str = "edge_key_file";
    const SOURCE: SecretSource =
        SecretSource { env: "edge_key_env", file: Some(FILE), literal: "edge_key", default: Some("AIGW_EDGE_KEY") };
    let found = SOURCE.find(section, environment);
    let key = if section.has(FILE) { FILE } else { SOURCE.env };
    match (section.text("edge").map(str::to_owned), found) {
        (Some(id), Found::Secret(secret)) => Some(EdgeIdentity { id, key: secret }),
        (Some(id), _) => {
            section.key_problem(key, format!("the key of edge {id:?} is missing"), "set it to what `aigw edge add` printed");
            None
        }
        (None, Found::Secret(_)) => {
            section.key_problem(key, "an edge key without an edge id", "add edge = \"ID\", the id given to `aigw edge add`");
            None
        }
        (None, _) => None,
    }
}
