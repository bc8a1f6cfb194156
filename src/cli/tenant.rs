//! `aigw tenant`: who pays.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::Remote;
use super::failure::Failure;
use super::print;
use super::table::{Column, card, render, text};
use crate::seal::derivation::TenantRoot;
use crate::seal::tenant_key::TenantKeyHolder;
use crate::terms::TenantId;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All tenants
    List,
    /// Make a tenant
    Create {
        /// Its id, a slug such as acme
        id: String,
        /// Who can open its provider keys: with `tenant` only its own key, printed once, which then must come with every
        /// change of keys (AIGW_TENANT_KEY)
        #[arg(long, value_name = "operator|tenant")]
        custody: Option<String>,
        /// Make the tenant's key here, with custody `tenant`: the gateway gets to know neither it nor what it is kept for
        #[arg(long)]
        local: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// One tenant
    Show {
        /// Its id
        id: String,
    },
    /// Change a tenant
    Update {
        /// Its id
        id: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Delete a tenant with its keys; its ledger entries stay
    Delete {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Args)]
struct Settings {
    /// Its name, for people
    #[arg(long)]
    name: Option<String>,
    /// May it use the operator's providers?
    #[arg(long, value_name = "true|false")]
    brokered: Option<bool>,
    /// May the operator's providers follow its own?
    #[arg(long, value_name = "true|false")]
    broker_fallback: Option<bool>,
    /// A disabled tenant's calls are refused
    #[arg(long, value_name = "true|false")]
    enabled: Option<bool>,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { verb, remote } = arguments;
    let admin = remote.connect()?;
    let (answer, shown): (Value, fn(&Value) -> String) = match verb {
        Verb::List => (admin.list(&["tenants"], &[])?, all),
        Verb::Show { id } => (admin.get(&["tenants", &id], &[])?, one),
        Verb::Create { id, custody, local, settings } => {
            let holder = if local { Some(own_key(&id, custody.as_deref())?) } else { None };
            let mut body = settings.body();
            if let Some(custody) = custody.or(local.then(|| String::from("tenant"))) {
                body.insert(String::from("custody"), json!(custody));
            }
            body.insert(String::from("id"), json!(id));
            if let Some(holder) = &holder {
                body.insert(String::from("local_key"), sent(holder));
            }
            let mut answer = admin.post(&["tenants"], &Value::Object(body))?;
            if let Some(TenantKeyHolder { id, key, .. }) = &holder {
                (answer["tenant_key"], answer["tenant_key_id"]) = (json!(key.text().expose()), json!(id.as_str()));
            }
            (answer, made)
        }
        Verb::Update { id, settings } => {
            let body = settings.body();
            if body.is_empty() {
                return Err(Failure::usage("nothing to change; give --name, --brokered, --broker-fallback or --enabled"));
            }
            (admin.patch(&["tenants", &id], &Value::Object(body))?, one)
        }
        Verb::Delete { id } => (admin.delete(&["tenants", &id])?, |_| String::from("deleted\n")),
    };
    print(&if remote.json { format!("{answer}\n") } else { shown(&answer) })
}

/// A tenant's root and its key, made on this machine.
fn own_key(tenant: &str, custody: Option<&str>) -> Result<TenantKeyHolder, Failure> {
    if custody.is_some_and(|custody| custody != "tenant") {
        return Err(Failure::usage("--local makes the tenant's own key, which is custody tenant"));
    }
    let root = TenantRoot::generate().map_err(|error| Failure::failed(error.to_string()))?;
    TenantKeyHolder::of(&root, &TenantId::from(tenant)).map_err(|error| Failure::failed(error.to_string()))
}

/// What the gateway gets of it.
fn sent(holder: &TenantKeyHolder) -> Value {
    let TenantKeyHolder { id, key, root } = holder;
    json!({
        "id": id.as_str(),
        "lookup": BASE64.encode(key.lookup()),
        "last4": key.text().last4(),
        "root": BASE64.encode(root),
    })
}

impl Settings {
    fn body(self) -> Map<String, Value> {
        let Settings { name, brokered, broker_fallback, enabled } = self;
        let fields = [
            ("name", name.map(Value::from)),
            ("brokered", brokered.map(Value::from)),
            ("broker_fallback", broker_fallback.map(Value::from)),
            ("enabled", enabled.map(Value::from)),
        ];
        fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))).collect()
    }
}

const FIELDS: [&str; 5] = ["id", "name", "enabled", "brokered", "broker_fallback"];

fn all(list: &Value) -> String {
    let columns =
        [Column::Left("TENANT"), Column::Left("NAME"), Column::Left("ENABLED"), Column::Left("BROKERED"), Column::Left("BROKER FALLBACK")];
    let tenants = list.get("data").and_then(Value::as_array);
    let rows = tenants.into_iter().flatten().map(|tenant| FIELDS.map(|field| text(tenant, field)).to_vec()).collect();
    render(&columns, rows, "no tenants yet; make one with `aigw tenant create ID`")
}

fn one(tenant: &Value) -> String {
    let mut fields = FIELDS.map(|field| (field, text(tenant, field))).to_vec();
    fields.push(("custody", text(tenant, "custody")));
    card(&fields)
}

/// A new tenant, and its key where it has one.
fn made(tenant: &Value) -> String {
    let key = text(tenant, "tenant_key");
    if key.is_empty() {
        return one(tenant);
    }
    let warning =
        "The tenant key is shown this once: keep it now. Without it nobody opens the tenant's provider keys, not even the operator.";
    one(tenant) + &card(&[("tenant_key", key)]) + "\n" + warning + "\n"
}
