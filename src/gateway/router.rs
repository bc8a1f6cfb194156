//! The `Router` actor: asks the catalog for a chain, walks it, and keeps this worker's adapters.
//!
//! It is the adapters' real supervisor: actix restarts an actor that stops, but one that panics is gone for good, so the
//! router replaces whatever adapter no longer answers. It sends no HTTP and reads no body.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, Handler, ResponseFuture, Supervisor};
use uuid::{NoContext, Timestamp, Uuid};

use super::adapter::Adapter;
use super::byo::{ByoError, ByoKeys, Presented};
use super::health::{Health, HealthBook};
use super::messages::{Answer, Attempt, AttemptOutcome, Exhausted, Job, Rejection, Reply, Route, RouteInfo, Why};
use super::metering;
use super::refusal::Refusal;
use crate::catalog::actor::{Adopt, Catalog, Resolve};
use crate::catalog::provider::{Offer, Provider};
use crate::catalog::snapshot::{Resolved, Snapshot};
use crate::ledger::entry::{AttemptRecord, Billing, Entry, Outcome, UsageSource};
use crate::ledger::journal::Journal;
use crate::ledger::settlement::Settlement;
use crate::terms::{NanoUsd, TenantId, Usage};
use crate::upstream::{Network, Upstream};

/// How often opened provider keys that have had their time are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// One worker's router.
pub struct Router {
    state: Rc<RouterState>,
}

/// What every route on this worker needs.
struct RouterState {
    catalog: Addr<Catalog>,
    journal: Arc<Journal>,
    health: Arc<HealthBook>,
    network: Network,
    byo_keys: ByoKeys,
    /// By identity of the provider: a provider whose settings change is another provider, with another pool.
    adapters: RefCell<HashMap<*const Provider, Rc<AdapterSlot>>>,
}

/// An adapter at work, and the provider it works for.
struct AdapterSlot {
    provider: Arc<Provider>,
    health: Arc<Health>,
    adapter: Addr<Adapter>,
}

impl Router {
    /// A router that asks `catalog` and opens settlements in `journal`.
    pub fn new(catalog: Addr<Catalog>, journal: Arc<Journal>, health: Arc<HealthBook>, network: Network, byo_keys: ByoKeys) -> Self {
        Self { state: Rc::new(RouterState { catalog, journal, health, network, byo_keys, adapters: RefCell::default() }) }
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

    /// Retires the adapters of providers that are no more: calls under way end in peace, idle connections are closed. What
    /// was opened for a key that may be gone now is forgotten.
    fn handle(&mut self, Adopt(snapshot): Adopt, _: &mut Self::Context) {
        self.state.byo_keys.purge();
        self.state.adapters.borrow_mut().retain(|_, slot| is_current(&snapshot, &slot.provider));
    }
}

fn is_current(snapshot: &Snapshot, provider: &Arc<Provider>) -> bool {
    match owner(provider) {
        None => snapshot.offerings.providers.iter().any(|listed| Arc::ptr_eq(&listed.provider, provider)),
        Some(tenant) => snapshot.directory.byo.get(tenant).is_some_and(|own| own.has(provider)),
    }
}

/// Whose own provider it is; `None`: a brokered one.
fn owner(provider: &Provider) -> Option<&TenantId> {
    match provider.billing {
        Billing::Brokered => None,
        Billing::Byo => provider.tenants.as_ref().and_then(|tenants| tenants.first()),
    }
}

impl RouterState {
    async fn route(&self, job: Arc<Job>, presented: Option<Presented>) -> Answer {
        let resolve = Resolve { caller: Arc::clone(&job.caller), model: job.model.clone() };
        let plan = self.catalog.send(resolve).await.map_err(|_| Refusal::Internal)?;
        let Some(plan) = plan else { return Err(Refusal::UnknownModel(job.model.to_string()).into()) };
        let Some(first) = plan.chain.first() else { return Err(Refusal::UnknownModel(job.model.to_string()).into()) };
        let settlement = Settlement::open(&self.journal, draft(&job, &plan, first), job.received);
        if !first.can_do(job.operation) {
            let refusal = Refusal::UnsupportedOperation { model: plan.model.definition.id.clone(), operation: job.operation };
            return Err(refuse(&settlement, first, refusal));
        }
        let answer = self.try_chain(&job, presented.as_ref(), &plan, &settlement).await;
        settlement.close().await;
        answer
    }

