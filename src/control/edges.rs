//! Operations on edges, the gateways that tenants' provider keys are granted to (spec/security.md
//! 1.5).

use super::error::ControlError;
use super::sealing::CUSTODY_TENANT;
use super::store::changes::{Actor, Change, Mutation};
use super::store::edges::{self, EdgeRow, ServedTenants};
use super::store::tenants;
use super::{Control, fields};
use crate::credential::Credential;
use crate::seal::names::EdgeId;

/// Fields of a new edge.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub struct NewEdge {
    /// Its id.
    pub id: String,
    /// Tenants that the edge serves; all by default.
    pub tenants: Option<Vec<String>>,
}

/// A newly created edge, whose key can be shown only now.
pub struct IssuedEdge {
    /// Its row.
    pub row: EdgeRow,
    /// `AIGW_EDGE_KEY` of that gateway.
    pub key: Credential,
    /// Tenants with custody `tenant`: they grant nothing to the edge until their next epoch or new
    /// key.
    pub pending: Vec<String>,
}

impl Control {
    /// Creates an edge and grants it the provider keys of the tenants that it serves.
    ///
    /// # Errors
    /// If the id is invalid or taken, there is no master key, or the database fails.
    pub async fn create_edge(&self, actor: Actor, new: NewEdge) -> Result<IssuedEdge, ControlError> {
        let sealing = self.sealing()?;
        let id = EdgeId::parse(&new.id).map_err(|error| ControlError::invalid("id", error.to_string()))?;
        let served = new.tenants.map(|ids| ids.into_iter().map(|id| fields::slug("tenants", id)).collect()).transpose()?;
        self.mutate(actor, move |connection| {
            if edges::find(connection, id.as_str())?.is_some() {
                return Err(ControlError::Exists { what: "edge", id: id.to_string() });
            }
            let (row, key) = sealing.new_edge(&id, ServedTenants(served))?;
            edges::insert(connection, row.clone())?;
            let mut pending = Vec::new();
            for tenant in tenants::all(connection)?.into_iter().filter(|tenant| row.tenants.includes(&tenant.id)) {
                if tenant.custody == CUSTODY_TENANT {
                    pending.push(tenant.id);
                } else {
                    let root = sealing.root(connection, &tenant, None)?;
                    sealing.grant_at(connection, &tenant, &root, &row)?;
                }
            }
            Ok(Mutation { answer: IssuedEdge { row, key, pending }, action: "edge.add", target: id.to_string(), changes: Vec::new() })
        })
        .await
    }

    /// Returns all edges.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn edges(&self) -> Result<Vec<EdgeRow>, ControlError> {
        self.read(|connection| Ok(edges::all(connection)?)).await
    }

    /// Removes an edge and all its grants.
    ///
    /// # Errors
    /// If there is no such edge, it is this process's own, or the database fails.
    pub async fn delete_edge(&self, actor: Actor, id: String) -> Result<EdgeRow, ControlError> {
        if id == EdgeId::local().as_str() {
            let message =
                "the edge `local` is this gateway itself and cannot be removed; start new epochs of its tenants instead".to_owned();
            return Err(ControlError::Conflict { code: "own_edge", message });
        }
        self.mutate(actor, move |connection| {
            let Some(row) = edges::find(connection, &id)? else { return Err(ControlError::not_found("edge", id)) };
            edges::delete(connection, &id)?;
            // Makes a gateway that still runs with this edge reload its grants, which are now
            // empty.
            let served = tenants::all(connection)?.into_iter().filter(|tenant| row.tenants.includes(&tenant.id));
            let changes = served.map(|tenant| Change::Tenant(tenant.id.into())).collect();
            Ok(Mutation { answer: row, action: "edge.remove", target: id, changes })
        })
        .await
    }
}
