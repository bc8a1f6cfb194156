//! Start and stop of the process: the order in which its parts are built, its signals, and the end
//! without losing a ledger entry.
//!
//! A process runs two halves. `control` holds the database, the master key and the admin API;
//! `gateway` holds the workers, the ledger's thread and the data plane. `wiring` connects the
//! two.

mod control;
mod error;
mod gateway;
mod host_error;
mod listen;
mod signals;
mod wiring;

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::{rt, web};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::catalog::offerings::{BrokeredProvider, Offerings};
use crate::clock;
use crate::config::Settings;
use crate::control::publish::Publisher;
use crate::control::sealing::rewrap;
use crate::control::store::Store;
use crate::guard::{SelfListen, Source};
use crate::upstream::connector::interface_addresses;
use control::{GatewayLinks, Opened};
use gateway::{Gateway, Inputs};
use signals::Signals;

pub use error::StartError;

/// State of a process that has begun to listen.
pub struct Ready {
    /// Address of the data plane's listener.
    pub address: SocketAddr,
}

/// Result of a rotation of the master key.
pub struct Rotated {
    /// Id of the key that everything is wrapped under now.
    pub kid: String,
    /// Tenants moved in this run.
    pub roots: usize,
    /// Edges moved in this run.
    pub edges: usize,
}

/// Rewraps everything under the old master key of `settings` with the new one. Calls `progress`
/// with the number of tenants and edges moved so far.
///
/// # Errors
/// If a key is missing or wrong, or the database fails. Rows already moved stay moved; another run
/// continues with the rest.
pub fn rotate_master_key(settings: &Settings, progress: impl Fn(usize, usize)) -> Result<Rotated, StartError> {
    let store = Store::open(&settings.database.url)?;
    let rotated = rewrap::rotate(&store, &settings.sealing, |moved| progress(moved.roots, moved.edges))?;
    Ok(Rotated { kid: rotated.kid.to_string(), roots: rotated.moved.roots, edges: rotated.moved.edges })
}

/// Serves until a signal stops the process.
///
/// # Errors
/// If the process cannot start. Failures after that are logged and handled.
pub fn serve(settings: Settings) -> Result<(), StartError> {
    serve_with(settings, |_| ())
}

/// Like [`serve`], and calls `ready` once the process listens.
///
/// # Errors
/// As [`serve`].
pub fn serve_with(settings: Settings, ready: impl FnOnce(&Ready)) -> Result<(), StartError> {
    actix::System::new().block_on(run(settings, ready))
}

/// Runs both halves in one process.
async fn run(settings: Settings, ready: impl FnOnce(&Ready)) -> Result<(), StartError> {
    keep_memory_private();
    let offerings = Arc::new(Offerings::build(&settings.catalog, None, clock::unix_seconds()));
    let opened = Opened::open(&settings, Arc::clone(&offerings))?;
    log_warnings(&settings.warnings, &offerings);
    let self_listen = self_listen(&settings)?;
    let inputs = Inputs {
        snapshot: opened.snapshot(),
        edge: opened.edge(),
        sink: opened.sink(),
        database: Box::new(opened.database_probe()?),
        self_listen: self_listen.clone(),
    };
    let gateway = Gateway::start(&settings, inputs)?;
    let links =
        GatewayLinks { publisher: Arc::clone(&gateway.workers) as Arc<dyn Publisher>, flush: wiring::flush(&gateway.ledger), self_listen };
    let control = opened.connect(settings.file, settings.admin.token, links);

    let admin = web::Data::from(Arc::clone(&control));
    let has_own_listener = settings.admin.listen.is_some();
    let admin_routes = control::admin_routes((!has_own_listener).then(|| admin.clone()));
    let listener = gateway::bind(&settings.server)?;
    let address = listener.local_addr()?;
    let admin_http =
        settings.admin.listen.map(|listen| control::listen_admin(listen, settings.admin.hosts, admin, &settings.server)).transpose()?;
    let running = gateway.serve(listener, &settings.server, admin_routes)?;
    let signals = Signals::new()?;
    control::spawn_tasks(&control, settings.ledger.keep);
    gateway.spawn_tasks();
    ready(&Ready { address });
    log::info!("aigw {} listens on http://{address}", env!("CARGO_PKG_VERSION"));

    let stop = gateway.stopper(running.handle(), settings.server.shutdown_grace);
    let signals = rt::spawn(async move {
        signals.handle(async || control::reload(&control).await, stop).await;
        log::warn!("stopped at once");
        std::process::exit(1);
    });
    let admin_handle = admin_http.map(|http| {
        let handle = http.handle();
        rt::spawn(http);
        handle
    });
    running.await?;
    if let Some(handle) = admin_handle {
        handle.stop(true).await;
    }
    signals.abort();
    gateway.drain().await;
    Ok(())
}

/// Keeps the process's memory out of core dumps and away from debuggers (spec/security.md 1.7).
fn keep_memory_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        log::warn!("core dumps cannot be disabled: {error}; they would contain keys");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        log::warn!("debuggers cannot be kept out: {error}");
    }
}

/// Returns the addresses of this process, which no provider's URL may name.
fn self_listen(settings: &Settings) -> Result<SelfListen, StartError> {
    let listeners = std::iter::once(settings.server.listen).chain(settings.admin.listen).collect();
    Ok(SelfListen { listeners, interfaces: interface_addresses()? })
}

/// Logs, at each start, legal but unusual settings and the providers that may reach private
/// addresses (spec/security.md 2.3).
fn log_warnings(warnings: &[String], offerings: &Offerings) {
    for warning in warnings {
        log::warn!("{warning}");
    }
    for BrokeredProvider { provider, disabled, .. } in &offerings.providers {
        if disabled.is_none() && matches!(&provider.source, Source::Operator(reach) if reach.allow_private) {
            log::warn!("provider {} may reach private addresses (allow_private)", provider.name);
        }
    }
}
