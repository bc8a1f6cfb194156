//! Start and stop: what is built in which order, which signals mean what, and how a process ends without losing an entry.
//!
//! Knows no route and no provider.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_server::{Server, ServerBuilder, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, rt, web};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::catalog::offerings::{BrokeredProvider, Offerings};
use crate::catalog::snapshot::Snapshot;
use crate::config::{self, ProcessEnvironment, Settings};
use crate::control::admin::hosts::{self, Hosts};
use crate::control::directory::Frame;
use crate::control::sealing::rewrap::{self, RotateError};
use crate::control::sealing::{self, Sealing, Started};
use crate::control::store::{Store, StoreError};
use crate::control::{self, Control, Flush, Health, Parts, Publisher, World};
use crate::gateway::worker::{WorkerOptions, Workers};
use crate::guard::{SelfListen, Source};
use crate::http::connections::Connections;
use crate::http::health::Probes;
use crate::http::identity::Authenticator;
use crate::http::{self, AppState, clock};
use crate::ledger::actor::{LedgerHandle, Options};
use crate::ledger::reader::Durability;
use crate::ledger::{self, Observer};
use crate::memory::MemoryCapacity;
use crate::metrics::Metrics;
use crate::terms::{ProviderName, TenantId};
use crate::upstream::Network;
use crate::upstream::connector::{SystemResolver, interface_addresses};

/// How long to wait for the last settlements when all answers are out.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait for the ledger to end, if the database does not even say no.
const END_WITHIN: Duration = Duration::from_secs(6);
/// How long a read of the ledger waits for what was settled just before it.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long streams that are told to end after their grace may take to say so to their clients.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Blocking threads of a worker: admin reads only.
const BLOCKING_THREADS: usize = 8;

/// What is there once the process listens.
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
}

/// Why the process could not start. One line, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database and the master key do not fit together.
    #[error(transparent)]
    Sealing(#[from] sealing::StartError),
    /// A rotation of the master key has stopped.
    #[error(transparent)]
    Rotation(#[from] RotateError),
    /// The address is taken or not ours.
    #[error("cannot listen on {listen}: {source}; set {key} or stop what listens there")]
    Listen {
        /// `server.listen` or `admin.listen`
        key: &'static str,
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The journal directory cannot be used.
    #[error("cannot use the ledger's journal: {0}")]
    Journal(io::Error),
    /// Something the operating system refused.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// The process's exit code: what cannot be reached or bound is a failure, not refused key material.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Sealing(error) | StartError::Rotation(RotateError::Start(error)) => match error {
                sealing::StartError::Store(_) => 1,
                _ => 78,
            },
            StartError::Rotation(RotateError::NoMasterKey) => 78,
            _ => 1,
        }
    }
}

/// What a rotation of the master key came to.
pub struct Rotated {
    /// The name of the key that everything is under now.
    pub kid: String,
    /// Tenants moved in this run.
    pub roots: usize,
    /// Edges moved in this run.
    pub edges: usize,
}

/// Moves what the old master key of `settings` wraps to the new one, telling `progress` how many tenants and edges it has moved.
///
/// # Errors
/// If a key is missing or wrong, or the database fails. What was moved stays moved; another run goes on.
pub fn rotate_master_key(settings: &Settings, progress: impl Fn(usize, usize)) -> Result<Rotated, StartError> {
    let store = Store::open(&settings.database.url)?;
    let rotated = rewrap::rotate(&store, &settings.sealing, |moved| progress(moved.roots, moved.edges))?;
    Ok(Rotated { kid: rotated.kid.to_string(), roots: rotated.moved.roots, edges: rotated.moved.edges })
}

/// Serves until told to stop.
///
/// # Errors
/// What keeps it from starting. Once it listens it ends well.
pub fn serve(settings: Settings) -> Result<(), StartError> {
    serve_with(settings, |_| ())
}

/// As [`serve`]; calls `ready` once it listens.
///
/// # Errors
/// As [`serve`].
pub fn serve_with(settings: Settings, ready: impl FnOnce(&Ready)) -> Result<(), StartError> {
    actix::System::new().block_on(run(settings, ready))
}

/// Keeps what is in memory out of core dumps and debuggers (spec/security.md 1.7).
fn keep_memory_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        log::warn!("core dumps cannot be switched off: {error}; they would hold keys");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        log::warn!("debuggers cannot be kept out: {error}");
    }
}

