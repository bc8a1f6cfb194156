//! The catalog and router of one worker thread, and the set of all workers, which hands new
//! snapshots to each.
//!
//! Only the addresses that receive a new snapshot leave a worker's thread.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Recipient};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::admission::Admission;
use super::byo::ByoKeys;
use super::filter::Filter;
use super::health::HealthBook;
use super::router::{Router, RouterState};
use super::slots::AdapterSlots;
use crate::catalog::actor::{Adopt, Catalog};
use crate::catalog::snapshot::Snapshot;
use crate::ledger::handle::LedgerHandle;
use crate::seal::spend::Edge;
use crate::upstream::Network;

/// One worker's actors.
pub struct Worker {
    /// The worker's current snapshot.
    pub snapshot: watch::Receiver<Snapshot>,
    /// The worker's router.
    pub router: Addr<Router>,
}

/// All workers of the process. Each starts on first use.
pub struct Workers {
    /// Health of the providers, shared by all workers.
    pub health: Arc<HealthBook>,
    /// Cancelled after the grace period of a shutdown: each stream then ends with an error frame.
    pub stopping: Arc<CancellationToken>,
    ledger: LedgerHandle,
    network: Network,
    options: WorkerOptions,
    in_flight: AtomicUsize,
    started_at: Instant,
    /// Time at which the snapshot was last known to be current, in milliseconds after `started_at`.
    confirmed: AtomicU64,
    subscribers: Mutex<Subscribers>,
}

/// Settings for all workers.
pub struct WorkerOptions {
    /// Number of requests in flight above which new ones are refused.
    pub max_in_flight: usize,
    /// Time for which keys stay valid while revocations cannot be checked.
    pub fail_static: Duration,
    /// This gateway's half of every grant; `None` if it uses no tenant's keys.
    pub edge: Option<Arc<Edge>>,
    /// Lifetime of an opened provider key in memory.
    pub cache: Duration,
    /// The policy that admits requests.
    pub admission: Option<Arc<dyn Admission>>,
    /// The policy that filters requests and answers.
    pub filter: Option<Arc<dyn Filter>>,
}

/// Receivers of new snapshots, and the snapshot for workers that start later.
struct Subscribers {
    latest: Snapshot,
    workers: Vec<[Recipient<Adopt>; 2]>,
}

/// Counts a request as in flight until it is dropped.
pub struct InFlightGuard(Arc<Workers>);

/// Time after a successful poll of the change log in which the snapshot counts as current: two
/// polls and their duration (spec/security.md 4.3).
const POLLS: Duration = Duration::from_millis(1_500);

thread_local! {
    static WORKER: OnceCell<Rc<Worker>> = const { OnceCell::new() };
}

impl Workers {
    /// Creates the set without workers.
    pub fn new(snapshot: Snapshot, ledger: LedgerHandle, network: Network, options: WorkerOptions) -> Arc<Self> {
        Arc::new(Self {
            health: Arc::default(),
            stopping: Arc::default(),
            ledger,
            network,
            options,
            in_flight: AtomicUsize::new(0),
            started_at: Instant::now(),
            confirmed: AtomicU64::new(0),
            subscribers: Mutex::new(Subscribers { latest: snapshot, workers: Vec::new() }),
        })
    }

    /// This thread's worker, started on first use. Needs a running actix arbiter.
    ///
    /// # Errors
    /// The worker's journal cannot be opened.
    pub fn current(self: &Arc<Self>) -> std::io::Result<Rc<Worker>> {
        WORKER.with(|slot| {
            if let Some(worker) = slot.get() {
                return Ok(Rc::clone(worker));
            }
            let worker = Rc::new(self.start()?);
            Ok(Rc::clone(slot.get_or_init(|| worker)))
        })
    }

    fn start(&self) -> std::io::Result<Worker> {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        let journal = self.ledger.journal(subscribers.workers.len())?;
        let catalog = Catalog::new(subscribers.latest.clone());
        let snapshot = catalog.watch();
        let catalog = catalog.start();
        let byo_keys = ByoKeys::new(self.options.edge.clone(), self.options.cache);
        let slots = AdapterSlots::new(Arc::clone(&self.health), self.network.clone(), self.options.filter.clone());
        let admission = self.options.admission.clone();
        let state = RouterState { catalog: catalog.clone(), journal, slots, byo_keys, admission };
        let router = Router::new(Rc::new(state)).start();
        subscribers.workers.push([catalog.recipient(), router.clone().recipient()]);
        Ok(Worker { snapshot, router })
    }

    /// Hands a new snapshot to every worker. Resolves when all have it, so that a revoked key is
    /// refused by all of them.
    pub fn adopt(&self, snapshot: Snapshot) -> BoxFuture<'static, ()> {
        let workers = {
            let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
            subscribers.latest = snapshot.clone();
            subscribers.workers.clone()
        };
        // A failed send means that the worker has ended.
        let sends: Vec<_> = workers.iter().flatten().map(|worker| worker.send(Adopt(snapshot.clone()))).collect();
        join_all(sends).map(drop).boxed()
    }

    /// Records that the snapshot is current now.
    pub fn confirm(&self) {
        self.confirmed.store(self.age(), Ordering::Relaxed);
    }

    /// Whether the snapshot was current recently enough to authenticate keys with it.
    pub fn is_trusted(&self) -> bool {
        let unconfirmed = self.age().saturating_sub(self.confirmed.load(Ordering::Relaxed));
        Duration::from_millis(unconfirmed) <= self.options.fail_static + POLLS
    }

    /// Milliseconds since the start.
    fn age(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts one more request in flight; `None` if there are too many.
    pub fn admit(self: &Arc<Self>) -> Option<InFlightGuard> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let guard = InFlightGuard(Arc::clone(self));
        (before < self.options.max_in_flight).then_some(guard)
    }

    /// Number of requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
