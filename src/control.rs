//! The control half: owns the store, administers, and publishes snapshots to the gateway half.
//!
//! A [`Control`] is shared by the admin API, the command line's quickstart and the server. A mutation is one transaction, then
//! the directory is brought up to date from the change log and published, then the answer goes out: what is refused from now
//! on is refused at once in this process, and elsewhere as soon as [`Control::watch`] there sees the log.

pub mod admin;
pub mod directory;
pub mod edges;
pub mod error;
pub mod fields;
pub mod keys;
pub mod master;
pub mod providers;
pub mod reports;
pub mod retention;
pub mod sealing;
pub mod store;
pub mod tenants;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_web::web;
use futures_util::future::BoxFuture;
use orion::hazardous::hash::sha2::sha256::Sha256;

use crate::catalog::offerings::Offerings;
use crate::catalog::snapshot::Snapshot;
use crate::config::check::Problems;
use crate::config::{self, Environment};
use crate::guard::SelfListen;
use crate::seal::names::EdgeId;
use crate::secret::Secret;
use crate::terms::{ProviderName, TenantId};
use directory::Frame;
use error::ControlError;
use sealing::Sealer;
use store::changes::{Actor, Mutation};
use store::connection::AnyConnection;
use store::{Store, StoreError};

/// The gateway half as the control half sees it.
pub trait Publisher: Send + Sync {
    /// Hands out a new snapshot; done when every worker of this process answers from it.
    fn adopt(&self, snapshot: Snapshot) -> BoxFuture<'static, ()>;

    /// What it answers from is known to be up to date, now.
    fn confirmed(&self) {}

    /// How a provider has been doing: a tenant's own, or a brokered one.
    fn health(&self, owner: Option<&TenantId>, provider: &ProviderName) -> Health {
        let _ = (owner, provider);
        Health::default()
    }
}

/// How a provider has been doing, on all workers of this process together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Unix milliseconds until which it is skipped.
    pub cooldown_until: Option<i64>,
    /// Failures in a row.
    pub failures: u32,
    /// The class of the last failure since the last success.
    pub last_error: Option<String>,
}

/// Asks the ledger to store what has been settled.
pub type Flush = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The first snapshot, and the change it reflects.
pub struct World {
    /// What the gateway half starts with.
    pub snapshot: Snapshot,
    position: i64,
    edge: Option<EdgeId>,
    private_upstreams: bool,
}

/// What a [`Control`] is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The configuration file, for reloads.
    pub settings: PathBuf,
    /// Where reloads find variables.
    pub environment: Box<dyn Environment + Send + Sync>,
    /// `None`: the admin API is off.
    pub admin_token: Option<Secret>,
    /// The gateway half.
    pub publisher: Arc<dyn Publisher>,
    /// The ledger.
    pub flush: Flush,
    /// What it seals with; `None`: there is no master key, so tenants cannot bring providers of their own.
    pub sealing: Option<Arc<Sealer>>,
    /// Where this process listens, which no provider's URL may name.
    pub self_listen: SelfListen,
}

/// The control half of this process.
pub struct Control {
    store: Store,
    settings: PathBuf,
    environment: Box<dyn Environment + Send + Sync>,
    admin_token: Option<[u8; 32]>,
    publisher: Arc<dyn Publisher>,
    flush: Flush,
    sealing: Option<Arc<Sealer>>,
    self_listen: SelfListen,
    edge: Option<EdgeId>,
    private_upstreams: bool,
    snapshot: RwLock<Snapshot>,
    /// The change that `snapshot` reflects; whoever publishes holds it.
    position: tokio::sync::Mutex<i64>,
}

/// What a reload has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Models now offered.
    pub models: usize,
    /// Providers that take part.
    pub providers: usize,
    /// What is legal but deserves a line.
    pub warnings: Vec<String>,
}

const POLL: Duration = Duration::from_millis(500);

impl World {
    /// Reads the directory. Blocks: for the start of the process.
    ///
    /// # Errors
    /// If the database fails.
    pub fn load(store: &Store, frame: Frame) -> Result<Self, StoreError> {
        let (directory, position) = store.read(|connection| Ok::<_, StoreError>(directory::load(connection, &frame, None)?))?;
        let Frame { offerings, edge, private_upstreams } = frame;
        Ok(Self { snapshot: Snapshot { offerings, directory: Arc::new(directory) }, position, edge, private_upstreams })
    }
}

