//! The `Catalog` actor: one worker's current snapshot.
//!
//! Reads neither files nor the database; a new snapshot arrives as [`Adopt`]. Code that only needs
//! the current snapshot, such as authentication, uses [`Catalog::watch`]: a mailbox round trip
//! costs more than the lookup.

use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, MessageResult};
use smol_str::SmolStr;
use tokio::sync::watch;

use super::caller::Caller;
use super::snapshot::{Resolved, Snapshot};

/// One worker's current snapshot.
pub struct Catalog {
    snapshot: watch::Sender<Snapshot>,
}

/// Replaces the snapshot for requests that start from now on.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Adopt(pub Snapshot);

/// Resolves `model` for `caller`; `None`: unknown model, not allowed, or no provider.
#[derive(Message, Debug)]
#[rtype(result = "Option<Resolved>")]
pub struct ResolveModel {
    /// Key of the request.
    pub caller: Arc<Caller>,
    /// Model id or alias as requested.
    pub model: SmolStr,
}

impl Catalog {
    /// An actor that starts with `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: watch::Sender::new(snapshot) }
    }

    /// A receiver of the current snapshot.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.subscribe()
    }
}

impl Actor for Catalog {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // A capacity would not bound the mailbox (senders are cloned); requests are bounded on
        // admission.
        ctx.set_mailbox_capacity(0);
    }
}

impl Handler<Adopt> for Catalog {
    type Result = ();

    fn handle(&mut self, Adopt(snapshot): Adopt, _: &mut Self::Context) {
        self.snapshot.send_replace(snapshot);
    }
}

impl Handler<ResolveModel> for Catalog {
    type Result = MessageResult<ResolveModel>;

    fn handle(&mut self, request: ResolveModel, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.snapshot.borrow().find(&request.caller, &request.model))
    }
}
