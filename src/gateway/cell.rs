//! A cell is one worker's catalog and router; the fleet is all of them, so that a new world reaches every worker.
//!
//! Nothing of a cell leaves its thread but the addresses that receive a new snapshot.

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

use super::health::HealthBook;
use super::purse::Purse;
use super::router::Router;
use super::upstream::Network;
use crate::catalog::actor::{Adopt, Catalog};
use crate::catalog::snapshot::Snapshot;
use crate::ledger::actor::LedgerHandle;
use crate::seal::spend::Edge;

/// One worker's actors.
pub struct Cell {
    /// What the worker's catalog holds.
    pub snapshot: watch::Receiver<Snapshot>,
    /// Where requests go.
    pub router: Addr<Router>,
}

/// All cells of the process, present and to come.
pub struct Fleet {
    /// How providers have been doing, on all workers together.
    pub health: Arc<HealthBook>,
    /// To be cancelled when streams have had their grace: each then ends with a word to its client.
    pub stopping: Arc<CancellationToken>,
    ledger: LedgerHandle,
    network: Network,
    terms: Terms,
    in_flight: AtomicUsize,
    born: Instant,
    /// Milliseconds after `born` at which the snapshot was last known to be up to date.
    confirmed: AtomicU64,
    roll: Mutex<Roll>,
}

/// What the operator has decided for all cells.
pub struct Terms {
    /// Requests in flight before new ones are refused.
    pub max_in_flight: usize,
    /// How long keys are taken on trust when it cannot be known whether they are revoked.
    pub fail_static: Duration,
    /// This gateway's own half of every grant; `None`: it spends no tenant's keys.
    pub edge: Option<Arc<Edge>>,
    /// How long an opened provider key is kept.
    pub cache: Duration,
}

/// Who has to hear of a new snapshot, and what those start with who come later.
struct Roll {
    latest: Snapshot,
    cells: Vec<[Recipient<Adopt>; 2]>,
}

/// A request's place among those in flight; given back on drop.
pub struct Place(Arc<Fleet>);

/// How long after a good poll of the change log its answer still counts as the present (spec/security.md 4.3).
const POLLS: Duration = Duration::from_millis(1_500);

thread_local! {
    static CELL: OnceCell<Rc<Cell>> = const { OnceCell::new() };
}

impl Fleet {
    /// A fleet without cells: each worker adds its own when it starts.
    pub fn new(snapshot: Snapshot, ledger: LedgerHandle, network: Network, terms: Terms) -> Arc<Self> {
        Arc::new(Self {
            health: Arc::default(),
            stopping: Arc::default(),
            ledger,
            network,
            terms,
            in_flight: AtomicUsize::new(0),
            born: Instant::now(),
            confirmed: AtomicU64::new(0),
            roll: Mutex::new(Roll { latest: snapshot, cells: Vec::new() }),
        })
    }

    /// This thread's cell, started on first use. Needs a running actix arbiter.
    ///
    /// # Errors
    /// The worker's journal cannot be opened.
    pub fn cell(self: &Arc<Self>) -> std::io::Result<Rc<Cell>> {
        CELL.with(|slot| {
            if let Some(cell) = slot.get() {
                return Ok(Rc::clone(cell));
            }
            let cell = Rc::new(self.start()?);
            Ok(Rc::clone(slot.get_or_init(|| cell)))
        })
    }

    fn start(&self) -> std::io::Result<Cell> {
        let mut roll = self.roll.lock().unwrap_or_else(PoisonError::into_inner);
        let journal = self.ledger.journal(roll.cells.len())?;
        let catalog = Catalog::new(roll.latest.clone());
        let snapshot = catalog.watch();
        let catalog = catalog.start();
        let purse = Purse::new(self.terms.edge.clone(), self.terms.cache);
        let router = Router::new(catalog.clone(), journal, Arc::clone(&self.health), self.network.clone(), purse).start();
        roll.cells.push([catalog.recipient(), router.clone().recipient()]);
        Ok(Cell { snapshot, router })
    }

    /// Hands a new snapshot to every cell; done when all have it, so that what is refused now is refused everywhere here.
    pub fn adopt(&self, snapshot: Snapshot) -> BoxFuture<'static, ()> {
        let cells = {
            let mut roll = self.roll.lock().unwrap_or_else(PoisonError::into_inner);
            roll.latest = snapshot.clone();
            roll.cells.clone()
        };
        // A worker that is gone has nothing left to adopt.
        let sends: Vec<_> = cells.iter().flatten().map(|cell| cell.send(Adopt(snapshot.clone()))).collect();
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
        Duration::from_millis(unconfirmed) <= self.terms.fail_static + POLLS
    }

    /// Milliseconds since the start.
    fn age(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A place for one more request; `None`: the process is full.
    pub fn admit(self: &Arc<Self>) -> Option<Place> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (before < self.terms.max_in_flight).then_some(place)
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
