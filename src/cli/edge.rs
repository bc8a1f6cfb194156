//! `aigw edge`: the gateways that tenants' own provider keys are granted to. An edge key is printed once, when it is made.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Remote;
use super::failure::Failure;
use super::print;
use super::table::{Column, card, render, text};
use super::units::local_time;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All edges
    List,
    /// Make an edge; its key is printed once
    Add {
        /// Its id, such as eu-1
        id: String,
        /// Only for these tenants; may be given again or separated by commas
        #[arg(long = "tenant", value_name = "TENANT", value_delimiter = ',')]
        tenants: Vec<String>,
    },
    /// Remove an edge and everything granted to it
    Remove {
        /// Its id
        id: String,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { verb, remote } = arguments;
    let admin = remote.connect()?;
    let (answer, shown): (Value, fn(&Value) -> String) = match verb {
        Verb::List => (admin.list(&["edges"], &[])?, all),
        Verb::Add { id, tenants } => {
            let body = if tenants.is_empty() { json!({ "id": id }) } else { json!({ "id": id, "tenants": tenants }) };
            (admin.post(&["edges"], &body)?, made)
        }
        Verb::Remove { id } => (admin.delete(&["edges", &id])?, |_| String::from("removed\n")),
    };
    print(&if remote.json { format!("{answer}\n") } else { shown(&answer) })
}

fn all(list: &Value) -> String {
    let columns = [Column::Left("EDGE"), Column::Left("TENANTS"), Column::Left("CREATED")];
    let edges = list.get("data").and_then(Value::as_array);
    let rows = edges.into_iter().flatten().map(|edge| {
        let tenants = if edge.get("tenants").is_none_or(Value::is_null) { String::from("all") } else { text(edge, "tenants") };
        let created = edge.get("created_at").and_then(Value::as_i64).map(|seconds| local_time(seconds.saturating_mul(1_000)));
        vec![text(edge, "id"), tenants, created.unwrap_or_default()]
    });
    render(&columns, rows.collect(), "no edges: the gateway has no master key")
}

fn made(edge: &Value) -> String {
    let fields = [("edge", text(edge, "id")), ("tenants", text(edge, "tenants")), ("key", text(edge, "edge_key"))];
    let mut shown = format!(
        "{}\nThe key is shown this once: keep it now, as AIGW_EDGE_KEY of that gateway, whose aigw.toml says\n\n[sealing]\nedge = \"{}\"\n\n",
        card(&fields),
        text(edge, "id")
    );
    let pending = text(edge, "pending_tenants");
    if !pending.is_empty() {
        shown.push_str(&format!(
            "These tenants keep their own keys and grant nothing there before their next `aigw seal epoch`: {pending}\n"
        ));
    }
    shown
}
