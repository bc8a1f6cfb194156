//! Grants of virtual keys: ESCROW and GRANT blobs, rings with their epochs, and the provider keys
//! sealed in them.

use super::Sealer;
use crate::clock;
use crate::control::error::ControlError;
use crate::control::keys::settings::is_active;
use crate::control::master::keyring::{EdgeOf, Wrapped};
use crate::control::store::connection::AnyConnection;
use crate::control::store::edges::{self, EdgeRow};
use crate::control::store::grants::{self, EscrowRow, GrantRow, RingRow};
use crate::control::store::keys;
use crate::control::store::providers::{self, ProviderRow};
use crate::control::store::tenants::TenantRow;
use crate::credential::Credential;
use crate::seal::context::{EscrowContext, GrantContext, SecretContext};
use crate::seal::derivation::{EscrowKey, GrantKey, SpendKey, TenantRoot, WrapKey};
use crate::seal::names::{EdgeId, Epoch, Kid, Ring, Version};
use crate::seal::payload::KeyPayload;
use crate::seal::spend::Edge;
use crate::seal::{open, seal};
use crate::terms::{KeyId, ProviderName, TenantId};

impl Sealer {
    /// Lets a new virtual key use its tenant's own providers: writes its escrow, and a grant for
    /// every edge that serves the tenant.
    ///
    /// # Errors
    /// If an edge does not open, or the database fails; so for every function here.
    pub fn grant_key(
        &self,
        connection: &mut AnyConnection,
        tenant: &TenantRow,
        root: &TenantRoot,
        key_id: &str,
        key: &Credential,
    ) -> Result<(), ControlError> {
        let Some(wrap_key) = WrapKey::of(key) else { return Ok(()) };
        let (owner, id) = (TenantId::from(tenant.id.as_str()), KeyId::from(key_id));
        let blob = seal(&EscrowContext { tenant: &owner, key_id: &id }, &EscrowKey::of(root), &wrap_key)?;
        grants::insert_escrow(connection, &EscrowRow { key_id: key_id.to_owned(), tenant: tenant.id.clone(), blob })?;
        let ring = main_ring(connection, &tenant.id)?;
        let edges = self.edges_of(connection, &tenant.id)?;
        grant(connection, &ring, root, &edges, &[(id, wrap_key)])
    }

    /// Seals a provider key as the newest version of its ring and stores it in `row`.
    ///
    /// # Errors
    /// If no random bytes are available, or the database fails.
    pub fn seal_key(
        &self,
        connection: &mut AnyConnection,
        root: &TenantRoot,
        row: &mut ProviderRow,
        payload: &KeyPayload,
    ) -> Result<(), ControlError> {
        let mut ring = main_ring(connection, &row.tenant)?;
        ring.versions += 1;
        grants::update_ring(connection, &ring)?;
        (row.version, row.epoch) = (ring.versions, ring.epoch);
        row.ring = ring.ring;
        row.last4 = Some(payload.last4().to_owned());
        row.secret = Some(sealed(root, row, payload)?);
        Ok(())
    }

    /// Opens a provider key, to reseal it for other destinations.
    ///
    /// # Errors
    /// If the blob does not open.
    pub fn open_key(&self, root: &TenantRoot, row: &ProviderRow) -> Result<KeyPayload, ControlError> {
        let unopened = || ControlError::Unopened { blob: "SECRET", of: format!("{}/{}", row.tenant, row.name) };
        let blob = row.secret.as_deref().ok_or_else(unopened)?;
        secret_context(row)?.with(|context, ring, epoch| open(context, &SpendKey::of(root, ring, epoch), blob).map_err(|_| unopened()))
    }

    /// Moves every ring of a tenant to its next epoch: reseals provider keys and replaces grants.
    /// Old grants cannot open anything written from now on. Virtual keys keep working.
    ///
    /// # Errors
    /// If a blob does not open.
    pub fn advance_epoch(&self, connection: &mut AnyConnection, tenant: &TenantRow, root: &TenantRoot) -> Result<i32, ControlError> {
        main_ring(connection, &tenant.id)?;
        grants::delete_of_tenant(connection, &tenant.id)?;
        withdraw_expired(connection, &tenant.id)?;
        let keys = self.escrowed(connection, tenant, root)?;
        let edges = self.edges_of(connection, &tenant.id)?;
        let mut reached = 0;
        for mut ring in grants::rings(connection, &tenant.id)? {
            ring.epoch += 1;
            grants::update_ring(connection, &ring)?;
            for mut row in providers::of(connection, &tenant.id)?.into_iter().filter(|row| row.ring == ring.ring) {
                if row.secret.is_some() {
                    let payload = self.open_key(root, &row)?;
                    row.epoch = ring.epoch;
                    row.secret = Some(sealed(root, &row, &payload)?);
                    providers::put(connection, &row)?;
                }
            }
            reached = ring.epoch;
            grant(connection, &ring, root, &edges, &keys)?;
        }
        Ok(reached)
    }

    /// Grants a tenant's virtual keys at another edge.
    ///
    /// # Errors
    /// If a blob does not open.
    pub fn grant_at(
        &self,
        connection: &mut AnyConnection,
        tenant: &TenantRow,
        root: &TenantRoot,
        edge: &EdgeRow,
    ) -> Result<(), ControlError> {
        let keys = self.escrowed(connection, tenant, root)?;
        if keys.is_empty() {
            return Ok(());
        }
        main_ring(connection, &tenant.id)?;
        let edges = [self.open_edge(edge)?];
        for ring in grants::rings(connection, &tenant.id)? {
            grant(connection, &ring, root, &edges, &keys)?;
        }
        Ok(())
    }

