//! Key material at start: checks that every master key in use is configured, and opens the edge of
//! this process.

use std::sync::Arc;

use super::{Sealer, holder_of, kid_of};
use crate::clock;
use crate::config::{self, EdgeIdentity};
use crate::control::error::ControlError;
use crate::control::master::keyring::{EdgeOf, Keyring, KeyringError};
use crate::control::master::{BadMasterKey, MasterKey};
use crate::control::store::changes::{Actor, Mutation};
use crate::control::store::connection::AnyConnection;
use crate::control::store::edges::{self, EdgeRow, ServedTenants};
use crate::control::store::{Store, StoreError, providers, roots};
use crate::credential::{Credential, CredentialKind};
use crate::seal::derivation::EdgeKey;
use crate::seal::names::{EdgeId, Kid};
use crate::seal::spend::Edge;

/// The key material of a process.
pub struct KeyMaterial {
    /// For the control half; `None` without a master key.
    pub sealing: Option<Arc<Sealer>>,
    /// For the gateway half; `None` if it cannot use tenants' own providers.
    pub edge: Option<Arc<Edge>>,
}

/// An error that keeps the process from starting. The message is one line and names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum KeyMaterialError {
    /// The database has sealed rows, but no master key is set.
    #[error(
        "sealing.master_key_env: the database holds sealed rows and no master key is set; set AIGW_MASTER_KEY (or master_key_file) to \
         the key they were sealed with"
    )]
    NoMasterKey,
    /// A master key is invalid, or one that is in use is missing.
    #[error("sealing.{which}: {reason}")]
    Keyring {
        /// `master_key_env` or `old_master_key_env`.
        which: &'static str,
        /// The problem and the remedy.
        reason: String,
    },
    /// The configured edge does not match the database.
    #[error("sealing.{which}: {reason}")]
    Edge {
        /// `edge` or `edge_key_env`.
        which: &'static str,
        /// The problem and the remedy.
        reason: String,
    },
    /// A sealed row was altered.
    #[error("the database's sealed rows are damaged: {0}; restore them from a backup")]
    Damaged(ControlError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<KeyringError> for KeyMaterialError {
    fn from(error: KeyringError) -> Self {
        let which = if matches!(error, KeyringError::SameKid(_)) { "old_master_key_env" } else { "master_key_env" };
        KeyMaterialError::Keyring { which, reason: error.to_string() }
    }
}

impl From<diesel::result::Error> for KeyMaterialError {
    fn from(error: diesel::result::Error) -> Self {
        KeyMaterialError::Store(StoreError::Query(error))
    }
}

impl Sealer {
    /// Checks the database against the master keys and opens the edge of this process, which it
    /// creates at the first start. Blocks.
    ///
    /// # Errors
    /// If a master key is missing, wrong or invalid.
    pub fn start(store: &Store, keys: &config::Sealing) -> Result<KeyMaterial, KeyMaterialError> {
        let own = keys.edge.as_ref().map(own_edge).transpose()?;
        let row = own.as_ref().map(|edge| stored(store, &edge.id)).transpose()?;
        let Some(current) = &keys.master_key else {
            let is_sealed = store.read(|connection| Ok::<_, KeyMaterialError>(is_sealed(connection)?))?;
            // A gateway with a configured edge needs its edge key and no master key.
            return if is_sealed && own.is_none() {
                Err(KeyMaterialError::NoMasterKey)
            } else {
                Ok(KeyMaterial { sealing: None, edge: own.map(Arc::new) })
            };
        };
        let bad = |which| move |reason: BadMasterKey| KeyMaterialError::Keyring { which, reason: reason.to_string() };
        let current = MasterKey::from_base64(current).map_err(bad("master_key_env"))?;
        let old = keys.old_master_key.as_ref().map(MasterKey::from_base64).transpose().map_err(bad("old_master_key_env"))?;
        let sealing = Self { keyring: Keyring::new(current, old)? };
        sealing.keyring.require(store.read(|connection| Ok::<_, KeyMaterialError>(kids(connection)?))?)?;
        let edge = match (own, row) {
            (Some(own), Some(row)) => {
                let theirs = sealing.open_edge(&row).map_err(KeyMaterialError::Damaged)?;
                if !theirs.key.is(&own.key) {
                    let reason =
                        format!("the key does not belong to edge {}; create a new one with `aigw edge remove` and `aigw edge add`", own.id);
                    return Err(KeyMaterialError::Edge { which: "edge_key_env", reason });
                }
                own
            }
            _ => sealing.local_edge(store)?,
        };
        Ok(KeyMaterial { sealing: Some(Arc::new(sealing)), edge: Some(Arc::new(edge)) })
    }

    /// The kid of new blobs.
    pub fn kid(&self) -> Kid {
        self.keyring.current()
    }

    /// Opens the edge `local` of a process that runs both halves.
    fn local_edge(&self, store: &Store) -> Result<Edge, KeyMaterialError> {
        let id = EdgeId::local();
        let row = store.read(|connection| Ok::<_, KeyMaterialError>(edges::find(connection, id.as_str())?))?;
        let row = match row {
            Some(row) => row,
            None => self.make_local_edge(store, &id)?,
        };
        self.open_edge(&row).map_err(KeyMaterialError::Damaged)
    }

    /// Creates the edge `local`. If several processes start together on one database, one of them
    /// does.
    fn make_local_edge(&self, store: &Store, id: &EdgeId) -> Result<EdgeRow, KeyMaterialError> {
        let actor = Actor { who: "start", request_id: None, tenant_key: None };
        let made = store.mutate(&actor, clock::unix_millis(), |connection| {
            let row = match edges::find(connection, id.as_str())? {
                Some(row) => row,
                None => {
                    // Its credential is not needed: both halves are in one process.
                    let (row, _) = self.new_edge(id, ServedTenants::default())?;
                    edges::insert(connection, row.clone())?;
                    row
                }
            };
            Ok::<_, ControlError>(Mutation { answer: row, action: "edge.add", target: id.to_string(), changes: Vec::new() })
        });
        made.map_err(|error| match error {
            ControlError::Store(error) => KeyMaterialError::Store(error),
            other => KeyMaterialError::Damaged(other),
        })
    }

    /// Generates a new edge and its credential.
    ///
    /// # Errors
    /// If no random bytes are available.
    pub fn new_edge(&self, id: &EdgeId, tenants: ServedTenants) -> Result<(EdgeRow, Credential), ControlError> {
        let credential = Credential::mint(CredentialKind::Edge)?;
        let key = EdgeKey::of(&credential).ok_or(crate::credential::NoRandomness)?;
        let wrapped = self.keyring.wrap(&EdgeOf(id), &key)?;
        let created_at = clock::unix_seconds();
        let row = EdgeRow { id: id.to_string(), kid: wrapped.kid.to_string(), blob: wrapped.blob, tenants, created_at };
        Ok((row, credential))
    }

    /// The `holder` of roots that are wrapped with the current master key.
    pub(super) fn current_holder(&self) -> String {
        holder_of(self.keyring.current())
    }
}

/// Parses the configured edge of this gateway.
fn own_edge(identity: &EdgeIdentity) -> Result<Edge, KeyMaterialError> {
    let bad = |which, reason: &str| KeyMaterialError::Edge { which, reason: reason.to_owned() };
    let id = EdgeId::parse(&identity.id).map_err(|error| bad("edge", &error.to_string()))?;
    if id == EdgeId::local() {
        return Err(bad("edge", "the edge `local` has no configurable key; omit sealing.edge to use it"));
    }
    let key = Credential::parse(identity.key.expose()).as_ref().and_then(EdgeKey::of);
    let key =
        key.ok_or_else(|| bad("edge_key_env", "not a valid edge key, which starts with aigw-ek-; create one with `aigw edge add`"))?;
    Ok(Edge { id, key })
}

fn stored(store: &Store, id: &EdgeId) -> Result<EdgeRow, KeyMaterialError> {
    let row = store.read(|connection| Ok::<_, KeyMaterialError>(edges::find(connection, id.as_str())?))?;
    let unknown = || KeyMaterialError::Edge {
        which: "edge",
        reason: format!("edge {id} not found in the database; create it with `aigw edge add {id}`"),
    };
    row.ok_or_else(unknown)
}

fn is_sealed(connection: &mut AnyConnection) -> diesel::QueryResult<bool> {
    Ok(!roots::holders(connection)?.is_empty() || !edges::all(connection)?.is_empty() || providers::any_sealed(connection)?)
}

/// Returns the ids of all master keys in use.
fn kids(connection: &mut AnyConnection) -> diesel::QueryResult<Vec<Kid>> {
    let roots = roots::holders(connection)?.into_iter().filter_map(|holder| kid_of(&holder));
    let edges = edges::all(connection)?.into_iter().filter_map(|row| Kid::parse(&row.kid));
    Ok(roots.chain(edges).collect())
}
