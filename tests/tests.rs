//! All integration tests in one crate, so that they are linked once. `support` is the harness; the
//! other modules are suites, one per theme.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "what tests connect to is their own")]

mod support;

mod admin;
mod anthropic;
mod architecture;
mod chaos;
mod cli;
mod crash;
mod errors;
mod failover;
mod hardening;
mod harness;
mod identity;
mod ledger;
mod limits;
mod metrics;
mod models;
mod outage;
mod postgres;
mod reload;
mod route;
mod security;
mod shutdown;
mod simulator;
mod stream;
mod usage;
