//! `aigw ledger`: lists entries, follows new ones, or shows one in full.

mod figures;
mod filters;
mod tail;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

use super::client::AdminOptions;
use super::error::CommandError;
use super::format::{count, dollars, local_time, milliseconds};
use super::output::print;
use super::table::{Column, card, escape_controls, number, plain, render, text};
use crate::terms::NanoUsd;
use figures::{entries, figures_of};
use filters::Filters;

#[derive(Debug, Args)]
pub(super) struct LedgerArguments {
    #[command(subcommand)]
    verb: LedgerCommand,
    #[command(flatten)]
    remote: AdminOptions,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// List entries, newest first
    List {
        #[command(flatten)]
        filters: Filters,
        /// Number of entries
        #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Start after this position: the next_cursor of the previous page
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Print the latest entries, oldest first
    Tail {
        #[command(flatten)]
        filters: Filters,
        /// Number of entries
        #[arg(long, short = 'n', default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=1_000))]
        limit: u32,
        /// Keep printing new entries
        #[arg(long, short)]
        follow: bool,
    },
    /// Show one entry with all fields and attempts
    Show {
        /// The request id, from the response header x-request-id
        request_id: String,
    },
}

pub(super) fn run(arguments: LedgerArguments) -> Result<(), CommandError> {
    let LedgerArguments { verb, remote } = arguments;
    let admin = remote.connect()?;
    let answer = match verb {
        LedgerCommand::List { filters, limit, cursor } => {
            let mut query = filters.query(Timestamp::now());
            query.push(("limit", limit.to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            admin.get(&["ledger"], &query)?
        }
        LedgerCommand::Show { request_id } => admin.get(&["ledger", &request_id], &[])?,
        LedgerCommand::Tail { filters, limit, follow } => return tail::run(&admin, remote.json, &filters, limit, follow),
    };
    print(&if remote.json {
        format!("{answer}\n")
    } else if answer.get("data").is_some() {
        table(&answer)
    } else {
        whole(&answer)
    })
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
    let hint = if more.is_empty() { String::new() } else { format!("more: --cursor {}\n", escape_controls(&more)) };
    render(&columns, rows.collect(), "no matching entries") + &hint
}

/// Formats all fields of an entry, then one line per attempt.
fn whole(entry: &Value) -> String {
    let fields: Vec<(&str, String)> = entry.as_object().into_iter().flatten().filter(|(name, _)| *name != "attempts").map(shown).collect();
    let attempts = entry.get("attempts").and_then(Value::as_array).into_iter().flatten().enumerate();
    let attempts = attempts.map(|(nth, attempt)| {
        let end = match (text(attempt, "error"), text(attempt, "status")) {
            (error, status) if error.is_empty() => status,
            (error, status) => format!("{status} {error}"),
        };
        let line = format!("{} {} {}", text(attempt, "provider"), end.trim(), milliseconds(number(attempt, "ms")));
        format!("attempt {}  {}\n", nth + 1, escape_controls(&line))
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
    fn an_entry_is_shown_in_full_with_its_attempts() {
        let entry = json!({"request_id": "r1", "prompt_tokens": 1_200, "cost_nanousd": 1_500, "team": null,
            "attempts": [{"provider": "1-a", "status": null, "error": "connect", "ms": 12}, {"provider": "2-b", "status": 200, "error": null, "ms": 480}]});
        let expected = "request_id     r1\nprompt_tokens  1,200\ncost           $0.0000015\n\
                        attempt 1  1-a connect 12 ms\nattempt 2  2-b 200 480 ms\n";
        assert_eq!(whole(&entry), expected);
    }

    #[test]
    fn a_page_with_a_successor_shows_the_cursor() {
        let list = json!({"data": [{"request_id": "r1", "status": 200}], "has_more": true, "next_cursor": "abc"});
        assert!(table(&list).ends_with("more: --cursor abc\n"));
    }
}