    /// Tries one offer after the other until there is an answer for the client.
    async fn try_chain(&self, job: &Arc<Job>, presented: Option<&Presented>, plan: &Resolved, settlement: &Settlement) -> Answer {
        let able = || plan.chain.iter().filter(|offer| offer.can_do(job.operation));
        let mut last: Option<(&Arc<Offer>, Exhausted)> = None;
        let mut skipped = Vec::new();
        for offer in able() {
            if self.adapter_slot(&offer.provider).health.admits(Instant::now()) {
                match self.attempt(job, presented, offer, settlement).await {
                    Step::Answer(answer) => return answer,
                    Step::Next(exhausted) => last = Some((offer, exhausted)),
                    Step::Inexpressible(refused) if last.is_none() => {
                        return Err(refuse(settlement, offer, Refusal::Inexpressible(refused)));
                    }
                    Step::Inexpressible(_) => {}
                }
            } else {
                skipped.push(offer);
            }
        }
        if last.is_none() {
            // All of them rest: better a resting provider than none.
            for offer in skipped {
                match self.attempt(job, presented, offer, settlement).await {
                    Step::Answer(answer) => return answer,
                    Step::Next(exhausted) => last = Some((offer, exhausted)),
                    Step::Inexpressible(refused) => return Err(refuse(settlement, offer, Refusal::Inexpressible(refused))),
                }
            }
        }
        let Some((offer, exhausted)) = last else { return Err(Refusal::UnknownModel(job.model.to_string()).into()) };
        give_up(job, settlement, offer, exhausted)
    }

