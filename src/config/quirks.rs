//! Request adjustments of a kind (`request`, `stream_usage`) and the settings of the simulator.

use ::toml::Value;

use super::section::Section;
use crate::dialect::contract::Dialect;
use crate::dialect::quirks::{Quirks, Simulate};

/// Reads `stream_usage`, `request` and `simulate`.
pub(super) fn read(section: &mut Section<'_>, dialect: &dyn Dialect) -> Quirks {
    let mut quirks = Quirks { stream_usage: section.flag("stream_usage").unwrap_or(true), ..Quirks::default() };
    if let Some(mut request) = section.section("request") {
        quirks.rename = owned(request.pairs("rename").unwrap_or_default());
        quirks.drop = request.texts("drop").unwrap_or_default().into_iter().map(str::to_owned).collect();
        quirks.set = request.section("set").map(|set| json_members(&set)).unwrap_or_default();
        check_fields(&request, &quirks);
        request.done();
    }
    if let Some(mut simulate) = section.section("simulate") {
        if dialect.is_remote() {
            section.problem(
                "simulate",
                format!("the dialect {} has no simulate table", dialect.name()),
                "remove it or use dialect = \"simulator\"",
            );
        }
        quirks.simulate = simulate_settings(&mut simulate);
        simulate.done();
    }
    quirks
}

/// Refuses quirks on `model` and `stream`: a request that changes them would run or bill something other
/// than what was authorized.
fn check_fields(request: &Section<'_>, quirks: &Quirks) {
    let renamed = quirks.rename.iter().flat_map(|(from, to)| [from, to]);
    let touched = renamed.chain(&quirks.drop).chain(quirks.set.iter().map(|(name, _)| name));
    for field in touched {
        if field.is_empty() {
            request.problem("", "a field has an empty name", "name it or remove it");
        } else if field == "model" || field == "stream" {
            request.problem("", format!("{field:?} is set by aigw"), "remove it; served_by.KIND.model names the upstream's model");
        }
    }
}

fn owned(pairs: Vec<(&str, &str)>) -> Vec<(String, String)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn json_members(set: &Section<'_>) -> Vec<(String, String)> {
    let member = |(name, value): (&str, &Value)| match json(value) {
        Some(value) => Some((name.to_owned(), value.to_string())),
        None => {
            set.problem(name, "JSON cannot express infinity, nan or dates", "write a finite number or a string");
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

/// Reads `simulate`.
fn simulate_settings(section: &mut Section<'_>) -> Simulate {
    let zero = std::time::Duration::ZERO;
    let rate = section.value("failure_rate").map(|value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64)));
    let failure_rate = rate.flatten().filter(|rate| (0.0..=1.0).contains(rate));
    if rate.is_some() && failure_rate.is_none() {
        section.problem("failure_rate", "is not a fraction", "write a number between 0.0 and 1.0");
    }
    Simulate {
        latency: section.duration("latency", zero).unwrap_or_default(),
        chunk_delay: section.duration("chunk_delay", zero).unwrap_or_default(),
        failure_rate: failure_rate.unwrap_or_default(),
        failure_status: section.number("failure_status", 400..=599).and_then(|status| status.try_into().ok()).unwrap_or_default(),
    }
}
