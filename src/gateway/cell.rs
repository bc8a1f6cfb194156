//! A cell is one worker's catalog and router; the fleet is all of them, so that a new world reaches every worker.
//!
//! Nothing of a cell leaves its thread but the addresses that receive a new snapshot.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Addr, Recipient};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use super::health::HealthBook;
use super::router::Router;
use super::upstream::Network;
use crate::catalog::actor::{Adopt, Catalog};
use crate::catalog::snapshot::Snapshot;
use crate::ledger::actor::LedgerHandle;

/// One worker's actors.
#[derive(Clone)]
pub struct Cell {
    /// The replica of the snapshot.
    pub catalog: Addr<Catalog>,
    /// Where requests go.
    pub router: Addr<Router>,
}

/// All cells of the process, present and to come.
pub struct Fleet {
    /// How providers have been doing, on all workers together.
    pub health: Arc<HealthBook>,
    ledger: LedgerHandle,
    network: Network,
    in_flight: AtomicUsize,
    max_in_flight: usize,
    roll: Mutex<Roll>,
}

/// Who has to hear of a new snapshot, and what those start with who come later.
struct Roll {
    latest: Snapshot,
    cells: Vec<[Recipient<Adopt>; 2]>,
}

/// A request's place among those in flight; given back on drop.
pub struct Place(Arc<Fleet>);

thread_local! {
    static CELL: OnceCell<Cell> = const { OnceCell::new() };
}

impl Fleet {
    /// A fleet without cells: each worker adds its own when it starts.
    pub fn new(snapshot: Snapshot, ledger: LedgerHandle, network: Network, max_in_flight: usize) -> Arc<Self> {
        let roll = Mutex::new(Roll { latest: snapshot, cells: Vec::new() });
        Arc::new(Self { health: Arc::default(), ledger, network, in_flight: AtomicUsize::new(0), max_in_flight, roll })
    }

    /// This thread's cell, started on first use. Needs a running actix arbiter.
    ///
    /// # Errors
    /// The worker's journal cannot be opened.
    pub fn cell(self: &Arc<Self>) -> std::io::Result<Cell> {
        CELL.with(|slot| {
            if let Some(cell) = slot.get() {
                return Ok(cell.clone());
            }
            let cell = self.start()?;
            Ok(slot.get_or_init(|| cell).clone())
        })
    }

    fn start(&self) -> std::io::Result<Cell> {
        let mut roll = self.roll.lock().unwrap_or_else(PoisonError::into_inner);
        let journal = self.ledger.journal(roll.cells.len())?;
        let catalog = Catalog::new(roll.latest.clone()).start();
        let router = Router::new(catalog.clone(), journal, Arc::clone(&self.health), self.network.clone()).start();
        roll.cells.push([catalog.clone().recipient(), router.clone().recipient()]);
        Ok(Cell { catalog, router })
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

    /// A place for one more request; `None`: the process is full.
    pub fn admit(self: &Arc<Self>) -> Option<Place> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (before < self.max_in_flight).then_some(place)
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
