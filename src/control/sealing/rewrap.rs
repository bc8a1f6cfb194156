//! Rotation of the master key: rewraps blobs of old master keys (spec/security.md 1.5,
//! `aigw seal rotate`).
//!
//! Works in batches, each in a transaction of its own, so that an interrupted rotation can be
//! resumed.

use super::start::{KeyMaterial, KeyMaterialError};
use super::{Sealer, kid_of};
use crate::clock;
use crate::config;
use crate::control::error::ControlError;
use crate::control::master::keyring::{EdgeOf, RootOf, Wrapped};
use crate::control::store::changes::{Actor, Mutation};
use crate::control::store::edges;
use crate::control::store::roots::{self, RootRow};
use crate::control::store::{Store, StoreError};
use crate::seal::names::{EdgeId, Kid};
use crate::terms::TenantId;

/// Progress of a rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Tenants' roots moved.
    pub roots: usize,
    /// Edges moved.
    pub edges: usize,
}

/// Result of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationResult {
    /// The master key that everything is wrapped with now.
    pub kid: Kid,
    /// Rows moved in this run.
    pub moved: Progress,
}

/// An error of a rotation. Rows already moved stay moved; another run continues with the rest.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The key material does not match the database.
    #[error(transparent)]
    Start(#[from] KeyMaterialError),
    /// No new master key is set.
    #[error("sealing.master_key_env: no master key is set; set AIGW_MASTER_KEY to the new one and AIGW_OLD_MASTER_KEY to the old one")]
    NoMasterKey,
    /// A row could not be moved.
    #[error("rotation stopped, run it again to continue: {0}")]
    Stopped(ControlError),
}

/// Rows per transaction.
const BATCH: i64 = 100;

/// Rewraps everything with the current master key of `keys` and calls `progress` after each batch.
/// Blocks.
///
/// # Errors
/// If a master key is missing, a row does not open, or the database fails.
pub fn rotate(store: &Store, keys: &config::Sealing, progress: impl Fn(Progress)) -> Result<RotationResult, RotateError> {
    let KeyMaterial { sealing: Some(sealing), .. } = Sealer::start(store, keys)? else { return Err(RotateError::NoMasterKey) };
    let mut moved = Progress { roots: 0, edges: sealing.rewrap_edges(store).map_err(RotateError::Stopped)? };
    progress(moved);
    loop {
        match sealing.rewrap_roots(store).map_err(RotateError::Stopped)? {
            0 => break,
            batch => moved.roots += batch,
        }
        progress(moved);
    }
    store.forget_deleted().map_err(KeyMaterialError::Store)?;
    Ok(RotationResult { kid: sealing.kid(), moved })
}

impl Sealer {
    fn rewrap_edges(&self, store: &Store) -> Result<usize, ControlError> {
        rewrapping(store, |connection| {
            let mut count = 0;
            for row in edges::all(connection)? {
                let damaged = || ControlError::Unopened { blob: "EDGE", of: row.id.clone() };
                let id = EdgeId::parse(&row.id).map_err(|_| damaged())?;
                let kid = Kid::parse(&row.kid).ok_or_else(damaged)?;
                if let Some(moved) = self.keyring.rewrap(&EdgeOf(&id), &Wrapped { kid, blob: row.blob.clone() })? {
                    edges::rewrap(connection, &row.id, &moved.kid.to_string(), &moved.blob)?;
                    count += 1;
                }
            }
            Ok(count)
        })
    }

    fn rewrap_roots(&self, store: &Store) -> Result<usize, ControlError> {
        let holder = self.current_holder();
        rewrapping(store, |connection| {
            let rows = roots::under_others(connection, &holder, BATCH)?;
            let count = rows.len();
            for RootRow { tenant, holder: before, blob } in rows {
                let damaged = || ControlError::Unopened { blob: "ROOT", of: tenant.clone() };
                let kid = kid_of(&before).ok_or_else(damaged)?;
                let moved = self.keyring.rewrap(&RootOf(&TenantId::from(tenant.as_str())), &Wrapped { kid, blob })?.ok_or_else(damaged)?;
                roots::delete(connection, &tenant, &before)?;
                roots::insert(connection, &RootRow { tenant, holder: holder.clone(), blob: moved.blob })?;
            }
            Ok(count)
        })
    }
}

/// Runs `statements` in one recorded mutation.
fn rewrapping(
    store: &Store,
    statements: impl FnOnce(&mut crate::control::store::connection::AnyConnection) -> Result<usize, ControlError>,
) -> Result<usize, ControlError> {
    let actor = Actor { who: "seal rotate", request_id: None, tenant_key: None };
    store.mutate(&actor, clock::unix_millis(), |connection| {
        let answer = statements(connection)?;
        Ok(Mutation { answer, action: "seal.rotate", target: format!("{answer} rows"), changes: Vec::new() })
    })
}

impl From<StoreError> for RotateError {
    fn from(error: StoreError) -> Self {
        RotateError::Start(error.into())
    }
}
