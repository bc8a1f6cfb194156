//! `[kind.NAME]`: kinds of providers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::diagnostics::did_you_mean;
use super::endpoint::{self, Auth};
use super::retry::{self, RetryPolicy};
use super::section::Section;
use super::{names, quirks};
use crate::dialect::contract::Dialect;
use crate::dialect::openai::OpenAi;
use crate::dialect::quirks::Quirks;
use crate::dialect::registry;
use crate::guard::NetworkAccess;
use crate::terms::{KindName, Operation};

/// A kind of provider.
#[derive(Debug)]
pub struct Kind {
    /// Name.
    pub name: KindName,
    /// Wire language.
    pub dialect: &'static dyn Dialect,
    /// Base URL without a trailing slash; `None` for dialects that are not remote.
    pub base_url: Option<String>,
    /// How the key is sent.
    pub auth: Auth,
    /// Static request headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Static query parameters.
    pub query: Vec<(String, String)>,
    /// Path below the base URL of each supported operation; `{model}` stands for the upstream model.
    pub paths: BTreeMap<Operation, String>,
    /// Request adjustments.
    pub quirks: Arc<Quirks>,
    /// Addresses it may connect to.
    pub network: NetworkAccess,
    /// Retry settings, defaults of `[retry]` included.
    pub retry: RetryPolicy,
}

/// Kinds of all files, by name.
pub type Kinds = BTreeMap<KindName, Arc<Kind>>;

/// Reads the kinds of one file into `kinds`.
pub(super) fn read(root: &mut Section<'_>, defaults: &RetryPolicy, kinds: &mut Kinds) {
    for (name, mut section) in root.sections("kind") {
        names::check_name(&section, name, "kind");
        let kind = kind(name, &mut section, defaults);
        if kinds.contains_key(name) {
            section.problem("", "this kind is already defined in another file", "keep one definition or rename this one");
        } else {
            kinds.insert(name.into(), Arc::new(kind));
        }
        section.done();
    }
}

fn kind(name: &str, section: &mut Section<'_>, defaults: &RetryPolicy) -> Kind {
    if section.value("api_key").is_some() {
        let remedy =
            "name its environment variable in a provider of this kind: api_key_env = \"…\"; then replace the key, it has been on disk";
        section.key_problem("api_key", "a literal credential in TOML is refused", remedy);
    }
    let dialect = dialect(section);
    let auth = endpoint::auth(section, if dialect.is_remote() { Auth::Bearer } else { Auth::None });
    let network = endpoint::network_access(section, &NetworkAccess::default());
    let base_url = endpoint::base_url(section, &network);
    if base_url.is_some() && !dialect.is_remote() {
        section.problem("base_url", format!("the dialect {} makes no calls", dialect.name()), "remove base_url");
    }
    Kind {
        name: name.into(),
        dialect,
        base_url,
        headers: endpoint::headers(section, &auth, &[]),
        auth,
        query: endpoint::query(section, &[]),
        paths: paths(section, dialect),
        quirks: Arc::new(quirks::read(section, dialect)),
        network,
        retry: retry::read(section, defaults),
    }
}

fn dialect(section: &mut Section<'_>) -> &'static dyn Dialect {
    let Some(name) = section.text("dialect") else { return &OpenAi };
    registry::by_name(name).unwrap_or_else(|| {
        let known = registry::ALL.iter().map(|dialect| dialect.name());
        section.problem("dialect", format!("{name:?} is not a dialect"), did_you_mean(name, known));
        &OpenAi
    })
}

/// Returns the path of each operation: the dialect's, limited to `operations`, overridden by `paths`.
fn paths(section: &mut Section<'_>, dialect: &dyn Dialect) -> BTreeMap<Operation, String> {
    let supported = || Operation::ALL.into_iter().filter(|operation| dialect.path(*operation).is_some());
    let names = || supported().map(Operation::as_str);
    let find = |section: &Section<'_>, key: &str, name: &str| {
        let operation = Operation::from_name(name).filter(|operation| dialect.path(*operation).is_some());
        if operation.is_none() {
            section.problem(key, format!("the dialect {} has no operation {name:?}", dialect.name()), did_you_mean(name, names()));
        }
        operation
    };
    let listed: Option<Vec<Operation>> =
        section.texts("operations").map(|named| named.into_iter().filter_map(|name| find(section, "operations", name)).collect());
    let mut paths: BTreeMap<Operation, String> = supported()
        .filter(|operation| listed.as_ref().is_none_or(|listed| listed.contains(operation)))
        .filter_map(|operation| Some((operation, dialect.path(operation)?.trim_start_matches('/').to_owned())))
        .collect();
    for (name, path) in section.pairs("paths").unwrap_or_default() {
        let Some(operation) = find(section, "paths", name) else { continue };
        if !is_path(path) {
            section.problem(
                "paths",
                format!("{path:?} is not a path"),
                "write one such as \"deployments/{model}/chat/completions\"; put parameters into query",
            );
        } else if let Some(known) = paths.get_mut(&operation) {
            path.trim_start_matches('/').clone_into(known);
        } else {
            section.problem("paths", format!("{name:?} is not an operation of this kind"), "add it to operations or remove its path");
        }
    }
    paths
}

/// Reports whether `path` is a valid path below a base URL; `{model}` is the only placeholder.
fn is_path(path: &str) -> bool {
    let plain = path.trim_start_matches('/').replace("{model}", "model");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=".contains(&byte);
    plain.bytes().all(is_plain) && plain.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..")
}
