//! The catalog: which models there are, who serves them at what price, and who may ask.
//!
//! A [`snapshot::Snapshot`] is an immutable world; the [`Catalog`](snapshot::Snapshot) actor of each worker holds one and answers from it.

pub mod actor;
pub mod chain;
pub mod own;
pub mod price;
pub mod snapshot;
