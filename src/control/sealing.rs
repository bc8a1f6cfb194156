//! Sealing in the control half: opens tenants' roots and writes the blobs that gateways need
//! (spec/security.md 1.5).
//!
//! Every function runs inside the transaction of a mutation. The operations that call them are in
//! [`tenants`](super::tenants), [`keys`](super::keys), [`providers`](super::providers) and
//! [`edges`](super::edges); [`crate::seal`] has the format of blobs.

pub mod grants;
pub mod rewrap;
pub mod start;

use std::sync::Arc;

use super::error::ControlError;
use super::master::keyring::{Keyring, RootOf, Wrapped};
use super::store::connection::AnyConnection;
use super::store::roots::{self, RootRow, TenantKeyRow};
use super::store::tenants::TenantRow;
use crate::clock;
use crate::credential::Credential;
use crate::seal::context::TenantKeyRootContext;
use crate::seal::derivation::{TenantRoot, TenantWrapKey};
use crate::seal::names::{Kid, TenantKeyId};
use crate::seal::open;
use crate::seal::tenant_key::TenantKeyHolder;
use crate::terms::TenantId;

/// Seals with the current master key; also opens blobs of old master keys.
pub struct Sealer {
    keyring: Keyring,
}

/// A newly created tenant key, which can be shown only now.
#[derive(Debug)]
pub struct IssuedTenantKey {
    /// Its row.
    pub row: TenantKeyRow,
    /// The key.
    pub key: Credential,
}

/// Custody in which neither the master key nor the operator can open a tenant's secrets.
pub const CUSTODY_TENANT: &str = "tenant";

const MASTER: &str = "master:";
const TENANT_KEY: &str = "tk:";

impl Sealer {
    /// Creates the root of a new tenant. With custody `tenant`, wraps it with a new tenant key only
    /// and returns that key.
    ///
    /// # Errors
    /// If no random bytes are available, or the database fails; so for every function here.
    pub fn create_root(&self, connection: &mut AnyConnection, tenant: &TenantRow) -> Result<Option<IssuedTenantKey>, ControlError> {
        let root = TenantRoot::generate()?;
        if tenant.custody == CUSTODY_TENANT {
            return self.add_tenant_key(connection, tenant, &root).map(Some);
        }
        self.wrap_root(connection, tenant, &root)?;
        Ok(None)
    }

    /// Opens a tenant's root with the master key or with the presented tenant key, depending on the
    /// custody. Creates the root of a tenant from before the master key was set.
    ///
    /// # Errors
    /// If the tenant key is missing or wrong, or the blob does not open.
    pub fn root(
        &self,
        connection: &mut AnyConnection,
        tenant: &TenantRow,
        presented: Option<&Arc<Credential>>,
    ) -> Result<TenantRoot, ControlError> {
        if tenant.custody == CUSTODY_TENANT {
            return self.root_by_tenant_key(connection, tenant, presented);
        }
        let id = TenantId::from(tenant.id.as_str());
        let held = roots::of(connection, &tenant.id)?.into_iter().find_map(|row| Some((kid_of(&row.holder)?, row.blob)));
        match held {
            Some((kid, blob)) => Ok(self.keyring.open(&RootOf(&id), &Wrapped { kid, blob })?),
            None => {
                let root = TenantRoot::generate()?;
                self.wrap_root(connection, tenant, &root)?;
                Ok(root)
            }
        }
    }

    /// Creates another tenant key and wraps the root with it.
    pub fn add_tenant_key(
        &self,
        connection: &mut AnyConnection,
        tenant: &TenantRow,
        root: &TenantRoot,
    ) -> Result<IssuedTenantKey, ControlError> {
        let TenantKeyHolder { id, key, root: blob } = TenantKeyHolder::of(root, &TenantId::from(tenant.id.as_str()))?;
        let row = TenantKeyRow {
            id: id.as_str().to_owned(),
            tenant: tenant.id.clone(),
            lookup: key.lookup().to_vec(),
            last4: key.text().last4().to_owned(),
            created_at: clock::unix_seconds(),
        };
        self.insert_tenant_key(connection, &row, blob)?;
        Ok(IssuedTenantKey { row, key })
    }

    /// Stores a tenant key with the root that it wraps, wherever it was created.
    pub fn insert_tenant_key(&self, connection: &mut AnyConnection, row: &TenantKeyRow, root: Vec<u8>) -> Result<(), ControlError> {
        roots::insert_tenant_key(connection, row)?;
        roots::insert(connection, &RootRow { tenant: row.tenant.clone(), holder: format!("{TENANT_KEY}{}", row.id), blob: root })?;
        Ok(())
    }

    /// Deletes a tenant key with the root that it wraps. Without the last one nothing of the tenant
    /// could be opened, so it must stay.
    ///
    /// # Errors
    /// If there is no such key, or it is the last one.
    pub fn remove_tenant_key(&self, connection: &mut AnyConnection, tenant: &TenantRow, id: &str) -> Result<TenantKeyRow, ControlError> {
        let keys = roots::tenant_keys_of(connection, &tenant.id)?;
        let is_last = keys.len() == 1;
        let row = keys.into_iter().find(|row| row.id == id).ok_or_else(|| ControlError::not_found("tenant key", id))?;
        if is_last {
            let message =
                "the last tenant key cannot be deleted, because nothing of the tenant could be opened again; create another first"
                    .to_owned();
            return Err(ControlError::Conflict { code: "last_tenant_key", message });
        }
        roots::delete(connection, &tenant.id, &format!("{TENANT_KEY}{id}"))?;
        roots::delete_tenant_key(connection, id)?;
        Ok(row)
    }

    fn root_by_tenant_key(
        &self,
        connection: &mut AnyConnection,
        tenant: &TenantRow,
        presented: Option<&Arc<Credential>>,
    ) -> Result<TenantRoot, ControlError> {
        let key = presented.ok_or(ControlError::TenantKeyRequired)?;
        let wrap_key = TenantWrapKey::of(key).ok_or(ControlError::TenantKeyRequired)?;
        let row = roots::tenant_key(connection, &tenant.id, &key.lookup())?;
        let row = row.filter(|row| orion::util::secure_cmp(&row.lookup, &key.lookup()).is_ok()).ok_or(ControlError::TenantKeyRequired)?;
        let unopened = || ControlError::Unopened { blob: "ROOT", of: format!("{}, tenant key {}", tenant.id, row.id) };
        let held = roots::find(connection, &tenant.id, &format!("{TENANT_KEY}{}", row.id))?.ok_or_else(unopened)?;
        let id = TenantKeyId::parse(&row.id).map_err(|_| unopened())?;
        let owner = TenantId::from(tenant.id.as_str());
        open(&TenantKeyRootContext { tenant: &owner, tenant_key: &id }, &wrap_key, &held.blob).map_err(|_| unopened())
    }

    /// Wraps a root with the master key and stores it.
    fn wrap_root(&self, connection: &mut AnyConnection, tenant: &TenantRow, root: &TenantRoot) -> Result<(), ControlError> {
        let id = TenantId::from(tenant.id.as_str());
        let Wrapped { kid, blob } = self.keyring.wrap(&RootOf(&id), root)?;
        roots::insert(connection, &RootRow { tenant: tenant.id.clone(), holder: holder_of(kid), blob })?;
        Ok(())
    }
}

fn holder_of(kid: Kid) -> String {
    format!("{MASTER}{kid}")
}

fn kid_of(holder: &str) -> Option<Kid> {
    Kid::parse(holder.strip_prefix(MASTER)?)
}
