//! Publication of snapshots: follows the change log and reloads of the configuration, and hands
//! each new snapshot to the gateway half.
//!
//! Only the transport is here. A snapshot is built by [`crate::catalog`] from records and
//! configuration, so that a gateway without a database builds the same one from records it
//! receives.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::blocking::blocking;
use super::directory;
use super::error::ControlError;
use super::store::changes::{Actor, Mutation};
use super::store::connection::AnyConnection;
use super::store::{Store, StoreError};
use crate::catalog::directory::DirectoryContext;
use crate::catalog::offerings::Offerings;
use crate::catalog::snapshot::Snapshot;
use crate::clock;
use crate::config::Problems;
use crate::config::{self, Environment};
use crate::seal::names::EdgeId;
use crate::terms::{ProviderName, TenantId};

/// The gateway half as the control half sees it.
pub trait Publisher: Send + Sync {
    /// Hands out a new snapshot; completes when every worker of this process answers from it.
    fn adopt(&self, snapshot: Snapshot) -> BoxFuture<'static, ()>;

    /// Confirms that the last snapshot is up to date now.
    fn confirmed(&self) {}

    /// Health of a provider: a tenant's own, or a brokered one if `owner` is `None`.
    fn health(&self, owner: Option<&TenantId>, provider: &ProviderName) -> ProviderHealth {
        let _ = (owner, provider);
        ProviderHealth::default()
    }
}

/// Health of a provider, over all workers of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderHealth {
    /// Unix milliseconds until which it is in cooldown.
    pub cooldown_until: Option<i64>,
    /// Consecutive failures.
    pub failures: u32,
    /// Class of the last failure since the last success.
    pub last_error: Option<String>,
}

/// The first snapshot, and the change log position that it reflects.
pub struct InitialState {
    /// The snapshot that the gateway half starts with.
    pub snapshot: Snapshot,
    position: i64,
    edge: Option<EdgeId>,
    private_upstreams: bool,
}

/// Result of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Models now offered.
    pub models: usize,
    /// Enabled providers.
    pub providers: usize,
    /// Warnings about the configuration.
    pub warnings: Vec<String>,
}

/// The current snapshot, and the means to bring it up to date.
pub struct SnapshotFeed {
    store: Store,
    publisher: Arc<dyn Publisher>,
    edge: Option<EdgeId>,
    private_upstreams: bool,
    snapshot: RwLock<Snapshot>,
    /// Change log position that `snapshot` reflects. Locked while publishing.
    position: tokio::sync::Mutex<i64>,
}

const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl InitialState {
    /// Reads the directory. `edge` is the edge whose grants are read; `None` if this process cannot
    /// use any. Blocks: for the start of the process.
    ///
    /// # Errors
    /// If the database fails.
    pub fn load(store: &Store, edge: Option<EdgeId>, context: DirectoryContext) -> Result<Self, StoreError> {
        let (records, position) = store.read(|connection| Ok::<_, StoreError>(directory::read(connection, edge.as_ref())?))?;
        let private_upstreams = context.private_upstreams;
        Ok(Self { snapshot: Snapshot::from_records(context, records), position, edge, private_upstreams })
    }

    /// Whether tenants' own providers may be at private addresses.
    pub fn private_upstreams(&self) -> bool {
        self.private_upstreams
    }
}

impl SnapshotFeed {
    /// Continues from the state that the gateway half was started with.
    pub fn new(initial: InitialState, store: Store, publisher: Arc<dyn Publisher>) -> Self {
        Self {
            store,
            publisher,
            edge: initial.edge,
            private_upstreams: initial.private_upstreams,
            snapshot: RwLock::new(initial.snapshot),
            position: tokio::sync::Mutex::new(initial.position),
        }
    }

    /// The last published snapshot.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Health of a provider: a tenant's own, or a brokered one if `owner` is `None`.
    pub fn health(&self, owner: Option<&TenantId>, provider: &ProviderName) -> ProviderHealth {
        self.publisher.health(owner, provider)
    }

    /// Follows the changes that other processes make to the same database, for as long as it is
    /// polled.
    pub async fn watch(&self) {
        let mut is_failing = false;
        loop {
            actix_web::rt::time::sleep(POLL_INTERVAL).await;
            match self.catch_up().await {
                Ok(()) if is_failing => log::info!("the change log can be read again"),
                Err(error) if !is_failing => log::warn!("cannot read the change log: {error}; changes made by other processes are delayed"),
                _ => continue,
            }
            is_failing = !is_failing;
        }
    }

    /// Brings the directory up to date with the change log, and publishes it if anything changed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn catch_up(&self) -> Result<(), ControlError> {
        let mut position = self.position.lock().await;
        let (current, private_upstreams) = (self.snapshot(), self.private_upstreams);
        let (store, edge, reached) = (self.store.clone(), self.edge.clone(), *position);
        let before = Arc::clone(&current.directory);
        let update = move || {
            let update = store.read(|connection| Ok::<_, StoreError>(directory::read_after(connection, edge.as_ref(), reached)?))?;
            Ok::<_, StoreError>(update.map(|(update, reached)| (current.updated(private_upstreams, update), reached)))
        };
        if let Some((snapshot, reached)) = blocking(update).await?? {
            let directory = Arc::clone(&snapshot.directory);
            self.publish(snapshot).await;
            *position = reached;
            for (tenant, provider) in directory.rolled_back_since(&before) {
                self.report_rollback(tenant, provider).await;
            }
        }
        self.publisher.confirmed();
        Ok(())
    }

    /// Reads the configuration `file` again and publishes it. An invalid one changes nothing.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub async fn reload(&self, file: PathBuf, environment: Arc<dyn Environment + Send + Sync>) -> Result<Reloaded, ControlError> {
        // Locked before the file is read, so that the last reload to read is the last to publish.
        let _publishing = self.position.lock().await;
        let (current, private_upstreams) = (self.snapshot(), self.private_upstreams);
        let built = blocking(move || {
            let settings = config::load(&file, environment.as_ref())?;
            let built_at = clock::unix_seconds();
            let offerings = Arc::new(Offerings::build(&settings.catalog, Some(&current.offerings), built_at));
            let snapshot = current.with_offerings(DirectoryContext { offerings, private_upstreams });
            Ok::<_, Problems>((snapshot, settings.warnings))
        });
        let (snapshot, warnings) = built.await??;
        let offerings = &snapshot.offerings;
        let reloaded = Reloaded {
            models: offerings.models.len(),
            providers: offerings.providers.iter().filter(|provider| provider.disabled.is_none()).count(),
            warnings,
        };
        self.publish(snapshot).await;
        Ok(reloaded)
    }

    async fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot.clone();
        self.publisher.adopt(snapshot).await;
    }

    /// Logs and records that an older sealed key was written to the database: an operator must
    /// know.
    async fn report_rollback(&self, tenant: &TenantId, provider: &ProviderName) {
        log::error!(
            "the sealed key of provider {provider} of tenant {tenant} is older than the one before, so the provider is inactive; \
             if a backup was restored, restart the gateway; otherwise the database was modified"
        );
        let target = format!("{tenant}/{provider}");
        let actor = Actor { who: "gateway", request_id: None, tenant_key: None };
        let store = self.store.clone();
        let event = move |_: &mut AnyConnection| {
            Ok::<_, StoreError>(Mutation { answer: (), action: "provider.rolled_back", target, changes: vec![] })
        };
        let recorded = blocking(move || store.mutate(&actor, clock::unix_millis(), event)).await.and_then(|recorded| Ok(recorded?));
        if let Err(error) = recorded {
            log::warn!("cannot record the rollback: {error}");
        }
    }
}
