//! `aigw provider`: shows the health of the operator's providers and a tenant's chain, and manages
//! a tenant's own providers.
//!
//! A provider key is read from standard input or a hidden prompt, never from an option: every user
//! of the machine can see arguments, and shells keep them in their history.

use std::io::{IsTerminal, Read};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::AdminOptions;
use super::error::CommandError;
use super::format::local_time;
use super::output::print;
use super::table::{Column, card, render, text};
use crate::secret::Secret;

#[derive(Debug, Args)]
pub(super) struct ProviderArguments {
    #[command(subcommand)]
    verb: ProviderCommand,
    #[command(flatten)]
    remote: AdminOptions,
}

#[derive(Debug, Subcommand)]
enum ProviderCommand {
    /// List the operator's providers with their health, or a tenant's providers in the order they
    /// are tried
    List {
        /// The tenant's id
        tenant: Option<String>,
        /// Only providers that serve this model
        #[arg(long, requires = "tenant")]
        model: Option<String>,
    },
    /// Add or change a tenant's own provider; the key is read from standard input or a prompt
    Set {
        /// The tenant's id
        tenant: String,
        /// The provider's name, such as 1-groq; providers are tried in the order of their names
        name: String,
        /// The provider's kind, such as groq
        #[arg(long)]
        kind: String,
        /// Base URL, if it differs from that of the kind
        #[arg(long)]
        base_url: Option<String>,
        /// Whether the provider is used
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
    /// Reseal a provider's key after the base_url of its kind changed
    Reseal {
        /// The tenant's id
        tenant: String,
        /// The provider's name
        name: String,
    },
}

pub(super) fn run(arguments: ProviderArguments) -> Result<(), CommandError> {
    let ProviderArguments { verb, remote } = arguments;
    let admin = remote.connect()?;
    let (answer, shown): (Value, fn(&Value) -> String) = match verb {
        ProviderCommand::List { tenant: None, .. } => (admin.list(&["providers"], &[])?, health),
        ProviderCommand::List { tenant: Some(tenant), model } => {
            let query: Vec<_> = model.into_iter().map(|model| ("model", model)).collect();
            (admin.list(&["tenants", &tenant, "providers"], &query)?, chain)
        }
        ProviderCommand::Set { tenant, name, kind, base_url, enabled } => {
            let key = provider_key(&name)?;
            let body = body(&kind, base_url, enabled, key.as_ref());
            (admin.put(&["tenants", &tenant, "providers", &name], &body)?, one)
        }
        ProviderCommand::Remove { tenant, name } => {
            (admin.delete(&["tenants", &tenant, "providers", &name])?, |_| String::from("removed\n"))
        }
        ProviderCommand::Reseal { tenant, name } => {
            let path = ["tenants", &tenant, "providers", &name, "reseal"];
            (admin.post(&path, &json!({}))?, |_| String::from("resealed\n"))
        }
    };
    print(&if remote.json { format!("{answer}\n") } else { shown(&answer) })
}

/// Reads the key from a prompt or standard input. `None` if it is empty: for a kind without keys,
/// or to change other settings.
fn provider_key(name: &str) -> Result<Option<Secret>, CommandError> {
    let typed = if std::io::stdin().is_terminal() {
        rpassword::prompt_password(format!("API key of {name} (not shown; empty for none): "))
    } else {
        let mut piped = String::new();
        std::io::stdin().read_to_string(&mut piped).map(|_| piped)
    };
    let key = Secret::new(typed.map_err(|error| CommandError::failed(format!("cannot read the provider key: {error}")))?);
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

/// Returns `live`, or `disabled` with the reason.
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
    fn an_empty_key_is_not_sent() {
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
