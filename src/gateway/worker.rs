//! A worker is one worker's catalog and router; the fleet is all of them, so that a new world reaches every worker.
//!
//! Nothing of a worker leaves its thread but the addresses that receive a new snapshot.

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
    /// What the worker's catalog holds.
    pub snapshot: watch::Receiver<Snapshot>,
    /// Where requests go.
    pub router: Addr<Router>,
}

/// All workers of the process, present and to come.
pub struct Workers {
    /// How providers have been doing, on all workers together.
    pub health: Arc<HealthBook>,
    /// To be cancelled when streams have had their grace: each then ends with a word to its client.
    pub stopping: Arc<CancellationToken>,
    ledger: LedgerHandle,
    network: Network,
    options: WorkerOptions,
    in_flight: AtomicUsize,
    started_at: Instant,
    /// Milliseconds after `started_at` at which the snapshot was last known to be up to date.
    confirmed: AtomicU64,
    subscribers: Mutex<Subscribers>,
}

/// What the operator has decided for all workers.
pub struct WorkerOptions {
    /// Requests in flight before new ones are refused.
    pub max_in_flight: usize,
    /// How long keys are taken on trust when it cannot be known whether they are revoked.
    pub fail_static: Duration,
    /// This gateway's own half of every grant; `None`: it spends no tenant's keys.
    pub edge: Option<Arc<Edge>>,
    /// How long an opened provider key is kept.
    pub cache: Duration,
    /// The policy that admits requests.
    pub admission: Option<Arc<dyn Admission>>,
    /// The policy that filters requests and answers.
    pub filter: Option<Arc<dyn Filter>>,
}

/// Who has to hear of a new snapshot, and what those start with who come later.
struct Subscribers {
    latest: Snapshot,
    workers: Vec<[Recipient<Adopt>; 2]>,
}

/// A request's guard among those in flight; given back on drop.
pub struct InFlightGuard(Arc<Workers>);

/// How long after a good poll of the change log its answer still counts as the present (spec/security.md 4.3).
const POLLS: Duration = Duration::from_millis(1_500);

thread_local! {
    static WORKER: OnceCell<Rc<Worker>> = const { OnceCell::new() };
}

impl Workers {
    /// A fleet without workers: each worker adds its own when it starts.
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

    /// Hands a new snapshot to every worker; done when all have it, so that what is refused now is refused everywhere here.
    pub fn adopt(&self, snapshot: Snapshot) -> BoxFuture<'static, ()> {
        let workers = {
            let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
            subscribers.latest = snapshot.clone();
            subscribers.workers.clone()
        };
        // A worker that is gone has nothing left to adopt.
        let sends: Vec<_> = workers.iter().flatten().map(|worker| worker.send(Adopt(snapshot.clone()))).collect();
        join_all(sends).map(drop).boxed()
    }

    /// The snapshot is up to date, now.
    pub fn confirm(&self) {
        self.confirmed.store(self.age(), Ordering::Relaxed);
    }

    /// Whether the snapshot was up to date recently enough to let keys in by it.
    pub fn is_trusted(&self) -> bool {
        let unconfirmed = self.age().saturating_sub(self.confirmed.load(Ordering::Relaxed));
        // Two polls and the time they may take count as now.
        Duration::from_millis(unconfirmed) <= self.options.fail_static + POLLS
    }

    /// Milliseconds since the start.
    fn age(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A guard for one more request; `None`: the process is full.
    pub fn admit(self: &Arc<Self>) -> Option<InFlightGuard> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let guard = InFlightGuard(Arc::clone(self));
        (before < self.options.max_in_flight).then_some(guard)
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
