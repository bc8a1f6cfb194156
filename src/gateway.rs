//! The data plane. It never holds the master key and never names the store.
//!
//! The path of a request, and the order in which to read these files: a [`job`] is the request and
//! [`messages`] carry it between actors; the [`router`] asks the catalog for a chain, has the
//! request admitted ([`admission`]) and opens its ledger entry ([`record`]); [`failover`] walks the
//! chain over the worker's adapters ([`slots`]); an [`adapter`] makes a [`call`] to one provider,
//! through the content [`filter`], and [`retry`] decides what a [`call_failure`] means; the
//! [`relay`] and its [`pump`](relay::pump) carry the answer back.
//!
//! Beside that path: every [`refusal`] with its status and code; allow lists of [`headers`];
//! credentials kept out of error messages ([`redact`]); tenants' own provider keys ([`byo`]);
//! cooldown of failing providers ([`health`]); the signal that the client is gone ([`disconnect`]).
//! A [`worker`] owns all of this on one thread.

pub mod adapter;
pub mod admission;
pub mod byo;
pub mod call;
pub mod call_failure;
pub mod disconnect;
pub mod failover;
pub mod filter;
#[cfg(test)]
pub(crate) mod fixture;
pub mod headers;
pub mod health;
pub mod job;
pub mod messages;
pub mod record;
pub mod redact;
pub mod refusal;
pub mod relay;
pub mod retry;
pub mod router;
pub mod script;
pub mod slots;
pub mod worker;
