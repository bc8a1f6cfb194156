//! `aigw provider`: the health of the operator's providers, a tenant's chain, and a tenant's own accounts.
//!
//! A provider key comes from standard input or a hidden prompt. There is no option for it: arguments are seen by every user of
//! the machine and kept in shell histories.

use std::io::{IsTerminal, Read};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::Remote;
use super::failure::Failure;
use super::print;
use super::table::{Column, card, render, text};
use super::units::local_time;
use crate::secret::Secret;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The operator's providers and their health; with a tenant: that tenant's providers in the order they are tried
    List {
        /// The tenant's id
        tenant: Option<String>,
        /// Only those that serve this model
        #[arg(long, requires = "tenant")]
        model: Option<String>,
    },
    /// Add or change a tenant's own provider; the key is read from standard input or asked for
    Set {
        /// The tenant's id
        tenant: String,
        /// The provider's name, such as 1-groq; the order of the names is the order they are tried in
        name: String,
        /// Its kind, such as groq
        #[arg(long)]
        kind: String,
        /// Where it is, if not where its kind is
        #[arg(long)]
        base_url: Option<String>,
        /// Whether it is used
        #[arg(long, value_name = "true|false")]
        enabled: Option<bool>,
    },
    /// Remove a tenant's own provider and its key
    Remove {
        /// The tenant's id
        tenant: String,
        /// The provider's name
        name: String,
    },
    /// Seal a provider's key again after its kind's base_url moved
    Reseal {
        /// The tenant's id
        tenant: String,
        /// The provider's name
        name: String,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { verb, remote } = arguments;
    let admin = remote.connect()?;
    let (answer, shown): (Value, fn(&Value) -> String) = match verb {
        Verb::List { tenant: None, .. } => (admin.list(&["providers"], &[])?, health),
        Verb::List { tenant: Some(tenant), model } => {
            let query: Vec<_> = model.into_iter().map(|model| ("model", model)).collect();
            (admin.list(&["tenants", &tenant, "providers"], &query)?, chain)
        }
        Verb::Set { tenant, name, kind, base_url, enabled } => {
            let key = provider_key(&name)?;
            let body = body(&kind, base_url, enabled, key.as_ref());
            (admin.put(&["tenants", &tenant, "providers", &name], &body)?, one)
        }
        Verb::Remove { tenant, name } => (admin.delete(&["tenants", &tenant, "providers", &name])?, |_| String::from("removed\n")),
        Verb::Reseal { tenant, name } => {
            let path = ["tenants", &tenant, "providers", &name, "reseal"];
            (admin.post(&path, &json!({}))?, |_| String::from("resealed\n"))
        }
    };
    print(&if remote.json { format!("{answer}\n") } else { shown(&answer) })
}

/// The key as typed or piped; nothing means that none is sent (a kind without keys, or a change of other settings).
fn provider_key(name: &str) -> Result<Option<Secret>, Failure> {
    let typed = if std::io::stdin().is_terminal() {
        rpassword::prompt_password(format!("API key of {name} (not shown; empty for none): "))
    } else {
        let mut piped = String::new();
        std::io::stdin().read_to_string(&mut piped).map(|_| piped)
    };
    let key = Secret::new(typed.map_err(|error| Failure::failed(format!("cannot read the provider key: {error}")))?);
    let trimmed = key.expose().trim();
    Ok((!trimmed.is_empty()).then(|| Secret::new(trimmed)))
}

fn body(kind: &str, base_url: Option<String>, enabled: Option<bool>, key: Option<&Secret>) -> Value {
    let fields = [
        ("kind", Some(Value::from(kind))),
        ("base_url", base_url.map(Value::from)),
        ("enabled", enabled.map(Value::from)),
        ("api_key", key.map(|key| Value::from(key.expose()))),
    ];
    Value::Object(fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))).collect::<Map<_, _>>())
}

fn health(list: &Value) -> String {
    let columns =
        [Column::Left("PROVIDER"), Column::Left("KIND"), Column::Left("STATE"), Column::Left("KEY"), Column::Left("COOLDOWN UNTIL")];
    let rows = providers(list).map(|provider| {
        let named = ["name", "kind"].map(|field| text(provider, field));
        named.into_iter().chain([state(provider), last4(provider), cooldown(provider)]).collect()
    });
    render(&columns, rows.collect(), "no providers")
}

fn chain(list: &Value) -> String {
    let columns = [
        Column::Left("PROVIDER"),
        Column::Left("KIND"),
        Column::Left("SOURCE"),
        Column::Left("STATE"),
        Column::Left("KEY"),
        Column::Left("COOLDOWN UNTIL"),
    ];
    let rows = providers(list).map(|provider| {
        let named = ["name", "kind", "source"].map(|field| text(provider, field));
        named.into_iter().chain([state(provider), last4(provider), cooldown(provider)]).collect()
    });
    render(
        &columns,
        rows.collect(),
        "no providers for this tenant; check `aigw provider list` and whether the tenant may use brokered ones",
    )
}

fn one(provider: &Value) -> String {
    let mut fields: Vec<_> = ["name", "kind", "source", "base_url"].into_iter().map(|field| (field, text(provider, field))).collect();
    fields.extend([("state", state(provider)), ("key", last4(provider))]);
    card(&fields)
}

fn providers(list: &Value) -> impl Iterator<Item = &Value> {
    list.get("data").and_then(Value::as_array).into_iter().flatten()
}

/// `live`, or why not.
fn state(provider: &Value) -> String {
    if provider.get("enabled").and_then(Value::as_bool).unwrap_or(true) {
        return String::from("live");
    }
    match text(provider, "disabled_reason").as_str() {
        "" => String::from("disabled"),
        reason => format!("disabled: {reason}"),
    }
}

fn last4(provider: &Value) -> String {
    match text(provider, "last4").as_str() {
        "" => String::new(),
        last4 => format!("…{last4}"),
    }
}

fn cooldown(provider: &Value) -> String {
    provider.get("cooldown_until").and_then(Value::as_i64).map(local_time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sent_only_if_there_is_one() {
        assert_eq!(body("vllm", None, Some(false), None), json!({"kind": "vllm", "enabled": false}));
        let key = Secret::new("gsk_123");
        assert_eq!(body("groq", None, None, Some(&key)), json!({"kind": "groq", "api_key": "gsk_123"}));
    }

    #[test]
    fn an_inactive_provider_shows_the_reason() {
        assert_eq!(state(&json!({"enabled": true})), "live");
        assert_eq!(state(&json!({"enabled": false, "disabled_reason": "GROQ_API_KEY is unset"})), "disabled: GROQ_API_KEY is unset");
    }
}