impl Control {
    /// Takes charge of a world that the gateway half has been started with.
    pub fn new(world: World, parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            store: parts.store,
            settings: parts.settings,
            environment: parts.environment,
            admin_token: parts.admin_token.and_then(|token| digest(token.expose())),
            publisher: parts.publisher,
            flush: parts.flush,
            sealing: parts.sealing,
            self_listen: parts.self_listen,
            edge: world.edge,
            private_upstreams: world.private_upstreams,
            snapshot: RwLock::new(world.snapshot),
            position: tokio::sync::Mutex::new(world.position),
        })
    }

    /// The snapshot published last.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How a provider has been doing: a tenant's own, or a brokered one.
    pub fn health(&self, owner: Option<&TenantId>, provider: &ProviderName) -> Health {
        self.publisher.health(owner, provider)
    }

    /// What seals; without it nothing that is to be sealed can be done.
    fn sealing(&self) -> Result<Arc<Sealer>, ControlError> {
        self.sealing.clone().ok_or(ControlError::SealingUnavailable)
    }

    fn frame(&self, offerings: Arc<Offerings>) -> Frame {
        Frame { offerings, edge: self.edge.clone(), private_upstreams: self.private_upstreams }
    }

    /// Follows what other processes on the same database change, for as long as it is polled.
    pub async fn watch(self: Arc<Self>) {
        let mut is_behind = false;
        loop {
            actix_web::rt::time::sleep(POLL).await;
            match self.catch_up().await {
                Ok(()) if is_behind => log::info!("the change log can be read again"),
                Err(error) if !is_behind => log::warn!("cannot follow the change log: {error}; changes made elsewhere wait"),
                _ => continue,
            }
            is_behind = !is_behind;
        }
    }

    /// Reads the configuration again and publishes it. A bad one changes nothing.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub async fn reload(self: &Arc<Self>) -> Result<Reloaded, ControlError> {
        // Held from the start, so that the reload that reads last publishes last.
        let _publishing = self.position.lock().await;
        let control = Arc::clone(self);
        let built = blocking(move || {
            let settings = config::load(&control.settings, control.environment.as_ref())?;
            let Snapshot { offerings: before, directory } = control.snapshot();
            let offerings = Arc::new(Offerings::build(&settings.catalog, Some(&before), now_ms() / 1_000));
            let directory = Arc::new(directory::refit(&control.frame(Arc::clone(&offerings)), &directory));
            Ok::<_, Problems>((Snapshot { offerings, directory }, settings.warnings))
        });
        let (snapshot, warnings) = built.await??;
        let offerings = &snapshot.offerings;
        let reloaded = Reloaded {
            models: offerings.models.len(),
            providers: offerings.providers.iter().filter(|listed| listed.disabled.is_none()).count(),
            warnings,
        };
        self.publish(snapshot).await;
        Ok(reloaded)
    }

    /// Whether `token` opens the admin API; `None` if it is off.
    fn admits(&self, token: Option<&str>) -> Option<bool> {
        let expected = self.admin_token.as_ref()?;
        // A missing token is compared too: the same work for every refusal.
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

    /// As [`read`](Self::read), with everything settled until now in the ledger.
    async fn read_ledger<T, Q>(&self, query: Q) -> Result<T, ControlError>
    where
        T: Send + 'static,
        Q: FnOnce(&mut AnyConnection) -> Result<T, ControlError> + Send + 'static,
    {
        (self.flush)().await;
        self.read(query).await
    }

    /// Changes the database, off the workers, and publishes the change before it answers.
    async fn mutate<T, S>(&self, actor: Actor, statements: S) -> Result<T, ControlError>
    where
        T: Send + 'static,
        S: FnOnce(&mut AnyConnection) -> Result<Mutation<T>, ControlError> + Send + 'static,
    {
        let store = self.store.clone();
        let answer = blocking(move || store.mutate(&actor, now_ms(), statements)).await??;
        self.catch_up().await.map_err(|error| ControlError::NotYetInEffect(error.to_string()))?;
        Ok(answer)
    }

    /// Brings the directory up to date with the change log and publishes it if anything changed.
    async fn catch_up(&self) -> Result<(), ControlError> {
        let mut position = self.position.lock().await;
        let (current, reached) = (self.snapshot(), *position);
        let (directory, frame) = (Arc::clone(&current.directory), self.frame(Arc::clone(&current.offerings)));
        let news = self.read(move |connection| Ok(directory::catch_up(connection, &frame, &directory, reached)?)).await?;
        if let Some((directory, reached)) = news {
            let (before, directory) = (Arc::clone(&current.directory), Arc::new(directory));
            self.publish(Snapshot { directory: Arc::clone(&directory), ..current }).await;
            *position = reached;
            for (tenant, provider) in directory::newly_rolled_back(&before, &directory) {
                self.report_rollback(tenant, provider).await;
            }
        }
        self.publisher.confirmed();
        Ok(())
    }

    /// Somebody has written an older sealed key into the database: an operator has to know.
    async fn report_rollback(&self, tenant: &TenantId, provider: &ProviderName) {
        log::error!(
            "the sealed key of provider {provider} of tenant {tenant} is older than the one before, so the provider is not used; \
             if a backup was restored, restart the gateway, else somebody has written to the database"
        );
        let target = format!("{tenant}/{provider}");
        let actor = Actor { who: "gateway", request_id: None, tenant_key: None };
        let store = self.store.clone();
        let record = move |_: &mut AnyConnection| {
            Ok::<_, StoreError>(Mutation { answer: (), action: "provider.rolled_back", target, changes: vec![] })
        };
        let recorded = blocking(move || store.mutate(&actor, now_ms(), record)).await.and_then(|recorded| Ok(recorded?));
        if let Err(error) = recorded {
            log::warn!("the rollback is not recorded: {error}");
        }
    }

    async fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot.clone();
        self.publisher.adopt(snapshot).await;
    }
}

/// Runs what blocks on the threads made for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ControlError> {
    web::block(work).await.map_err(|_| ControlError::Interrupted)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    Sha256::digest(text.as_bytes()).ok()?.as_ref().try_into().ok()
}

/// Unix milliseconds.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
