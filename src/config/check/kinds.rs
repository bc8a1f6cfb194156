//! `[kind.NAME]`: sorts of providers.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::toml::Value;

use super::{did_you_mean, names, retry, wire};
use crate::config::toml::Section;
use crate::config::{Auth, Kind, RetryPolicy};
use crate::dialect::{self, Dialect, Quirks, Simulate};
use crate::guard::NetworkAccess;
use crate::terms::{KindName, Operation};

/// The kinds of all files, by name.
pub type Kinds = BTreeMap<KindName, Arc<Kind>>;

/// Reads the kinds of one file into `kinds`.
pub fn read(root: &mut Section<'_>, defaults: &RetryPolicy, kinds: &mut Kinds) {
    for (name, mut section) in root.sections("kind") {
        names::check_name(&section, name, "kind");
        let kind = kind(name, &mut section, defaults);
        if kinds.contains_key(name) {
            section.problem("", "this kind is defined in another file already", "keep one definition, or give this one another name");
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
    let auth = wire::auth(section, if dialect.is_remote() { Auth::Bearer } else { Auth::None });
    let network = wire::network_access(section, &NetworkAccess::default());
    let base_url = wire::base_url(section, &network);
    if base_url.is_some() && !dialect.is_remote() {
        section.problem("base_url", format!("the dialect {} calls nobody", dialect.name()), "leave it out");
    }
    Kind {
        name: name.into(),
        dialect,
        base_url,
        headers: wire::headers(section, &auth, &[]),
        auth,
        query: wire::query(section, &[]),
        paths: paths(section, dialect),
        quirks: Arc::new(quirks(section, dialect)),
        network,
        retry: retry::read(section, defaults),
    }
}

fn dialect(section: &mut Section<'_>) -> &'static dyn Dialect {
    let Some(name) = section.text("dialect") else { return &dialect::openai::OpenAi };
    dialect::by_name(name).unwrap_or_else(|| {
        let known = dialect::ALL.iter().map(|dialect| dialect.name());
        section.problem("dialect", format!("{name:?} is no dialect"), did_you_mean(name, known));
        &dialect::openai::OpenAi
    })
}

/// The path of each operation: the dialect's, narrowed by `operations`, with `paths` laid over.
fn paths(section: &mut Section<'_>, dialect: &dyn Dialect) -> BTreeMap<Operation, String> {
    let able = || Operation::ALL.into_iter().filter(|operation| dialect.path(*operation).is_some());
    let names = || able().map(Operation::as_str);
    let find = |section: &Section<'_>, key: &str, name: &str| {
        let operation = Operation::from_name(name).filter(|operation| dialect.path(*operation).is_some());
        if operation.is_none() {
            section.problem(key, format!("the dialect {} has no operation {name:?}", dialect.name()), did_you_mean(name, names()));
        }
        operation
    };
    let wanted: Option<Vec<Operation>> =
        section.texts("operations").map(|named| named.into_iter().filter_map(|name| find(section, "operations", name)).collect());
    let mut paths: BTreeMap<Operation, String> = able()
        .filter(|operation| wanted.as_ref().is_none_or(|wanted| wanted.contains(operation)))
        .filter_map(|operation| Some((operation, dialect.path(operation)?.trim_start_matches('/').to_owned())))
        .collect();
    for (name, path) in section.pairs("paths").unwrap_or_default() {
        let Some(operation) = find(section, "paths", name) else { continue };
        if !is_path(path) {
            section.problem(
                "paths",
                format!("{path:?} is no path"),
                "write one such as \"deployments/{model}/chat/completions\", a query goes into query",
            );
        } else if let Some(known) = paths.get_mut(&operation) {
            path.trim_start_matches('/').clone_into(known);
        } else {
            section.problem("paths", format!("{name:?} is not among the kind's operations"), "add it to operations or leave its path out");
        }
    }
    paths
}

/// Whether `path` is a path below a base URL; `{model}` is the only placeholder.
fn is_path(path: &str) -> bool {
    let plain = path.trim_start_matches('/').replace("{model}", "model");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=".contains(&byte);
    plain.bytes().all(is_plain) && plain.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..")
}

fn quirks(section: &mut Section<'_>, dialect: &dyn Dialect) -> Quirks {
    let mut quirks = Quirks { stream_usage: section.flag("stream_usage").unwrap_or(true), ..Quirks::default() };
    if let Some(mut request) = section.section("request") {
        quirks.rename = own(request.pairs("rename").unwrap_or_default());
        quirks.drop = request.texts("drop").unwrap_or_default().into_iter().map(str::to_owned).collect();
        quirks.set = request.section("set").map(|set| json_members(&set)).unwrap_or_default();
        check_fields(&request, &quirks);
        request.done();
    }
    if let Some(mut simulate) = section.section("simulate") {
        if dialect.is_remote() {
            section.problem(
                "simulate",
                format!("the dialect {} simulates nothing", dialect.name()),
                "leave it out or use dialect = \"simulator\"",
            );
        }
        quirks.simulate = knobs(&mut simulate);
        simulate.done();
    }
    quirks
}

/// aigw itself sets which model is asked and whether it streams; a quirk that changes them would call or bill another thing
/// than was authorised.
fn check_fields(request: &Section<'_>, quirks: &Quirks) {
    let renamed = quirks.rename.iter().flat_map(|(from, to)| [from, to]);
    let touched = renamed.chain(&quirks.drop).chain(quirks.set.iter().map(|(name, _)| name));
    for field in touched {
        if field.is_empty() {
            request.problem("", "a field has no name", "name it or leave it out");
        } else if field == "model" || field == "stream" {
            request.problem("", format!("{field:?} is set by aigw"), "leave it out; served_by.KIND.model names the upstream's model");
        }
    }
}

fn own(pairs: Vec<(&str, &str)>) -> Vec<(String, String)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn json_members(set: &Section<'_>) -> Vec<(String, String)> {
    let member = |(name, value): (&str, &Value)| match json(value) {
        Some(value) => Some((name.to_owned(), value.to_string())),
        None => {
            set.problem(name, "JSON has no infinity, no nan and no dates", "write a finite number or a text");
            None
        }
    };
    set.entries().filter_map(member).collect()
}

fn json(value: &Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => serde_json::Number::from_f64(*number)?.into(),
        Value::Boolean(flag) => (*flag).into(),
        Value::Datetime(_) => return None,
        Value::Array(values) => values.iter().map(json).collect::<Option<Vec<_>>>()?.into(),
        Value::Table(table) => {
            let members = table.iter().map(|(name, value)| Some((name.clone(), json(value)?)));
            members.collect::<Option<serde_json::Map<_, _>>>()?.into()
        }
    })
}

/// `simulate`: the simulator's knobs.
fn knobs(section: &mut Section<'_>) -> Simulate {
    let zero = std::time::Duration::ZERO;
    let rate = section.value("failure_rate").map(|value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64)));
    let failure_rate = rate.flatten().filter(|rate| (0.0..=1.0).contains(rate));
    if rate.is_some() && failure_rate.is_none() {
        section.problem("failure_rate", "is no share of all calls", "write a number between 0.0 and 1.0");
    }
    Simulate {
        latency: section.duration("latency", zero).unwrap_or_default(),
        chunk_delay: section.duration("chunk_delay", zero).unwrap_or_default(),
        failure_rate: failure_rate.unwrap_or_default(),
        failure_status: section.number("failure_status", 400..=599).and_then(|status| status.try_into().ok()).unwrap_or_default(),
    }
}
