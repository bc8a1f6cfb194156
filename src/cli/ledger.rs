//! `aigw ledger`: the entries, newest first; the last ones as they come; one of them whole.

mod tail;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

use super::client::Remote;
use super::failure::Failure;
use super::moment::Moment;
use super::print;
use super::table::{Column, card, clean, number, plain, render, text};
use super::units::{count, dollars, local_time, milliseconds};
use crate::terms::NanoUsd;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Entries, newest first
    List {
        #[command(flatten)]
        filters: Filters,
        /// How many
        #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Where the last answer ended (its next_cursor)
        #[arg(long)]
        cursor: Option<String>,
    },
    /// The last entries, oldest first
    Tail {
        #[command(flatten)]
        filters: Filters,
        /// How many
        #[arg(long, short = 'n', default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=1_000))]
        limit: u32,
        /// Go on printing new ones
        #[arg(long, short)]
        follow: bool,
    },
    /// One entry with all its fields and attempts
    Show {
        /// The request's id, from the header x-request-id
        request_id: String,
    },
}

#[derive(Debug, Args)]
struct Filters {
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
    /// From when: 1h ago, or a date
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Until when
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { verb, remote } = arguments;
    let admin = remote.connect()?;
    let answer = match verb {
        Verb::List { filters, limit, cursor } => {
            let mut query = filters.query(Timestamp::now());
            query.push(("limit", limit.to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            admin.get(&["ledger"], &query)?
        }
        Verb::Show { request_id } => admin.get(&["ledger", &request_id], &[])?,
        Verb::Tail { filters, limit, follow } => return tail::run(&admin, remote.json, &filters, limit, follow),
    };
    print(&if remote.json {
        format!("{answer}\n")
    } else if answer.get("data").is_some() {
        table(&answer)
    } else {
        whole(&answer)
    })
}

impl Filters {
    fn query(&self, now: Timestamp) -> Vec<(&'static str, String)> {
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

fn entries(list: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    list.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

fn table(list: &Value) -> String {
    let words = ["TIME", "REQUEST", "TENANT", "SUBJECT", "MODEL", "PROVIDER", "OUTCOME"].map(Column::Left);
    let figures = ["STATUS", "PROMPT", "COMPLETION", "COST", "TIME TAKEN"].map(Column::Right);
    let columns: Vec<_> = words.into_iter().chain(figures).collect();
    let rows = entries(list).map(|entry| {
        let words = ["request_id", "tenant", "subject", "model", "provider", "outcome"].map(|field| text(entry, field));
        std::iter::once(local_time(number(entry, "created_at"))).chain(words).chain(figures_of(entry)).collect()
    });
    let more = text(list, "next_cursor");
    let hint = if more.is_empty() { String::new() } else { format!("more: --cursor {}\n", clean(&more)) };
    render(&columns, rows.collect(), "no such entries") + &hint
}

fn figures_of(entry: &Value) -> [String; 5] {
    [
        text(entry, "status"),
        count(number(entry, "prompt_tokens")),
        count(number(entry, "completion_tokens")),
        dollars(NanoUsd(number(entry, "cost_nanousd"))),
        milliseconds(number(entry, "latency_ms")),
    ]
}

/// Every field of an entry, its attempts a line each.
fn whole(entry: &Value) -> String {
    let fields: Vec<(&str, String)> = entry.as_object().into_iter().flatten().filter(|(name, _)| *name != "attempts").map(shown).collect();
    let attempts = entry.get("attempts").and_then(Value::as_array).into_iter().flatten().enumerate();
    let attempts = attempts.map(|(nth, attempt)| {
        let end = match (text(attempt, "error"), text(attempt, "status")) {
            (error, status) if error.is_empty() => status,
            (error, status) => format!("{status} {error}"),
        };
        let line = format!("{} {} {}", text(attempt, "provider"), end.trim(), milliseconds(number(attempt, "ms")));
        format!("attempt {}  {}\n", nth + 1, clean(&line))
    });
    card(&fields) + &attempts.collect::<String>()
}

fn shown<'a>((name, value): (&'a String, &'a Value)) -> (&'a str, String) {
    let text = match (name.as_str(), value.as_i64()) {
        ("created_at", Some(time)) => local_time(time),
        ("cost_nanousd" | "list_cost_nanousd", Some(amount)) => dollars(NanoUsd(amount)),
        ("latency_ms" | "ttfb_ms", Some(time)) => milliseconds(time),
        (name, Some(tokens)) if name.ends_with("_tokens") => count(tokens),
        _ => plain(value),
    };
    (name.trim_end_matches("_nanousd").trim_end_matches("_ms"), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_is_shown_whole_with_its_attempts() {
        let entry = json!({"request_id": "r1", "prompt_tokens": 1_200, "cost_nanousd": 1_500, "team": null,
            "attempts": [{"provider": "1-a", "status": null, "error": "connect", "ms": 12}, {"provider": "2-b", "status": 200, "error": null, "ms": 480}]});
        let expected = "request_id     r1\nprompt_tokens  1,200\ncost           $0.0000015\n\
                        attempt 1  1-a connect 12 ms\nattempt 2  2-b 200 480 ms\n";
        assert_eq!(whole(&entry), expected);
    }

    #[test]
    fn a_page_that_goes_on_says_how() {
        let list = json!({"data": [{"request_id": "r1", "status": 200}], "has_more": true, "next_cursor": "abc"});
        assert!(table(&list).ends_with("more: --cursor abc\n"));
    }
}
