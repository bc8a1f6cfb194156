//! aigw puts every model provider behind one OpenAI-compatible endpoint. This page is its map: the way of a request, the rooms,
//! and the rules that hold the house together.
//!
//! # The way of a request
//! Read these files in this order and you have followed a chat call from socket to ledger:
//!
//! 1. [`http`]: the route table, served by [`http::serve`] over connections that keep their own time ([`http::connections`]).
//!    [`http::inference`] asks [`http::identity`] who calls, reads the body, has [`json`] find its
//!    members in one pass, and makes a [`Job`](gateway::job::Job).
//! 2. [`gateway::router`]: asks the worker's [`catalog::actor`] for the chain of providers ([`catalog::chain`]), opens a
//!    [`Settlement`](ledger::settlement::Settlement), and offers the job to one provider after the other.
//! 3. [`gateway::adapter`]: one provider. Its [`dialect`] translates the request, [`upstream`] sends it through the guarded
//!    [`upstream::connector`], [`gateway::retry`] decides what a failure means.
//! 4. [`gateway::relay`]: waits for the first event, then pumps frames to the client as they come; [`gateway::record`] turns
//!    them into usage and cost.
//! 5. [`http::response`]: reply → response, with the headers every answer carries; refusals become HTTP in [`http::error`].
//! 6. Aside: the last one to let go of the settlement writes the entry to the worker's [`ledger::journal`]; the
//!    [`ledger::actor`] on its own thread reads on and stores batches through an [`EntrySink`](ledger::EntrySink).
//!
//! # The rooms
//! | room | what lives there | what does not |
//! | --- | --- | --- |
//! | [`terms`], [`secret`], [`json`], [`credential`], [`guard`] | words, secrets, JSON spans, aigw's own keys, SSRF rules: plain values and pure functions | I/O |
//! | [`seal`] | the ladder of keys, sealed blobs, the spending of a provider key | the master key, clocks, I/O |
//! | [`config`] | what an operator can say, read once, all problems at once | anything decided later |
//! | [`catalog`] | the immutable snapshot: models, prices, chains, callers; one replica per worker | files, the database, health |
//! | [`dialect`] | the wire languages, pure | HTTP clients, actors |
//! | [`gateway`] | the half that serves: router, adapters, relay | the store, the master key |
//! | [`http`] | the data plane's paths and shapes | providers, SQL |
//! | [`ledger`] | entries, journal, settlement | the store: it arrives as a trait object |
//! | [`control`] | the half that administers: store, admin API, publishing snapshots | the gateway's insides |
//! | [`server`], [`cli`], [`metrics`] | start and stop, the command line, what Prometheus reads | logic of the above |
//!
//! # Threads and actors
//! ```text
//! main: signals, start, stop        worker 0 … n-1 (one thread, one cell each)                 ledger thread
//! control half (store, admin) ──Adopt(Snapshot)──► Catalog, Router, Adapters + connection pools ──journal──► Ledger → EntrySink
//! ```
//! A request never leaves its worker. What crosses threads is a new snapshot, and a note to the ledger that there is something
//! to read. Long work is a spawned task, never a context future; admission is bounded where requests enter.
//!
//! # Rules
//! - Data flows one way; replies travel as the reply of a message.
//! - Deciding is pure (time is an argument), acting is thin.
//! - The gateway half never imports [`control`] or diesel; only [`upstream::connector`] makes HTTP clients for upstreams. `tests/architecture.rs`
//!   holds the imports to this page.
//! - An error never contains a secret or a prompt.
#![forbid(unsafe_code)]

pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod credential;
pub mod deadline;
pub mod dialect;
pub mod gateway;
pub mod guard;
pub mod http;
pub mod journal;
pub mod json;
pub mod ledger;
pub mod memory;
pub mod metrics;
pub mod payload;
pub mod seal;
pub mod secret;
pub mod server;
pub mod surface;
pub mod terms;
pub mod upstream;
