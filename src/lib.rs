//! aigw: every model behind one OpenAI-compatible endpoint.
#![forbid(unsafe_code)]

pub mod catalog;
pub mod cli;
pub mod config;
pub mod control;
pub mod credential;
pub mod dialect;
pub mod gateway;
pub mod guard;
pub mod http;
pub mod json;
pub mod ledger;
pub mod metrics;
pub mod secret;
pub mod server;
pub mod terms;
