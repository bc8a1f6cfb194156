//! The languages that upstreams speak. A dialect translates a client's request for one of them and
//! the upstream's answer back.
//!
//! Pure: no I/O, no clock, no actor, no HTTP client. [`contract`] is the trait, with its types in
//! [`request`], [`call`], [`reader`] and [`failure`]; [`registry`] lists the implementations.
//! Adding a dialect takes one file or folder here and one line there.

pub mod anthropic;
pub mod call;
pub mod contract;
pub mod failure;
pub mod opaque;
pub mod openai;
pub mod quirks;
pub mod reader;
pub mod registry;
pub mod request;
pub mod simulator;
pub mod sse;
