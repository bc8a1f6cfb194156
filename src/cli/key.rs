//! `aigw key`: manages virtual keys. A key is printed once, when it is created; no later call can
//! show it.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::client::AdminOptions;
use super::error::CommandError;
use super::format::local_time;
use super::output::print;
use super::table::{Column, card, render, text};
use super::time_argument::TimeArgument;

#[derive(Debug, Args)]
pub(super) struct KeyArguments {
    #[command(subcommand)]
    verb: KeyCommand,
    #[command(flatten)]
    remote: AdminOptions,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// List a tenant's keys
    List {
        /// The tenant's id
        tenant: String,
    },
    /// Create a key; it is printed once
    Create(Box<Create>),
    /// Revoke a key with immediate effect
    Revoke {
        /// The tenant's id
        tenant: String,
        /// The key's id, key_…
        key: String,
    },
    /// Replace a key with a new one that has the same settings
    Rotate {
        /// The tenant's id
        tenant: String,
        /// The key's id, key_…
        key: String,
        /// Time that the old key keeps working, such as 1h
        #[arg(long, default_value = "0s", value_name = "DURATION")]
        grace: String,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The tenant's id
    tenant: String,
    /// Display name
    #[arg(long)]
    name: Option<String>,
    /// The user or service that the key stands for
    #[arg(long)]
    subject: Option<String>,
    /// The team
    #[arg(long)]
    team: Option<String>,
    /// Tag for every request made with the key; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Allow only these models; may be repeated or separated by commas
    #[arg(long = "model", value_name = "MODEL", value_delimiter = ',')]
    models: Vec<String>,
    /// Budget in cents per calendar month (UTC)
    #[arg(long, value_name = "CENTS")]
    monthly_budget_cents: Option<u64>,
    /// Limit of requests per minute
    #[arg(long)]
    rpm: Option<u32>,
    /// Limit of tokens per minute
    #[arg(long)]
    tpm: Option<u32>,
    /// Limit of concurrent requests
    #[arg(long)]
    max_concurrency: Option<u32>,
    /// Expiry: a duration from now such as 90d, or a date
    #[arg(long, value_name = "WHEN")]
    expires: Option<TimeArgument>,
}

pub(super) fn run(arguments: KeyArguments) -> Result<(), CommandError> {
    let KeyArguments { verb, remote } = arguments;
    let admin = remote.connect()?;
    let (answer, shown): (Value, fn(&Value) -> String) = match verb {
        KeyCommand::List { tenant } => (admin.list(&["tenants", &tenant, "keys"], &[])?, all),
        KeyCommand::Create(create) => (admin.post(&["tenants", &create.tenant, "keys"], &create.body(Timestamp::now()))?, made),
        KeyCommand::Revoke { tenant, key } => (admin.delete(&["tenants", &tenant, "keys", &key])?, |_| String::from("revoked\n")),
        KeyCommand::Rotate { tenant, key, grace } => {
            (admin.post(&["tenants", &tenant, "keys", &key, "rotate"], &json!({ "grace": grace }))?, made)
        }
    };
    print(&if remote.json { format!("{answer}\n") } else { shown(&answer) })
}

impl Create {
    fn body(&self, now: Timestamp) -> Value {
        let tags: Map<String, Value> = self.tags.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let fields = [
            ("name", self.name.clone().map(Value::from)),
            ("subject", self.subject.clone().map(Value::from)),
            ("team", self.team.clone().map(Value::from)),
            ("tags", (!tags.is_empty()).then_some(Value::Object(tags))),
            ("allowed_models", (!self.models.is_empty()).then(|| json!(self.models))),
            ("monthly_budget_cents", self.monthly_budget_cents.map(Value::from)),
            ("rpm", self.rpm.map(Value::from)),
            ("tpm", self.tpm.map(Value::from)),
            ("max_concurrency", self.max_concurrency.map(Value::from)),
            ("expires_at", self.expires.map(|when| Value::from(when.after(now).div_euclid(1_000)))),
        ];
        fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))).collect()
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write a tag as name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn all(list: &Value) -> String {
    let columns = [
        Column::Left("KEY"),
        Column::Left("NAME"),
        Column::Left("SUBJECT"),
        Column::Left("TEAM"),
        Column::Left("MODELS"),
        Column::Left("EXPIRES"),
        Column::Left("REVOKED"),
    ];
    let keys = list.get("data").and_then(Value::as_array);
    let rows = keys.into_iter().flatten().map(|key| {
        let models = if key.get("allowed_models").is_none_or(Value::is_null) { String::from("all") } else { text(key, "allowed_models") };
        let named = ["id", "name", "subject", "team"].map(|field| text(key, field));
        named.into_iter().chain([models, time(key, "expires_at"), time(key, "revoked_at")]).collect()
    });
    render(&columns, rows.collect(), "no keys yet; create one with `aigw key create TENANT --name NAME`")
}

/// Formats a new key; the key itself comes last, so that it is easy to copy.
fn made(key: &Value) -> String {
    let plain =
        ["id", "tenant", "name", "subject", "team", "tags", "allowed_models", "monthly_budget_cents", "rpm", "tpm", "max_concurrency"];
    let mut fields: Vec<_> = plain.into_iter().map(|field| (field, text(key, field))).collect();
    fields.push(("expires", time(key, "expires_at")));
    fields.push(("key", text(key, "key")));
    card(&fields) + "\nThe key is shown only once: save it now.\n"
}

/// Formats a field of Unix seconds as local time.
fn time(key: &Value, field: &str) -> String {
    key.get(field).and_then(Value::as_i64).map(|seconds| local_time(seconds.saturating_mul(1_000))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    #[test]
    fn only_given_options_are_sent() {
        let line = Line::parse_from(["key", "acme", "--name", "ci", "--model", "gpt,claude", "--tag", "project=apollo", "--rpm", "60"]);
        let body = line.create.body(Timestamp::UNIX_EPOCH);
        assert_eq!(body, json!({"name": "ci", "tags": {"project": "apollo"}, "allowed_models": ["gpt", "claude"], "rpm": 60}));
    }

    #[test]
    fn an_expiry_becomes_unix_seconds() {
        let line = Line::parse_from(["key", "acme", "--expires", "1h"]);
        assert_eq!(line.create.body(Timestamp::UNIX_EPOCH), json!({"expires_at": 3_600}));
    }

    #[test]
    fn a_tag_needs_a_name_and_a_value() {
        assert!(tag("apollo").is_err());
        assert_eq!(tag("url=a=b"), Ok((String::from("url"), String::from("a=b"))));
    }
}
