//! Options that select ledger entries, and the query parameters they become.

use clap::Args;
use jiff::Timestamp;

use crate::cli::time_argument::TimeArgument;

#[derive(Debug, Args)]
pub(in crate::cli) struct Filters {
    /// Only this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Only this key (its id)
    #[arg(long)]
    key: Option<String>,
    /// Only this model
    #[arg(long)]
    model: Option<String>,
    /// Only this provider
    #[arg(long)]
    provider: Option<String>,
    /// Only this subject
    #[arg(long)]
    subject: Option<String>,
    /// Only entries with this tag
    #[arg(long, value_name = "NAME=VALUE")]
    tag: Option<String>,
    /// Only this outcome: ok, client_error, upstream_error, interrupted, client_closed
    #[arg(long)]
    outcome: Option<String>,
    /// Start: a duration before now such as 1h, or a date
    #[arg(long, value_name = "WHEN")]
    since: Option<TimeArgument>,
    /// End, in the same format
    #[arg(long, value_name = "WHEN")]
    until: Option<TimeArgument>,
}

impl Filters {
    /// Returns the query parameters. `now` resolves relative times.
    pub fn query(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let fields = [
            ("tenant", self.tenant.clone()),
            ("key_id", self.key.clone()),
            ("model", self.model.clone()),
            ("provider", self.provider.clone()),
            ("subject", self.subject.clone()),
            ("tag", self.tag.clone()),
            ("outcome", self.outcome.clone()),
            ("from", self.since.map(|since| since.before(now).to_string())),
            ("to", self.until.map(|until| until.before(now).to_string())),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
