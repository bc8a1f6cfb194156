//! Assembly of the control half: database, master key, admin API and the publication of snapshots.
//!
//! Knows the gateway half only by the traits it is given.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_server::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, rt, web};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::error::StartError;
use super::host_error::HostError;
use super::listen::{bind, server_builder};
use crate::catalog::directory::DirectoryContext;
use crate::catalog::offerings::Offerings;
use crate::catalog::snapshot::Snapshot;
use crate::config::{self, ProcessEnvironment, Settings};
use crate::control::admin::hosts::{self, Hosts};
use crate::control::publish::{InitialState, Publisher};
use crate::control::readiness::Readiness;
use crate::control::sealing::Sealer;
use crate::control::sealing::start::KeyMaterial;
use crate::control::store::Store;
use crate::control::{self, Control, Dependencies, LedgerFlush};
use crate::guard::SelfListen;
use crate::http;
use crate::http::connections::Connections;
use crate::ledger::EntrySink;
use crate::seal::spend::Edge;
use crate::secret::Secret;

/// The control half before it runs: the database is open and the first snapshot is loaded.
pub struct Opened {
    store: Store,
    sealing: Option<Arc<Sealer>>,
    edge: Option<Arc<Edge>>,
    initial: InitialState,
}

/// The links from the control half to the gateway half.
pub struct GatewayLinks {
    /// Receives snapshots and reports the health of providers.
    pub publisher: Arc<dyn Publisher>,
    /// Stores what has been settled, before the ledger is read.
    pub flush: LedgerFlush,
    /// Addresses that no provider's URL may name.
    pub self_listen: SelfListen,
}

impl Opened {
    /// Opens the database, checks it against the master key and loads the first snapshot. Blocks.
    ///
    /// # Errors
    /// If the database fails or the keys do not match it.
    pub fn open(settings: &Settings, offerings: Arc<Offerings>) -> Result<Self, StartError> {
        let store = Store::open(&settings.database.url)?;
        let KeyMaterial { sealing, edge } = Sealer::start(&store, &settings.sealing)?;
        let context = DirectoryContext { offerings, private_upstreams: settings.security.tenant_private_upstreams };
        let initial = InitialState::load(&store, edge.as_ref().map(|edge| edge.id.clone()), context)?;
        Ok(Self { store, sealing, edge, initial })
    }

    /// The first snapshot.
    pub fn snapshot(&self) -> Snapshot {
        self.initial.snapshot.clone()
    }

    /// The edge of this process; `None` if it cannot use tenants' own providers.
    pub fn edge(&self) -> Option<Arc<Edge>> {
        self.edge.clone()
    }

    /// Returns the sink that stores the gateway half's ledger entries.
    pub fn sink(&self) -> Box<dyn EntrySink> {
        Box::new(self.store.sink())
    }

    /// Returns the readiness probe: whether the database answers.
    ///
    /// # Errors
    /// The probe's thread cannot be started.
    pub fn database_probe(&self) -> io::Result<impl Fn() -> LocalBoxFuture<'static, bool> + Send + Sync + use<>> {
        let readiness = Readiness::start(self.store.clone())?;
        Ok(move || {
            let readiness = readiness.clone();
            async move { readiness.is_ready().await }.boxed_local()
        })
    }

    /// Connects the control half to a gateway half. `file` is the configuration file, for reloads;
    /// without an `admin_token` the admin API is off.
    pub fn connect(self, file: PathBuf, admin_token: Option<Secret>, links: GatewayLinks) -> Arc<Control> {
        Control::new(
            self.initial,
            Dependencies {
                store: self.store,
                settings: file,
                environment: Arc::new(ProcessEnvironment),
                admin_token,
                publisher: links.publisher,
                flush: links.flush,
                sealing: self.sealing,
                self_listen: links.self_listen,
            },
        )
    }
}

/// Follows the change log and, where `keep` is set, rolls up ledger entries older than that.
pub fn spawn_tasks(control: &Arc<Control>, keep: Option<Duration>) {
    rt::spawn(Arc::clone(control).watch());
    if let Some(keep) = keep {
        rt::spawn(Arc::clone(control).retain(keep));
    }
}

/// Reads the configuration again, for SIGHUP, and logs the result.
pub async fn reload(control: &Arc<Control>) {
    match control.reload().await {
        Ok(_) => log::info!("configuration reloaded"),
        Err(error) => log::error!("configuration not reloaded, nothing has changed: {error}"),
    }
}

/// Returns the routes that the control half adds to the data plane's listener: the admin API, unless
/// it has a listener of its own (`None`).
pub fn admin_routes(admin: Option<web::Data<Control>>) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static {
    move |config| {
        if let Some(control) = &admin {
            config.app_data(control.clone()).configure(control::admin::routes);
        }
    }
}

/// Starts the admin API on a listener of its own.
///
/// # Errors
/// If the address cannot be listened on.
pub fn listen_admin(
    listen: SocketAddr,
    hosts: Vec<String>,
    control: web::Data<Control>,
    server: &config::Server,
) -> Result<Server, StartError> {
    let hosts = web::Data::new(Hosts(hosts));
    let app = move || {
        App::new()
            .wrap(from_fn(hosts::check))
            .wrap(from_fn(http::middleware::guard_request))
            .app_data(hosts.clone())
            .app_data(control.clone())
            .configure(control::admin::routes)
            .default_service(web::to(http::unknown_endpoint))
    };
    let refused = |source| HostError::Listen { key: "admin.listen", listen, source };
    let listener = bind(listen, false).map_err(refused)?;
    let running = http::serve::listen(server_builder(1), listener, server, Connections::new(server), app).map_err(refused)?.run();
    log::info!("the admin API listens on http://{listen} only");
    Ok(running)
}
