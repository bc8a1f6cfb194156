//! `aigw edge`: manages edges, the gateways that tenants' own provider keys are granted to. An edge
//! key is printed once, when the edge is created.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::AdminOptions;
use super::error::CommandError;
use super::format::local_time;
use super::output::print;
use super::table::{Column, card, render, text};

#[derive(Debug, Args)]
pub(super) struct EdgeArguments {
    #[command(subcommand)]
    verb: EdgeCommand,
    #[command(flatten)]
    remote: AdminOptions,
}

#[derive(Debug, Subcommand)]
enum EdgeCommand {
    /// List all edges
    List,
    /// Create an edge; its key is printed once
    Add {
        /// Its id, such as eu-1
        id: String,
        /// Serve only these tenants; may be repeated or separated by commas
        #[arg(long = "tenant", value_name = "TENANT", value_delimiter = ',')]
        tenants: Vec<String>,
    },
    /// Remove an edge and all its grants
    Remove {
        /// Its id
        id: String,
    },
}

pub(super) fn run(arguments: EdgeArguments) -> Result<(), CommandError> {
    let EdgeArguments { verb, remote } = arguments;
    let admin = remote.connect()?;
    let (answer, shown): (Value, fn(&Value) -> String) = match verb {
        EdgeCommand::List => (admin.list(&["edges"], &[])?, all),
        EdgeCommand::Add { id, tenants } => {
            let body = if tenants.is_empty() { json!({ "id": id }) } else { json!({ "id": id, "tenants": tenants }) };
            (admin.post(&["edges"], &body)?, made)
        }
        EdgeCommand::Remove { id } => (admin.delete(&["edges", &id])?, |_| String::from("removed\n")),
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
        "{}\nThe key is shown only once: save it now. Set it as AIGW_EDGE_KEY of that gateway, with this in its \
         aigw.toml:\n\n[sealing]\nedge = \"{}\"\n\n",
        card(&fields),
        text(edge, "id")
    );
    let pending = text(edge, "pending_tenants");
    if !pending.is_empty() {
        shown.push_str(&format!(
            "These tenants have custody `tenant` and grant nothing to this edge until their next `aigw seal epoch`: {pending}\n"
        ));
    }
    shown
}