    /// Sends one offer to its adapter. An adapter that dies of it is replaced, and that counts as a transient failure.
    async fn attempt(&self, job: &Arc<Job>, presented: Option<&Presented>, offer: &Arc<Offer>, settlement: &Settlement) -> Step {
        let auth_header = match &offer.byo_auth {
            None => None,
            Some(auth) => match self.byo_keys.authorize(presented, &job.caller, offer, auth, &job.request_id) {
                Ok(header) => Some(header),
                Err(unspent) => {
                    self.adapter_slot(&offer.provider).health.inconclusive();
                    return unpaid(offer, settlement, unspent);
                }
            },
        };
        let is_another = settlement.with(|entry| entry.provider != offer.provider.name || entry.billing != offer.provider.billing);
        if is_another {
            // Journaled anew: if the process is killed now, it is this provider that was called.
            settlement.redraft(|entry| {
                take_up(entry, offer);
                metering::assume_prompt(entry, offer, job.prompt_bytes);
            });
        }
        settlement.journaled().await;
        let calls = || settlement.with(|entry| u32::try_from(entry.attempts.len()).unwrap_or(u32::MAX));
        let before = calls();
        loop {
            let attempts_made = calls() - before;
            if attempts_made >= offer.provider.retry.attempts {
                return Step::Next(Exhausted { why: Why::Adapter, retry_after: None, said: None });
            }
            let slot = self.adapter_slot(&offer.provider);
            let (started_at, auth_header) = (Instant::now(), auth_header.clone());
            let attempt = Attempt {
                job: Arc::clone(job),
                offer: Arc::clone(offer),
                settlement: settlement.clone(),
                attempts_made,
                started_at,
                auth_header,
            };
            match slot.adapter.send(attempt).await {
                Ok(AttemptOutcome::Relayed(reply)) => return Step::Answer(Ok(*reply)),
                Ok(AttemptOutcome::Exhausted(exhausted)) => return Step::Next(exhausted),
                Ok(AttemptOutcome::Inexpressible(refused)) => return Step::Inexpressible(refused),
                Ok(AttemptOutcome::Abandoned) => {
                    abandon(job, settlement);
                    return Step::Answer(Err(Refusal::Internal.into()));
                }
                Err(_) => {
                    if self.replace(&slot) {
                        log::error!("the adapter of provider {} failed and was replaced", offer.provider.name);
                    }
                    log::error!("a call of provider {} was lost, request {}", offer.provider.name, job.request_id);
                    // Ours to mend, and no news about the provider: it must not rest for it.
                    slot.health.inconclusive();
                    let ms = u64::try_from(started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
                    let provider = offer.provider.name.clone();
                    let record = AttemptRecord { provider, status: None, error: Some("adapter".into()), ms, request_id: None };
                    settlement.with(|entry| entry.attempts.push(record));
                }
            }
        }
    }

    /// The provider's adapter on this worker, started on first use, and its health.
    fn adapter_slot(&self, provider: &Arc<Provider>) -> Rc<AdapterSlot> {
        let mut adapters = self.adapters.borrow_mut();
        let slot = adapters.entry(Arc::as_ptr(provider)).or_insert_with(|| {
            let health = self.health.of(owner(provider), &provider.name);
            let adapter = start(provider, &health, &self.network);
            Rc::new(AdapterSlot { provider: Arc::clone(provider), health, adapter })
        });
        Rc::clone(slot)
    }

    /// Puts another slot in place of one whose adapter is gone; `false` if it is not, or somebody has done so already. A call
    /// that panicked by itself leaves its adapter at work.
    fn replace(&self, gone: &Rc<AdapterSlot>) -> bool {
        let mut adapters = self.adapters.borrow_mut();
        let Some(slot) = adapters.get_mut(&Arc::as_ptr(&gone.provider)) else { return false };
        let is_gone = Rc::ptr_eq(slot, gone) && !gone.adapter.connected();
        if is_gone {
            let (provider, health) = (Arc::clone(&gone.provider), Arc::clone(&gone.health));
            *slot = Rc::new(AdapterSlot { adapter: start(&provider, &health, &self.network), provider, health });
        }
        is_gone
    }
}

/// What one offer led to.
enum Step {
    Answer(Answer),
    Next(Exhausted),
    Inexpressible(crate::dialect::Refused),
}

/// The tenant's own key could not be had: nothing is sent, and it counts as the provider's refusal.
fn unpaid(offer: &Offer, settlement: &Settlement, unspent: ByoError) -> Step {
    let (error, why) = match unspent {
        ByoError::Unopened => ("auth", Why::Status(401)),
        ByoError::Misdirected => ("misdirected", Why::Forbidden),
    };
    let record = AttemptRecord { provider: offer.provider.name.clone(), status: None, error: Some(error.into()), ms: 0, request_id: None };
    settlement.with(|entry| {
        take_up(entry, offer);
        entry.attempts.push(record);
    });
    Step::Next(Exhausted { why, retry_after: None, said: None })
}

fn start(provider: &Arc<Provider>, health: &Arc<Health>, network: &Network) -> Addr<Adapter> {
    let upstream = Upstream::new(network, provider);
    let adapter = Adapter::new(upstream, Arc::clone(health));
    Supervisor::start(move |_| adapter)
}

/// The entry as it is if nothing more is learnt: the request was sent and its prompt has to be auth_header.
fn draft(job: &Job, plan: &Resolved, first: &Offer) -> Entry {
    let caller = &job.caller;
    let mut entry = Entry {
        id: id(job.received_at),
        request_id: job.request_id.clone(),
        created_at: job.received_at,
        tenant: caller.tenant.id.clone(),
        team: caller.team.clone(),
        key_id: caller.key_id.clone(),
        subject: caller.subject.clone(),
        user: job.user.clone(),
        tags: tags(&caller.tags, &job.tags),
        operation: job.operation,
        model: plan.model.definition.id.clone(),
        upstream_model: first.upstream_model.clone(),
        provider: first.provider.name.clone(),
        kind: first.provider.kind.clone(),
        billing: first.provider.billing,
        stream: job.stream,
        status: 500,
        outcome: Outcome::Interrupted,
        error_code: Some("interrupted".into()),
        finish_reason: None,
        usage: Usage::default(),
        usage_source: UsageSource::None,
        cost: NanoUsd(0),
        list_cost: NanoUsd(0),
        attempts: Vec::new(),
        latency_ms: 0,
        ttfb_ms: None,
    };
    metering::assume_prompt(&mut entry, first, job.prompt_bytes);
    entry
}

/// An entry's id: unique, and sorted by when its request was received, in Unix milliseconds. The counter that `Uuid::now_v7` keeps
/// for the whole process would be a lock between the workers.
fn id(received_at: i64) -> String {
    let milliseconds = u64::try_from(received_at).unwrap_or_default();
    let within_second = (milliseconds % 1_000) as u32 * 1_000_000;
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, milliseconds / 1_000, within_second));
    id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

/// The key's tags with the request's laid over, sorted by name.
fn tags(of_key: &[(String, String)], of_request: &[(String, String)]) -> Vec<(String, String)> {
    let mut tags = of_request.to_vec();
    tags.extend(of_key.iter().filter(|(name, _)| of_request.iter().all(|(other, _)| other != name)).cloned());
    tags.sort();
    tags
}

fn take_up(entry: &mut Entry, offer: &Offer) {
    entry.provider = offer.provider.name.clone();
    entry.kind = offer.provider.kind.clone();
    entry.billing = offer.provider.billing;
    entry.upstream_model = offer.upstream_model.clone();
}

fn route_info(offer: &Offer, attempts: usize) -> RouteInfo {
    let provider = &offer.provider;
    let model = offer.model.clone();
    RouteInfo {
        provider: provider.name.clone(),
        kind: provider.kind.clone(),
        model,
        attempts,
        cost: None,
        dropped: Vec::new(),
        upstream_request_id: None,
    }
}

/// The request is refused here, before any upstream saw it.
fn refuse(settlement: &Settlement, offer: &Offer, refusal: Refusal) -> Rejection {
    settlement.with(|entry| {
        metering::nothing_used(entry);
        (entry.status, entry.outcome) = (400, Outcome::ClientError);
        entry.error_code = Some(match &refusal {
            Refusal::Inexpressible(refused) => refused.code.into(),
            _ => "unsupported_operation".into(),
        });
    });
    Rejection { refusal, route: Some(Box::new(route_info(offer, 0))) }
}

/// The client went away before there was an answer. The prompt may have been read, so it is auth_header for.
fn abandon(job: &Job, settlement: &Settlement) {
    settlement.with(|entry| {
        (entry.status, entry.outcome) = (499, Outcome::ClientClosed);
        entry.error_code = Some("client_closed".into());
        entry.latency_ms = u64::try_from(job.received.elapsed().as_millis()).unwrap_or(u64::MAX);
    });
}

/// The chain is exhausted: the last failure decides what the client gets.
fn give_up(job: &Job, settlement: &Settlement, offer: &Offer, last: Exhausted) -> Answer {
    let (attempts, upstream_request_id) =
        settlement.with(|entry| (entry.attempts.len(), entry.attempts.last().and_then(|last| last.request_id.clone())));
    let Exhausted { why, retry_after, said } = last;
    if let (Why::Status(404), Some(failure)) = (why, said) {
        let attempt_reply = super::relay::reply(
            job,
            offer,
            failure.status,
            super::headers::ResponseHeaders::json(upstream_request_id),
            Vec::new(),
            super::messages::Body::Whole(failure.body),
        );
        conclude(job, settlement, failure.status, Outcome::ClientError, failure.code.as_deref().unwrap_or("not_found"));
        return Ok(Reply { route: route_info(offer, attempts), ..attempt_reply });
    }
    let (refusal, status, code) = match why {
        Why::Forbidden => (Refusal::UpstreamForbidden, 502, "upstream_forbidden"),
        Why::Status(401..=403) => (Refusal::UpstreamAuthFailed, 502, "upstream_auth_failed"),
        _ => (Refusal::AllProvidersFailed { status: last_status(why), retry_after }, last_status(why), "all_providers_failed"),
    };
    conclude(job, settlement, status, Outcome::UpstreamError, code);
    Err(Rejection { refusal, route: Some(Box::new(RouteInfo { upstream_request_id, ..route_info(offer, attempts) })) })
}

/// The status of an exhausted chain (DESIGN.md section 5): what the last answer was, if clients know what to do with it.
fn last_status(why: Why) -> u16 {
    match why {
        Why::Status(status @ (429 | 503)) => status,
        Why::TimedOut | Why::Status(408 | 504) => 504,
        _ => 502,
    }
}

fn conclude(job: &Job, settlement: &Settlement, status: u16, outcome: Outcome, code: &str) {
    settlement.with(|entry| {
        metering::nothing_used(entry);
        (entry.status, entry.outcome, entry.error_code) = (status, outcome, Some(code.into()));
        entry.latency_ms = u64::try_from(job.received.elapsed().as_millis()).unwrap_or(u64::MAX);
    });
}

#[cfg(test)]
mod tests;
