//! Export of entries as CSV. Reads a page after the previous one was sent, so that an export of any
//! length needs the memory of one page.

use std::sync::Arc;

use actix_web::HttpResponse;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::control::Control;
use crate::control::admin::error::AdminError;
use crate::control::admin::page::MAX_LIMIT;
use crate::control::error::ControlError;
use crate::control::store::entries::{LedgerFilter, PageCursor};
use crate::ledger::entry::Entry;

/// State of an export.
struct Export {
    control: Arc<Control>,
    filter: LedgerFilter,
    after: Option<PageCursor>,
    /// Entries left to send; `None`: all.
    left: Option<usize>,
    page: Vec<Entry>,
}

const COLUMNS: [&str; 32] = [
    "id",
    "request_id",
    "created_at",
    "tenant",
    "team",
    "key_id",
    "subject",
    "user",
    "tags",
    "operation",
    "model",
    "upstream_model",
    "provider",
    "kind",
    "billing",
    "stream",
    "status",
    "outcome",
    "error_code",
    "finish_reason",
    "prompt_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "usage_source",
    "cost_nanousd",
    "list_cost_nanousd",
    "attempts",
    "latency_ms",
    "ttfb_ms",
];

/// Streams all entries after `after`, or the first `limit` of them. Reads the first page before the
/// response starts, so that an unreachable database is reported with a status code. A later failure
/// aborts the response.
pub async fn answer(
    control: Arc<Control>,
    filter: LedgerFilter,
    after: Option<PageCursor>,
    limit: Option<usize>,
) -> Result<HttpResponse, AdminError> {
    let mut export = Export { control, filter, after, left: limit, page: Vec::new() };
    export.advance().await?;
    let head = text(std::iter::once(COLUMNS.map(str::to_owned)))?;
    let body = stream::try_unfold(export, |mut export| async move {
        if export.page.is_empty() {
            return Ok(None);
        }
        let chunk = text(export.page.iter().map(record))?;
        export.advance().await?;
        Ok::<_, ControlError>(Some((chunk, export)))
    });
    let body = stream::iter([Ok(head)]).chain(body).map_err(AdminError::from);
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header(("content-disposition", "attachment; filename=\"ledger.csv\""))
        .streaming(body))
}

impl Export {
    async fn advance(&mut self) -> Result<(), ControlError> {
        if let Some(last) = self.page.last() {
            self.after = Some(PageCursor { created_at: last.created_at, id: last.id.clone() });
        }
        let limit = self.left.unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
        self.page = if limit == 0 { Vec::new() } else { self.control.entries(self.filter.clone(), self.after.clone(), limit).await? };
        self.left = self.left.map(|left| left - self.page.len());
        Ok(())
    }
}

fn text<const N: usize>(records: impl Iterator<Item = [String; N]>) -> Result<Bytes, ControlError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory fails only for records of unequal length, which the type rules out.
    for record in records {
        writer.write_record(record).map_err(|_| ControlError::Interrupted)?;
    }
    writer.into_inner().map(Bytes::from).map_err(|_| ControlError::Interrupted)
}

fn record(entry: &Entry) -> [String; 32] {
    let optional = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let tags: serde_json::Map<_, _> = entry.tags.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    [
        entry.id.clone(),
        entry.request_id.to_string(),
        entry.created_at.to_string(),
        entry.tenant.to_string(),
        optional(entry.team.as_deref()),
        entry.key_id.to_string(),
        entry.subject.to_string(),
        optional(entry.user.as_deref()),
        serde_json::Value::Object(tags).to_string(),
        entry.operation.to_string(),
        entry.model.to_string(),
        entry.upstream_model.to_string(),
        entry.provider.to_string(),
        entry.kind.to_string(),
        entry.billing.as_str().to_owned(),
        entry.stream.to_string(),
        entry.status.to_string(),
        entry.outcome.as_str().to_owned(),
        optional(entry.error_code.as_deref()),
        optional(entry.finish_reason.as_deref()),
        entry.usage.prompt_tokens.to_string(),
        entry.usage.cached_tokens.to_string(),
        entry.usage.cache_write_tokens.to_string(),
        entry.usage.cache_write_1h_tokens.to_string(),
        entry.usage.completion_tokens.to_string(),
        entry.usage.reasoning_tokens.to_string(),
        entry.usage_source.as_str().to_owned(),
        entry.cost.0.to_string(),
        entry.list_cost.0.to_string(),
        serde_json::to_string(&entry.attempts).unwrap_or_default(),
        entry.latency_ms.to_string(),
        entry.ttfb_ms.map(|ms| ms.to_string()).unwrap_or_default(),
    ]
}
