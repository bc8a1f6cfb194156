//! Assembly of the gateway half: the ledger with its journal, the workers, the data plane and its
//! listener.
//!
//! Needs no database and no master key. [`Inputs`] come from a control half, in this process or in
//! another.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_server::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, rt, web};
use futures_util::future::LocalBoxFuture;
use tokio::time::{Instant, interval, sleep, timeout};

use super::host_error::HostError;
use super::listen::{self, server_builder};
use crate::catalog::snapshot::Snapshot;
use crate::config::{self, Settings};
use crate::gateway::worker::{WorkerOptions, Workers};
use crate::guard::SelfListen;
use crate::http;
use crate::http::connections::Connections;
use crate::http::identity::Authenticator;
use crate::http::probes::Probes;
use crate::http::state::AppState;
use crate::journal::sync_policy::SyncPolicy;
use crate::ledger::handle::{self, LedgerHandle, LedgerOptions};
use crate::ledger::{EntrySink, Observer};
use crate::memory::MemoryCapacity;
use crate::metrics::Metrics;
use crate::seal::spend::Edge;
use crate::upstream::Network;
use crate::upstream::resolver::DnsResolver;

/// Time to wait for the last settlements after the last response.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time to wait for the ledger to end if the database does not respond at all.
const LEDGER_STOP_TIMEOUT: Duration = Duration::from_secs(6);
/// Time that streams cut off by the grace period get to send their final event.
const FINAL_EVENT_TIMEOUT: Duration = Duration::from_secs(1);

/// Tells whether a dependency of the gateway answers.
pub type Probe = Box<dyn Fn() -> LocalBoxFuture<'static, bool> + Send + Sync>;

/// Dependencies of a gateway half that a control half provides.
pub struct Inputs {
    /// The snapshot to start with.
    pub snapshot: Snapshot,
    /// The gateway's half of every grant; `None`: it cannot use tenants' own providers.
    pub edge: Option<Arc<Edge>>,
    /// Stores ledger entries.
    pub sink: Box<dyn EntrySink>,
    /// Whether the store behind the sink answers.
    pub database: Probe,
    /// Addresses that no upstream call may reach.
    pub self_listen: SelfListen,
}

/// A running gateway half, before it listens.
pub struct Gateway {
    /// The workers: they receive snapshots and know the health of providers.
    pub workers: Arc<Workers>,
    /// The ledger's thread.
    pub ledger: LedgerHandle,
    state: web::Data<AppState>,
}

impl Gateway {
    /// Starts the ledger and prepares the workers; each worker starts its actors on first use.
    ///
    /// # Errors
    /// If the journal directory cannot be used.
    pub fn start(settings: &Settings, inputs: Inputs) -> Result<Self, HostError> {
        let server = &settings.server;
        let metrics = Arc::new(Metrics::new());
        let observer = Arc::clone(&metrics) as Arc<dyn Observer>;
        let ledger = handle::start(journaling(&settings.ledger), inputs.sink, observer).map_err(HostError::Journal)?;
        let network = Network { resolver: Arc::new(DnsResolver::start()?), self_listen: inputs.self_listen };
        let options = WorkerOptions {
            max_in_flight: server.max_in_flight,
            fail_static: settings.security.fail_static,
            edge: inputs.edge,
            cache: settings.sealing.cache,
            admission: None,
            filter: None,
        };
        let workers = Workers::new(inputs.snapshot, ledger.clone(), network, options);
        let state = web::Data::new(AppState {
            probes: probes(inputs.database, &metrics, &workers, &ledger),
            metrics,
            workers: Arc::clone(&workers),
            authenticator: Authenticator::new(settings.security.failed_auth_per_minute),
            server: server.clone(),
            limits: settings.upstream,
            memory: MemoryCapacity::new(server.buffer_budget),
        });
        Ok(Self { workers, ledger, state })
    }

    /// Serves the data plane, the probes and the routes of `more` on `listener`.
    ///
    /// # Errors
    /// If the socket cannot be handed to the workers.
    pub fn serve(
        &self,
        listener: TcpListener,
        server: &config::Server,
        more: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    ) -> Result<Server, HostError> {
        let state = self.state.clone();
        let app = move || {
            App::new()
                .wrap(from_fn(http::middleware::guard_request))
                .app_data(state.clone())
                .configure(http::routes)
                .configure(more.clone())
                .default_service(web::to(http::unknown_endpoint))
        };
        let builder = server_builder(server.workers)
            .max_concurrent_connections(server.max_connections)
            .shutdown_timeout((server.shutdown_grace + FINAL_EVENT_TIMEOUT).as_secs());
        Ok(http::serve::listen(builder, listener, server, Connections::new(server), app)?.run())
    }

    /// Returns a function that stops the server gracefully. After `grace` it cancels the streams
    /// that still run, which then send their clients a final event before the server closes them.
    pub fn stopper(&self, server: ServerHandle, grace: Duration) -> impl FnOnce() + use<> {
        let streams = Arc::clone(&self.workers.stopping);
        move || {
            log::info!("stopping: streams may continue for a while; a second signal stops at once");
            rt::spawn(async move { server.stop(true).await });
            rt::spawn(async move {
                sleep(grace).await;
                streams.cancel();
            });
        }
    }

    /// Forgets addresses without recent failures once a minute, for as long as the process runs.
    pub fn spawn_tasks(&self) {
        rt::spawn(sweep(self.state.clone()));
    }

    /// Waits until the last settlements are stored, after the last response. Gives up after a
    /// bounded time: the journal keeps what is not stored.
    pub async fn drain(&self) {
        let until = Instant::now() + SETTLE_TIMEOUT;
        while self.ledger.open_settlements() > 0 && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
        match timeout(LEDGER_STOP_TIMEOUT, self.ledger.stop(SETTLE_TIMEOUT)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => log::warn!("{error}; the next start stores them"),
            Err(_) => log::warn!("the database does not respond; the next start stores the entries in the journal"),
        }
    }
}

/// Opens the data plane's listening socket.
///
/// # Errors
/// If the address cannot be listened on.
pub fn bind(server: &config::Server) -> Result<TcpListener, HostError> {
    let refused = |source| HostError::Listen { key: "server.listen", listen: server.listen, source };
    listen::bind(server.listen, server.reuse_port).map_err(refused)
}

fn journaling(ledger: &config::LedgerSettings) -> LedgerOptions {
    let sync = match ledger.durability {
        config::Durability::Process => SyncPolicy::Never,
        config::Durability::Power => SyncPolicy::EachPoll,
    };
    LedgerOptions { dir: ledger.journal.clone(), sync, max_bytes: ledger.max_journal }
}

fn probes(database: Probe, metrics: &Arc<Metrics>, workers: &Arc<Workers>, ledger: &LedgerHandle) -> Probes {
    let (metrics, workers, ledger) = (Arc::clone(metrics), Arc::clone(workers), ledger.clone());
    Probes {
        database,
        metrics: Box::new(move || {
            metrics.set_in_flight(workers.in_flight());
            metrics.set_in_cooldown(workers.health.in_cooldown(std::time::Instant::now()));
            metrics.set_ledger(ledger.lag(), ledger.open_settlements());
            (metrics.encode(), Metrics::CONTENT_TYPE)
        }),
    }
}

async fn sweep(state: web::Data<AppState>) {
    let mut minute = interval(Duration::from_secs(60));
    loop {
        minute.tick().await;
        let state = state.clone();
        let _ = web::block(move || state.authenticator.sweep()).await;
    }
}