async fn run(settings: Settings, ready: impl FnOnce(&Ready)) -> Result<(), StartError> {
    keep_memory_private();
    let server = settings.server.clone();
    let store = Store::open(&settings.database.url)?;
    let Started { sealing, edge } = Sealing::start(&store, &settings.sealing)?;
    let offerings = Offerings::build(&settings.catalog, None, clock::unix_millis() / 1000);
    announce(&settings.warnings, &offerings);
    let frame = Frame {
        offerings: Arc::new(offerings),
        edge: edge.as_ref().map(|edge| edge.id.clone()),
        private_upstreams: settings.security.tenant_private_upstreams,
    };
    let world = World::load(&store, frame)?;

    let metrics = Arc::new(Metrics::new());
    let observer = Arc::clone(&metrics) as Arc<dyn Observer>;
    let ledger = ledger::actor::start(journaling(&settings.ledger), Box::new(store.sink()), observer).map_err(StartError::Journal)?;
    let listeners = std::iter::once(server.listen).chain(settings.admin.listen).collect();
    let self_listen = SelfListen { listeners, interfaces: interface_addresses()? };
    let network = Network { resolver: Arc::new(SystemResolver), self_listen: self_listen.clone() };
    let options = WorkerOptions {
        max_in_flight: server.max_in_flight,
        fail_static: settings.security.fail_static,
        edge,
        cache: settings.sealing.cache,
    };
    let workers = Workers::new(world.snapshot.clone(), ledger.clone(), network, options);
    let control = Control::new(
        world,
        Parts {
            store: store.clone(),
            settings: settings.file,
            environment: Box::new(ProcessEnvironment),
            admin_token: settings.admin.token,
            publisher: Arc::clone(&workers) as Arc<dyn Publisher>,
            flush: flush(&ledger),
            sealing,
            self_listen,
        },
    );

    let memory = MemoryCapacity::new(server.buffer_budget);
    let authenticator = Authenticator::new(settings.security.failed_auth_per_minute);
    let probes = probes(store, &metrics, &workers, &ledger);
    let grace = (server.shutdown_grace, workers.stopping.clone());
    let state =
        web::Data::new(AppState { metrics, workers, authenticator, server: server.clone(), limits: settings.upstream, memory, probes });
    let admin = web::Data::from(Arc::clone(&control));

    let listener = bind(server.listen, server.reuse_port).map_err(|source| StartError::Listen {
        key: "server.listen",
        listen: server.listen,
        source,
    })?;
    let admin_http = settings.admin.listen.map(|listen| admin_server(listen, settings.admin.hosts, admin.clone(), &server)).transpose()?;
    let serves_admin = admin_http.is_none();
    let shared = state.clone();
    let connections = Connections::new(&server);
    let app = move || {
        App::new()
            .wrap(from_fn(http::middleware::guard_request))
            .app_data(shared.clone())
            .app_data(admin.clone())
            .configure(http::routes)
            .configure(|config| {
                if serves_admin {
                    control::admin::routes(config);
                }
            })
            .default_service(web::to(http::unknown_endpoint))
    };
    let address = listener.local_addr()?;
    let builder = server_builder(server.workers)
        .max_concurrent_connections(server.max_connections)
        .shutdown_timeout((server.shutdown_grace + LAST_WORDS).as_secs());
    let running = http::serve::listen(builder, listener, &server, connections, app)?.run();
    let signals = Signals::new()?;
    rt::spawn(Arc::clone(&control).watch());
    if let Some(keep) = settings.ledger.keep {
        rt::spawn(Arc::clone(&control).retain(keep));
    }
    rt::spawn(sweep(state));
    ready(&Ready { address });
    log::info!("aigw {} listens on http://{address}", env!("CARGO_PKG_VERSION"));

    let stopper = rt::spawn(signals.rule(running.handle(), control, grace));
    let admin_handle = admin_http.map(|http| {
        let handle = http.handle();
        rt::spawn(http);
        handle
    });
    running.await?;
    if let Some(handle) = admin_handle {
        handle.stop(true).await;
    }
    stopper.abort();
    drain(&ledger).await;
    Ok(())
}

/// The listening socket. An address that connections of an earlier process still linger on can be had at once; one that
/// another process listens on only where both want to share it, so that a new gateway takes over while the old one finishes.
fn bind(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, is_shared)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Threads that serve, told to stop by us alone.
fn server_builder(number: usize) -> ServerBuilder {
    ServerBuilder::new().workers(number).worker_max_blocking_threads(BLOCKING_THREADS).disable_signals()
}

/// The listener that only the admin API has, where it has one.
fn admin_server(
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
    let refused = |source| StartError::Listen { key: "admin.listen", listen, source };
    let listener = bind(listen, false).map_err(refused)?;
    let running = http::serve::listen(server_builder(1), listener, server, Connections::new(server), app).map_err(refused)?.run();
    log::info!("the admin API listens on http://{listen}, and nowhere else");
    Ok(running)
}

