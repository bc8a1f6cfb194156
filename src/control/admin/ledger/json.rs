//! JSON format of an entry: flat (DESIGN.md section 7).

use schemars::JsonSchema;
use serde::Serialize;

use crate::control::admin::keys::object;
use crate::ledger::entry::{AttemptRecord, Entry};
use crate::terms::Usage;

/// A ledger entry.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Entry")]
pub struct EntryJson<'a> {
    id: &'a str,
    request_id: &'a str,
    created_at: i64,
    tenant: &'a str,
    team: Option<&'a str>,
    key_id: &'a str,
    subject: &'a str,
    user: Option<&'a str>,
    #[serde(serialize_with = "object")]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    tags: &'a [(String, String)],
    operation: &'static str,
    model: &'a str,
    upstream_model: &'a str,
    provider: &'a str,
    kind: &'a str,
    billing: &'static str,
    stream: bool,
    status: u16,
    outcome: &'static str,
    error_code: Option<&'a str>,
    finish_reason: Option<&'a str>,
    #[serde(flatten)]
    usage: Usage,
    usage_source: &'static str,
    cost_nanousd: i64,
    list_cost_nanousd: i64,
    attempts: &'a [AttemptRecord],
    latency_ms: u64,
    ttfb_ms: Option<u64>,
}

impl<'a> From<&'a Entry> for EntryJson<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            id: &entry.id,
            request_id: &entry.request_id,
            created_at: entry.created_at,
            tenant: &entry.tenant,
            team: entry.team.as_deref(),
            key_id: &entry.key_id,
            subject: &entry.subject,
            user: entry.user.as_deref(),
            tags: &entry.tags,
            operation: entry.operation.as_str(),
            model: &entry.model,
            upstream_model: &entry.upstream_model,
            provider: &entry.provider,
            kind: &entry.kind,
            billing: entry.billing.as_str(),
            stream: entry.stream,
            status: entry.status,
            outcome: entry.outcome.as_str(),
            error_code: entry.error_code.as_deref(),
            finish_reason: entry.finish_reason.as_deref(),
            usage: entry.usage,
            usage_source: entry.usage_source.as_str(),
            cost_nanousd: entry.cost.0,
            list_cost_nanousd: entry.list_cost.0,
            attempts: &entry.attempts,
            latency_ms: entry.latency_ms,
            ttfb_ms: entry.ttfb_ms,
        }
    }
}
