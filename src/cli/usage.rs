//! `aigw usage`: reports usage and cost by group, with a bar per row.

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::client::AdminOptions;
use super::error::CommandError;
use super::format::{bar, count, dollars, local_time};
use super::output::print;
use super::table::{Column, number, render, text};
use super::time_argument::TimeArgument;
use crate::terms::NanoUsd;

#[derive(Debug, Args)]
pub(super) struct UsageArguments {
    /// Dimensions to group by: any of tenant, team, key, subject, model, provider, tag:NAME
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "model")]
    by: Vec<By>,
    /// Start: a duration before now such as 30d, or a date
    #[arg(long, value_name = "WHEN", default_value = "30d")]
    since: TimeArgument,
    /// End, in the same format
    #[arg(long, value_name = "WHEN")]
    until: Option<TimeArgument>,
    /// Length of a time bucket; each bucket gets rows of its own
    #[arg(long, value_name = "1m|1h|1d|1mo")]
    bucket: Option<String>,
    /// Only this tenant
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    remote: AdminOptions,
}

/// A dimension of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
struct By(String);

pub(super) fn run(arguments: &UsageArguments) -> Result<(), CommandError> {
    let admin = arguments.remote.connect()?;
    let answer = admin.list(&["usage"], &arguments.query(Timestamp::now()))?;
    print(&if arguments.remote.json { format!("{answer}\n") } else { arguments.shown(&answer) })
}

impl UsageArguments {
    fn query(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let groups: Vec<_> = self.by.iter().map(|by| by.0.as_str()).collect();
        let mut query = vec![("group_by", groups.join(",")), ("from", self.since.before(now).to_string())];
        query.extend(self.until.map(|until| ("to", until.before(now).to_string())));
        query.extend(self.bucket.clone().map(|width| ("bucket_width", width)));
        query.extend(self.tenant.clone().map(|tenant| ("tenant", tenant)));
        query
    }

    fn shown(&self, list: &Value) -> String {
        let rows: Vec<&Value> = list.get("data").and_then(Value::as_array).into_iter().flatten().collect();
        let (field, largest) = bar_scale(&rows);
        let mut columns: Vec<_> = self.bucket.iter().map(|_| Column::Left("FROM")).collect();
        columns.extend(self.by.iter().map(By::column));
        columns.extend(["REQUESTS", "PROMPT", "CACHED", "COMPLETION", "COST"].map(Column::Right));
        columns.push(Column::Left(""));
        let shown = rows.iter().map(|row| {
            let mut cells: Vec<_> = self.bucket.iter().map(|_| local_time(number(row, "start_time"))).collect();
            cells.extend(self.by.iter().map(|by| text(row, &by.0)));
            cells.extend(["requests", "prompt_tokens", "cached_tokens", "completion_tokens"].map(|field| count(number(row, field))));
            cells.push(dollars(NanoUsd(number(row, "cost_nanousd"))));
            cells.push(bar(number(row, field), largest, 20));
            cells
        });
        render(&columns, shown.collect(), "no usage in this period")
    }
}

/// Returns the field that the bars show, and its largest value: the cost, or the requests if
/// nothing cost anything.
fn bar_scale(rows: &[&Value]) -> (&'static str, i64) {
    let largest = |field| rows.iter().map(|row| number(row, field)).max().unwrap_or(0);
    match largest("cost_nanousd") {
        0 => ("requests", largest("requests")),
        cost => ("cost_nanousd", cost),
    }
}

impl By {
    fn column(&self) -> Column {
        Column::Left(match self.0.as_str() {
            "tenant" => "TENANT",
            "team" => "TEAM",
            "key" => "KEY",
            "subject" => "SUBJECT",
            "model" => "MODEL",
            "provider" => "PROVIDER",
            _ => "TAG",
        })
    }
}

impl std::str::FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = matches!(text, "tenant" | "team" | "key" | "subject" | "model" | "provider");
        let is_tag = text.strip_prefix("tag:").is_some_and(|name| !name.is_empty());
        if known || is_tag {
            Ok(By(text.to_owned()))
        } else {
            Err(String::from("must be any of tenant, team, key, subject, model, provider, tag:NAME"))
        }
    }
}
