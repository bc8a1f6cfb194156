//! The catalog: which models exist, which providers serve them at what price, and which keys may
//! use them.
//!
//! [`snapshot::Snapshot`] is the immutable state a request is answered from: [`offerings`] come
//! from the configuration, the [`directory`] from plain records of tenants and keys. The
//! [`actor::Catalog`] actor of each worker holds the current snapshot and resolves models from it.

pub mod account;
pub mod actor;
pub mod byo;
pub mod caller;
pub mod chain;
pub mod directory;
pub mod offerings;
pub mod price;
pub mod provider;
pub mod snapshot;

#[cfg(test)]
mod testing;
