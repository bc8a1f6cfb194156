//! Fixture: a control half on a fresh database, with a gateway half and a ledger that only record
//! calls.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt, ready};

use super::keys::{IssuedKey, KeyFields};
use super::publish::{InitialState, ProviderHealth, Publisher};
use super::sealing::Sealer;
use super::sealing::start::KeyMaterial;
use super::store::Store;
use super::store::changes::Actor;
use super::store::testing::{Fresh, on_each_database};
use super::tenants::NewTenant;
use super::{Control, Dependencies};
use crate::catalog::caller::Caller;
use crate::catalog::directory::DirectoryContext;
use crate::catalog::offerings::Offerings;
use crate::catalog::snapshot::Snapshot;
use crate::config::{self, CatalogSettings, Environment};
use crate::guard::SelfListen;
use crate::seal::spend::Edge;
use crate::secret::Secret;
use crate::terms::{ProviderName, TenantId};

pub const TOKEN: &str = "an-admin-token-of-tests-0123456789";
pub const ACTOR: Actor = Actor { who: "test", request_id: None, tenant_key: None };

/// The control half of one process and the recorded calls.
pub struct ControlFixture {
    pub control: Arc<Control>,
    pub gateway: Arc<RecordingPublisher>,
    pub flushed: Arc<AtomicUsize>,
    pub fresh: Arc<Fresh>,
    /// The edge of the gateway half, with a master key.
    pub edge: Option<Arc<Edge>>,
}

/// A gateway half that records the last snapshot.
#[derive(Default)]
pub struct RecordingPublisher(Mutex<Option<Snapshot>>);

/// Environment variables of a test.
pub struct Variables(pub HashMap<&'static str, String>);

impl Publisher for RecordingPublisher {
    fn adopt(&self, snapshot: Snapshot) -> BoxFuture<'static, ()> {
        *self.0.lock().unwrap() = Some(snapshot);
        ready(()).boxed()
    }

    fn health(&self, _: Option<&TenantId>, _: &ProviderName) -> ProviderHealth {
        ProviderHealth { cooldown_until: Some(7_000), failures: 3, last_error: Some("timeout".to_owned()) }
    }
}

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

/// Runs `test` on each available database, in an actix system.
pub fn on_each<F: Future<Output = ()>>(test: impl Fn(ControlFixture) -> F) {
    on_each_database(|fresh| actix_web::rt::System::new().block_on(test(ControlFixture::of(Arc::new(fresh)))));
}

impl ControlFixture {
    /// A control half without providers.
    pub fn of(fresh: Arc<Fresh>) -> Self {
        Self::with(fresh, Some(TOKEN), PathBuf::from("no/such/file.toml"))
    }

    /// Another process on the same database.
    pub fn another(&self) -> Self {
        let fresh = Fresh { store: Store::open(&self.fresh.url).unwrap(), url: self.fresh.url.clone(), cleanup: Box::new(()) };
        Self::of(Arc::new(fresh))
    }

    pub fn with(fresh: Arc<Fresh>, token: Option<&str>, settings: PathBuf) -> Self {
        let offerings = Offerings::build(&CatalogSettings::default(), None, 0);
        Self::serving(fresh, token, settings, offerings)
    }

    /// A control half with a master key and the providers of a catalog.
    pub fn sealed(fresh: Arc<Fresh>, catalog: &CatalogSettings, keys: config::Sealing) -> Self {
        Self::sealing(fresh, Some(TOKEN), PathBuf::from("no/such/file.toml"), Offerings::build(catalog, None, 0), keys)
    }

    /// A control half with the providers of a configuration file.
    pub fn configured(fresh: Arc<Fresh>, settings: &Path) -> Self {
        let loaded = crate::config::load(settings, &Variables(HashMap::new())).unwrap();
        Self::serving(fresh, Some(TOKEN), settings.to_owned(), Offerings::build(&loaded.catalog, None, 0))
    }

    fn serving(fresh: Arc<Fresh>, token: Option<&str>, settings: PathBuf, offerings: Offerings) -> Self {
        Self::sealing(fresh, token, settings, offerings, config::Sealing::default())
    }

    fn sealing(fresh: Arc<Fresh>, token: Option<&str>, settings: PathBuf, offerings: Offerings, keys: config::Sealing) -> Self {
        let (gateway, flushed) = (Arc::new(RecordingPublisher::default()), Arc::new(AtomicUsize::new(0)));
        let KeyMaterial { sealing, edge } = Sealer::start(&fresh.store, &keys).unwrap();
        let context = DirectoryContext { offerings: Arc::new(offerings), private_upstreams: false };
        let initial = InitialState::load(&fresh.store, edge.as_ref().map(|edge| edge.id.clone()), context).unwrap();
        gateway.adopt(initial.snapshot.clone()).now_or_never();
        let count = Arc::clone(&flushed);
        let dependencies = Dependencies {
            store: fresh.store.clone(),
            settings,
            environment: Arc::new(Variables(HashMap::new())),
            admin_token: token.map(Secret::new),
            publisher: gateway.clone(),
            flush: Arc::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
                ready(()).boxed()
            }),
            sealing,
            self_listen: SelfListen::default(),
        };
        Self { control: Control::new(initial, dependencies), gateway, flushed, fresh, edge }
    }

    pub async fn tenant(&self, id: &str) {
        let new = NewTenant { id: id.to_owned(), ..NewTenant::default() };
        self.control.create_tenant(ACTOR, new).await.unwrap();
    }

    pub async fn key(&self, tenant: &str) -> IssuedKey {
        self.control.create_key(ACTOR, tenant.to_owned(), KeyFields::default()).await.unwrap()
    }

    /// Returns the caller that the gateway half has for a key.
    pub fn known(&self, key: &IssuedKey) -> Option<Arc<Caller>> {
        self.gateway.snapshot().directory.callers.get(&key.key.lookup()).cloned()
    }
}

impl RecordingPublisher {
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().unwrap().clone().unwrap()
    }
}