/// What deserves a line at every start: what is legal but odd, and which providers may reach private addresses
/// (spec/security.md 2.3).
fn announce(warnings: &[String], offerings: &Offerings) {
    for warning in warnings {
        log::warn!("{warning}");
    }
    for BrokeredProvider { provider, disabled, .. } in &offerings.providers {
        if disabled.is_none() && matches!(&provider.source, Source::Operator(reach) if reach.allow_private) {
            log::warn!("provider {} may reach private addresses (allow_private)", provider.name);
        }
    }
}

fn journaling(ledger: &config::Ledger) -> Options {
    let durability = match ledger.durability {
        config::Durability::Process => Durability::Process,
        config::Durability::Power => Durability::Power,
    };
    Options { dir: ledger.journal.clone(), durability, max_bytes: ledger.max_journal }
}

/// The gateway half, as the control half sees it.
impl Publisher for Workers {
    fn adopt(&self, snapshot: Snapshot) -> BoxFuture<'static, ()> {
        Workers::adopt(self, snapshot)
    }

    fn confirmed(&self) {
        self.confirm();
    }

    fn health(&self, owner: Option<&TenantId>, provider: &ProviderName) -> Health {
        let now = std::time::Instant::now();
        let status = self.health.of(owner, provider).status(now);
        let until = |at: std::time::Instant| clock::unix_millis().saturating_add(i64::try_from((at - now).as_millis()).unwrap_or(i64::MAX));
        Health {
            cooldown_until: status.cooldown_until.map(until),
            failures: status.failures,
            last_error: status.last_error.map(str::to_owned),
        }
    }
}

/// Lets the admin plane read what was settled a moment ago. A database that is away makes it read what there is.
fn flush(ledger: &LedgerHandle) -> Flush {
    let ledger = ledger.clone();
    Arc::new(move || {
        let ledger = ledger.clone();
        async move {
            // A sink that neither takes a batch nor refuses it keeps the ledger's thread for longer.
            if let Ok(Err(error)) = timeout(FLUSH_WITHIN * 2, ledger.flush(FLUSH_WITHIN)).await {
                log::warn!("{error}");
            }
        }
        .boxed()
    })
}

fn probes(store: Store, metrics: &Arc<Metrics>, workers: &Arc<Workers>, ledger: &LedgerHandle) -> Probes {
    let (metrics, workers, ledger) = (Arc::clone(metrics), Arc::clone(workers), ledger.clone());
    Probes {
        database: Box::new(move || {
            let store = store.clone();
            Box::pin(async move { web::block(move || store.ping().is_ok()).await.unwrap_or(false) })
        }),
        metrics: Box::new(move || {
            metrics.set_in_flight(workers.in_flight());
            metrics.set_in_cooldown(workers.health.in_cooldown(std::time::Instant::now()));
            metrics.set_ledger(ledger.lag(), ledger.open_settlements());
            (metrics.encode(), Metrics::CONTENT_TYPE)
        }),
    }
}

/// Forgets quiet addresses once a minute.
async fn sweep(state: web::Data<AppState>) {
    let mut minute = interval(Duration::from_secs(60));
    loop {
        minute.tick().await;
        let state = state.clone();
        let _ = web::block(move || state.authenticator.sweep()).await;
    }
}

/// All answers are out: waits for the last settlements, then for the store to have them. What is missed is in the journal.
async fn drain(ledger: &LedgerHandle) {
    let until = Instant::now() + SETTLE_WITHIN;
    while ledger.open_settlements() > 0 && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
    }
    // A database that neither takes the last batch nor refuses it is not waited for: what it had is in the journal.
    match timeout(END_WITHIN, ledger.stop(SETTLE_WITHIN)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => log::warn!("{error}; the next start stores them"),
        Err(_) => log::warn!("the database does not answer; the next start stores the entries that wait in the journal"),
    }
}

/// The signals we listen to ourselves: actix would stop the system before the ledger has flushed.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// SIGHUP reloads; the first SIGTERM or SIGINT stops in peace, the second at once: the journal makes that safe. After
    /// `grace`, `streams` is cancelled: what is still running then gets to tell its client before it is cut.
    async fn rule(mut self, server: ServerHandle, control: Arc<Control>, (grace, streams): (Duration, Arc<CancellationToken>)) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => match control.reload().await {
                    Ok(_) => log::info!("configuration reloaded"),
                    Err(error) => log::error!("configuration not reloaded, nothing has changed: {error}"),
                },
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
            }
        }
        log::info!("stopping: streams may go on for a while, a second signal stops at once");
        rt::spawn(async move { server.stop(true).await });
        rt::spawn(async move {
            sleep(grace).await;
            streams.cancel();
        });
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        log::warn!("stopped at once");
        std::process::exit(1);
    }
}
