//! The `Catalog` actor: one worker's replica of the snapshot, the only thing it holds.
//!
//! It reads no file and no database; a new world arrives as [`Adopt`]. Who only has to know what is now, as every request does
//! before anybody is let in, watches: a message there and back would cost more than all that is looked up.

use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, MessageResult};
use smol_str::SmolStr;
use tokio::sync::watch;

use super::snapshot::{Caller, Resolved, Snapshot};

/// One worker's view of the world.
pub struct Catalog {
    snapshot: watch::Sender<Snapshot>,
}

/// The world has changed: what starts from now on starts from this.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Adopt(pub Snapshot);

/// Asks who may answer `model` for `caller`; `None`: unknown, not allowed, or nobody.
#[derive(Message, Debug)]
#[rtype(result = "Option<Resolved>")]
pub struct Resolve {
    /// Who asks.
    pub caller: Arc<Caller>,
    /// A model id or alias, as asked for.
    pub model: SmolStr,
}

impl Catalog {
    /// A replica that starts with `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: watch::Sender::new(snapshot) }
    }

    /// Sees the world as it is at any moment.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.subscribe()
    }
}

impl Actor for Catalog {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // A capacity would not bound it (senders are cloned); admission is bounded where requests enter.
        ctx.set_mailbox_capacity(0);
    }
}

impl Handler<Adopt> for Catalog {
    type Result = ();

    fn handle(&mut self, Adopt(snapshot): Adopt, _: &mut Self::Context) {
        self.snapshot.send_replace(snapshot);
    }
}

impl Handler<Resolve> for Catalog {
    type Result = MessageResult<Resolve>;

    fn handle(&mut self, ask: Resolve, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.snapshot.borrow().find(&ask.caller, &ask.model))
    }
}
