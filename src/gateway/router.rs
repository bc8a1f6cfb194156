//! The `Router` actor: asks the catalog for a chain, has the request admitted, opens its ledger
//! entry and walks the chain.
//!
//! It sends no HTTP and reads no body.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, ResponseFuture};
use tokio::select;

use super::admission::{Admission, Candidate};
use super::byo::{ByoKeys, Presented};
use super::failover::Failover;
use super::job::Job;
use super::messages::{Answer, Rejection, Route};
use super::record::RequestRecord;
use super::refusal::Refusal;
use super::slots::AdapterSlots;
use crate::catalog::actor::{Adopt, Catalog, ResolveModel};
use crate::catalog::provider::Offer;
use crate::catalog::snapshot::Resolved;
use crate::ledger::journal::Journal;
use crate::ledger::settlement_guard::SettlementGuard;

/// How often expired provider keys are removed from memory.
const SWEEP: Duration = Duration::from_secs(5);

/// One worker's router.
pub struct Router {
    state: Rc<RouterState>,
}

/// State shared by all requests of one worker.
pub struct RouterState {
    /// Resolves models.
    pub catalog: Addr<Catalog>,
    /// The worker's ledger journal.
    pub journal: Arc<Journal>,
    /// The worker's adapters.
    pub slots: AdapterSlots,
    /// Opens tenants' own provider keys.
    pub byo_keys: ByoKeys,
    /// The policy that admits requests.
    pub admission: Option<Arc<dyn Admission>>,
}

impl Router {
    /// A router on `state`.
    pub fn new(state: Rc<RouterState>) -> Self {
        Self { state }
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(0);
        ctx.run_interval(SWEEP, |router, _| router.state.byo_keys.sweep());
    }
}

impl Handler<Route> for Router {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, Route { job, presented }: Route, _: &mut Self::Context) -> Self::Result {
        let state = Rc::clone(&self.state);
        Box::pin(async move { state.route(job, presented).await })
    }
}

impl Handler<Adopt> for Router {
    type Result = ();

    /// Retires the adapters of removed providers and forgets opened keys, which may be revoked now.
    fn handle(&mut self, Adopt(snapshot): Adopt, _: &mut Self::Context) {
        self.state.byo_keys.purge();
        self.state.slots.retain(&snapshot);
    }
}

impl RouterState {
    async fn route(&self, job: Arc<Job>, presented: Option<Presented>) -> Answer {
        let resolve = ResolveModel { caller: Arc::clone(&job.caller), model: job.model.clone() };
        let plan = self.catalog.send(resolve).await.map_err(|_| Refusal::Internal)?;
        let Some(plan) = plan else { return Err(Refusal::UnknownModel(job.model.to_string()).into()) };
        let Some(first) = plan.chain.first() else { return Err(Refusal::UnknownModel(job.model.to_string()).into()) };
        if !first.can_do(job.operation) {
            let refusal = Refusal::UnsupportedOperation { model: plan.model.definition.id.clone(), operation: job.operation };
            return Err(self.refuse(&job, &plan, first, refusal).await);
        }
        let guard = match &self.admission {
            None => None,
            // Boxed: most requests do without its room.
            Some(admission) => Box::pin(self.admit(admission.as_ref(), &job, &plan, first)).await?,
        };
        let record = RequestRecord::open(&self.journal, &job, &plan.model.definition.id, first, guard);
        let failover = Failover { slots: &self.slots, byo_keys: &self.byo_keys, job: &job, presented: presented.as_ref(), record: &record };
        let answer = failover.try_chain(&plan.chain).await;
        record.close().await;
        answer
    }

    /// Waits for the policy's decision, unless the client closes the connection first.
    async fn admit(
        &self,
        admission: &dyn Admission,
        job: &Job,
        plan: &Resolved,
        first: &Offer,
    ) -> Result<Option<Box<dyn SettlementGuard>>, Rejection> {
        let admitted = select! {
            biased;
            () = job.client_gone.closed() => None,
            admitted = admission.admit(Candidate { job, plan }) => Some(admitted),
        };
        match admitted {
            Some(Ok(guard)) => Ok(guard),
            Some(Err(refusal)) => Err(self.refuse(job, plan, first, refusal).await),
            None => {
                let record = RequestRecord::open(&self.journal, job, &plan.model.definition.id, first, None);
                record.abandoned_unsent(job);
                record.close().await;
                Err(Refusal::Internal.into())
            }
        }
    }

    /// Refuses a request before any provider was called. It gets an entry in the ledger.
    async fn refuse(&self, job: &Job, plan: &Resolved, first: &Offer, refusal: Refusal) -> Rejection {
        let record = RequestRecord::open(&self.journal, job, &plan.model.definition.id, first, None);
        record.refused(job, &refusal);
        record.close().await;
        Rejection::routed(refusal, first, 0)
    }
}

#[cfg(test)]
mod tests;
