//! `aigw tenant`: manages tenants, the customers who pay.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::AdminOptions;
use super::error::CommandError;
use super::output::print;
use super::table::{Column, card, render, text};
use crate::seal::derivation::TenantRoot;
use crate::seal::tenant_key::TenantKeyHolder;
use crate::terms::TenantId;

#[derive(Debug, Args)]
pub(super) struct TenantArguments {
    #[command(subcommand)]
    verb: TenantCommand,
    #[command(flatten)]
    remote: AdminOptions,
}

#[derive(Debug, Subcommand)]
enum TenantCommand {
    /// List all tenants
    List,
    /// Create a tenant
    Create {
        /// The tenant's id, such as acme: a-z, 0-9 and -
        id: String,
        /// Custody of the provider keys. With `tenant` only its own tenant key opens them; it is
        /// printed once and must then be sent with every change of keys (AIGW_TENANT_KEY)
        #[arg(long, value_name = "operator|tenant")]
        custody: Option<String>,
        /// Create the tenant key on this machine (custody `tenant`), so that the gateway never sees
        /// it or the tenant's root
        #[arg(long)]
        local: bool,
        #[command(flatten)]
        settings: TenantSettings,
    },
    /// Show a tenant
    Show {
        /// The tenant's id
        id: String,
    },
    /// Change a tenant
    Update {
        /// The tenant's id
        id: String,
        #[command(flatten)]
        settings: TenantSettings,
    },
    /// Delete a tenant and its keys; its ledger entries stay
    Delete {
        /// The tenant's id
        id: String,
    },
}

#[derive(Debug, Args)]
struct TenantSettings {
    /// Display name
    #[arg(long)]
    name: Option<String>,
    /// Whether the tenant may use the operator's providers
    #[arg(long, value_name = "true|false")]
    brokered: Option<bool>,
    /// Whether the operator's providers are tried after the tenant's own
    #[arg(long, value_name = "true|false")]
    broker_fallback: Option<bool>,
    /// Whether the tenant's calls are served
    #[arg(long, value_name = "true|false")]
    enabled: Option<bool>,
}

pub(super) fn run(arguments: TenantArguments) -> Result<(), CommandError> {
    let TenantArguments { verb, remote } = arguments;
    let admin = remote.connect()?;
    let (answer, shown): (Value, fn(&Value) -> String) = match verb {
        TenantCommand::List => (admin.list(&["tenants"], &[])?, all),
        TenantCommand::Show { id } => (admin.get(&["tenants", &id], &[])?, one),
        TenantCommand::Create { id, custody, local, settings } => {
            let holder = if local { Some(own_key(&id, custody.as_deref())?) } else { None };
            let mut body = settings.body();
            if let Some(custody) = custody.or(local.then(|| String::from("tenant"))) {
                body.insert(String::from("custody"), json!(custody));
            }
            body.insert(String::from("id"), json!(id));
            if let Some(holder) = &holder {
                body.insert(String::from("local_key"), local_key(holder));
            }
            let mut answer = admin.post(&["tenants"], &Value::Object(body))?;
            if let Some(TenantKeyHolder { id, key, .. }) = &holder {
                (answer["tenant_key"], answer["tenant_key_id"]) = (json!(key.text().expose()), json!(id.as_str()));
            }
            (answer, made)
        }
        TenantCommand::Update { id, settings } => {
            let body = settings.body();
            if body.is_empty() {
                return Err(CommandError::usage("nothing to change; give --name, --brokered, --broker-fallback or --enabled"));
            }
            (admin.patch(&["tenants", &id], &Value::Object(body))?, one)
        }
        TenantCommand::Delete { id } => (admin.delete(&["tenants", &id])?, |_| String::from("deleted\n")),
    };
    print(&if remote.json { format!("{answer}\n") } else { shown(&answer) })
}

/// Creates a tenant's root and its key on this machine.
fn own_key(tenant: &str, custody: Option<&str>) -> Result<TenantKeyHolder, CommandError> {
    if custody.is_some_and(|custody| custody != "tenant") {
        return Err(CommandError::usage("--local creates a tenant key and needs --custody tenant"));
    }
    let root = TenantRoot::generate().map_err(|error| CommandError::failed(error.to_string()))?;
    TenantKeyHolder::of(&root, &TenantId::from(tenant)).map_err(|error| CommandError::failed(error.to_string()))
}

/// Returns what the gateway receives of the tenant key.
fn local_key(holder: &TenantKeyHolder) -> Value {
    let TenantKeyHolder { id, key, root } = holder;
    json!({
        "id": id.as_str(),
        "lookup": BASE64.encode(key.lookup()),
        "last4": key.text().last4(),
        "root": BASE64.encode(root),
    })
}

impl TenantSettings {
    fn body(self) -> Map<String, Value> {
        let TenantSettings { name, brokered, broker_fallback, enabled } = self;
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
    render(&columns, rows, "no tenants yet; create one with `aigw tenant create ID`")
}

fn one(tenant: &Value) -> String {
    let mut fields = FIELDS.map(|field| (field, text(tenant, field))).to_vec();
    fields.push(("custody", text(tenant, "custody")));
    card(&fields)
}

/// Formats a new tenant, with its key if it has one.
fn made(tenant: &Value) -> String {
    let key = text(tenant, "tenant_key");
    if key.is_empty() {
        return one(tenant);
    }
    let warning =
        "The tenant key is shown only once: save it now. Without it nobody can open the tenant's provider keys, not even the operator.";
    one(tenant) + &card(&[("tenant_key", key)]) + "\n" + warning + "\n"
}
