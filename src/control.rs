//! The control half: owns the store, administers it, and publishes snapshots to the gateway half.
//!
//! A [`Control`] is shared by the admin API, the quickstart command and the server. A mutation is
//! one transaction; then the directory is brought up to date from the change log and published;
//! then the response is sent. A revoked key is therefore refused at once in this process, and in
//! others as soon as [`Control::watch`] there reads the log.

pub mod admin;
mod blocking;
pub mod directory;
pub mod edges;
pub mod error;
pub mod fields;
pub mod keys;
pub mod master;
pub mod providers;
pub mod publish;
pub mod readiness;
pub mod reports;
pub mod retention;
pub mod sealing;
pub mod store;
pub mod tenants;

#[cfg(test)]
mod testing;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use orion::hazardous::hash::sha2::sha256::Sha256;

use crate::catalog::snapshot::Snapshot;
use crate::clock;
use crate::config::Environment;
use crate::guard::SelfListen;
use crate::secret::Secret;
use crate::terms::{ProviderName, TenantId};
use blocking::blocking;
use error::ControlError;
use publish::{InitialState, ProviderHealth, Publisher, Reloaded, SnapshotFeed};
use sealing::Sealer;
use store::Store;
use store::changes::{Actor, Mutation};
use store::connection::AnyConnection;

/// Makes the ledger store everything that has been settled.
pub type LedgerFlush = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Dependencies of a [`Control`].
pub struct Dependencies {
    /// The database.
    pub store: Store,
    /// Configuration file, for reloads.
    pub settings: PathBuf,
    /// Environment variables, for reloads.
    pub environment: Arc<dyn Environment + Send + Sync>,
    /// Token of the admin API; `None`: the admin API is off.
    pub admin_token: Option<Secret>,
    /// The gateway half.
    pub publisher: Arc<dyn Publisher>,
    /// Flush of the ledger.
    pub flush: LedgerFlush,
    /// Seals; `None`: there is no master key, so tenants cannot have own providers.
    pub sealing: Option<Arc<Sealer>>,
    /// Addresses of this process, which no provider's URL may name.
    pub self_listen: SelfListen,
}

/// The control half of this process.
pub struct Control {
    store: Store,
    settings: PathBuf,
    environment: Arc<dyn Environment + Send + Sync>,
    admin_token: Option<[u8; 32]>,
    flush: LedgerFlush,
    sealing: Option<Arc<Sealer>>,
    self_listen: SelfListen,
    private_upstreams: bool,
    feed: SnapshotFeed,
}

impl Control {
    /// Continues from the state that the gateway half was started with.
    pub fn new(initial: InitialState, dependencies: Dependencies) -> Arc<Self> {
        let Dependencies { store, settings, environment, admin_token, publisher, flush, sealing, self_listen } = dependencies;
        Arc::new(Self {
            settings,
            environment,
            admin_token: admin_token.and_then(|token| digest(token.expose())),
            flush,
            sealing,
            self_listen,
            private_upstreams: initial.private_upstreams(),
            feed: SnapshotFeed::new(initial, store.clone(), publisher),
            store,
        })
    }

    /// The last published snapshot.
    pub fn snapshot(&self) -> Snapshot {
        self.feed.snapshot()
    }

    /// Health of a provider: a tenant's own, or a brokered one if `owner` is `None`.
    pub fn health(&self, owner: Option<&TenantId>, provider: &ProviderName) -> ProviderHealth {
        self.feed.health(owner, provider)
    }

    /// Follows the changes that other processes make to the same database, for as long as it is
    /// polled.
    pub async fn watch(self: Arc<Self>) {
        self.feed.watch().await;
    }

    /// Reads the configuration again and publishes it. An invalid one changes nothing.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub async fn reload(&self) -> Result<Reloaded, ControlError> {
        self.feed.reload(self.settings.clone(), Arc::clone(&self.environment)).await
    }

    /// The sealer, which needs a master key.
    fn sealing(&self) -> Result<Arc<Sealer>, ControlError> {
        self.sealing.clone().ok_or(ControlError::SealingUnavailable)
    }

    /// Whether `token` is the token of the admin API; `None` if the API is off.
    fn admits(&self, token: Option<&str>) -> Option<bool> {
        let expected = self.admin_token.as_ref()?;
        // A missing token is compared too, so that every refusal does the same work.
        let presented = digest(token.unwrap_or_default());
        Some(presented.is_some_and(|presented| orion::util::secure_cmp(&presented, expected).is_ok()))
    }

    /// Reads from the database, off the workers.
    async fn read<T, Q>(&self, query: Q) -> Result<T, ControlError>
    where
        T: Send + 'static,
        Q: FnOnce(&mut AnyConnection) -> Result<T, ControlError> + Send + 'static,
    {
        let store = self.store.clone();
        blocking(move || store.read(query)).await?
    }

    /// Like [`read`](Self::read), after a flush of the ledger.
    async fn read_ledger<T, Q>(&self, query: Q) -> Result<T, ControlError>
    where
        T: Send + 'static,
        Q: FnOnce(&mut AnyConnection) -> Result<T, ControlError> + Send + 'static,
    {
        (self.flush)().await;
        self.read(query).await
    }

    /// Changes the database, off the workers, and publishes the change before it returns.
    async fn mutate<T, S>(&self, actor: Actor, statements: S) -> Result<T, ControlError>
    where
        T: Send + 'static,
        S: FnOnce(&mut AnyConnection) -> Result<Mutation<T>, ControlError> + Send + 'static,
    {
        let store = self.store.clone();
        let answer = blocking(move || store.mutate(&actor, clock::unix_millis(), statements)).await??;
        self.feed.catch_up().await.map_err(|error| ControlError::NotYetInEffect(error.to_string()))?;
        Ok(answer)
    }
}

fn digest(text: &str) -> Option<[u8; 32]> {
    Sha256::digest(text.as_bytes()).ok()?.as_ref().try_into().ok()
}

#[cfg(test)]
mod tests;