    /// Opens an edge key.
    ///
    /// # Errors
    /// If its blob does not open.
    pub fn open_edge(&self, row: &EdgeRow) -> Result<Edge, ControlError> {
        let unopened = || ControlError::Unopened { blob: "EDGE", of: row.id.clone() };
        let id = EdgeId::parse(&row.id).map_err(|_| unopened())?;
        let kid = Kid::parse(&row.kid).ok_or_else(unopened)?;
        let key = self.keyring.open(&EdgeOf(&id), &Wrapped { kid, blob: row.blob.clone() })?;
        Ok(Edge { id, key })
    }

    fn edges_of(&self, connection: &mut AnyConnection, tenant: &str) -> Result<Vec<Edge>, ControlError> {
        edges::all(connection)?.iter().filter(|row| row.tenants.includes(tenant)).map(|row| self.open_edge(row)).collect()
    }

    fn escrowed(
        &self,
        connection: &mut AnyConnection,
        tenant: &TenantRow,
        root: &TenantRoot,
    ) -> Result<Vec<(KeyId, WrapKey)>, ControlError> {
        let (owner, escrow_key) = (TenantId::from(tenant.id.as_str()), EscrowKey::of(root));
        let rows = grants::escrow_of(connection, &tenant.id)?;
        rows.into_iter()
            .map(|row| {
                let id = KeyId::from(row.key_id.as_str());
                let wrap_key = open(&EscrowContext { tenant: &owner, key_id: &id }, &escrow_key, &row.blob);
                Ok((id, wrap_key.map_err(|_| ControlError::Unopened { blob: "ESCROW", of: format!("{}/{}", tenant.id, row.key_id) })?))
            })
            .collect()
    }
}

/// Deletes the grants of expired keys.
fn withdraw_expired(connection: &mut AnyConnection, tenant: &str) -> Result<(), ControlError> {
    let now = clock::unix_seconds();
    for key in keys::active_of(connection, tenant)?.iter().filter(|key| !is_active(key, now)) {
        grants::withdraw(connection, &key.id)?;
    }
    Ok(())
}

/// Returns the tenant's ring `main`; creates it if it is missing.
fn main_ring(connection: &mut AnyConnection, tenant: &str) -> Result<RingRow, ControlError> {
    let name = Ring::main();
    if let Some(row) = grants::ring(connection, tenant, name.as_str())? {
        return Ok(row);
    }
    let row = RingRow { tenant: tenant.to_owned(), ring: name.as_str().to_owned(), epoch: 1, versions: 0 };
    grants::insert_ring(connection, &row)?;
    Ok(row)
}

/// Writes a grant for each virtual key at each edge.
fn grant(
    connection: &mut AnyConnection,
    row: &RingRow,
    root: &TenantRoot,
    edges: &[Edge],
    keys: &[(KeyId, WrapKey)],
) -> Result<(), ControlError> {
    let damaged = || ControlError::Unopened { blob: "GRANT", of: format!("{}, ring {}", row.tenant, row.ring) };
    let ring = Ring::parse(&row.ring).map_err(|_| damaged())?;
    if ring.is_vault() {
        return Ok(());
    }
    let epoch = Epoch(u32::try_from(row.epoch).map_err(|_| damaged())?);
    let (tenant, spend_key) = (TenantId::from(row.tenant.as_str()), SpendKey::of(root, &ring, epoch));
    for (key_id, wrap_key) in keys {
        for edge in edges {
            let context = GrantContext { tenant: &tenant, key_id, edge_id: &edge.id, ring: &ring, epoch };
            let blob = seal(&context, &GrantKey::of(&edge.key, wrap_key, &edge.id), &spend_key)?;
            let row = GrantRow {
                key_id: key_id.to_string(),
                edge: edge.id.to_string(),
                ring: row.ring.clone(),
                epoch: row.epoch,
                tenant: row.tenant.clone(),
                blob,
            };
            grants::insert(connection, &row)?;
        }
    }
    Ok(())
}

/// Seals the SECRET of a row.
fn sealed(root: &TenantRoot, row: &ProviderRow, payload: &KeyPayload) -> Result<Vec<u8>, ControlError> {
    Ok(secret_context(row)?.with(|context, ring, epoch| seal(context, &SpendKey::of(root, ring, epoch), payload))?)
}

/// The context of a row's SECRET, with owned names.
struct OwnedSecretContext {
    tenant: TenantId,
    ring: Ring,
    name: ProviderName,
    version: Version,
    epoch: Epoch,
}

fn secret_context(row: &ProviderRow) -> Result<OwnedSecretContext, ControlError> {
    let damaged = || ControlError::Unopened { blob: "SECRET", of: format!("{}/{}", row.tenant, row.name) };
    Ok(OwnedSecretContext {
        tenant: row.tenant.as_str().into(),
        ring: Ring::parse(&row.ring).map_err(|_| damaged())?,
        name: row.name.as_str().into(),
        version: Version(u32::try_from(row.version).map_err(|_| damaged())?),
        epoch: Epoch(u32::try_from(row.epoch).map_err(|_| damaged())?),
    })
}

impl OwnedSecretContext {
    fn with<T>(&self, work: impl FnOnce(&SecretContext<'_>, &Ring, Epoch) -> T) -> T {
        let Self { tenant, ring, name, version, epoch } = self;
        work(&SecretContext { tenant, ring, name, version: *version, epoch: *epoch }, ring, *epoch)
    }
}
