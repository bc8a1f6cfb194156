//! The configuration: `aigw.toml`, the provider files it includes, and the environment.
//!
//! [`load()`] reads them once and returns [`Settings`] with every default filled in, or every problem at once. No other
//! code reads a configuration file or the environment. A file here holds one section: its type, its defaults and its
//! reader, so that a new key touches one file.

pub mod admin;
pub mod catalog;
pub mod diagnostics;
pub mod duration;
pub mod endpoint;
pub mod environment;
pub mod kind;
mod load;
pub mod model;
pub mod names;
pub mod price;
pub mod provider;
mod quirks;
pub mod retry;
pub mod sealing;
mod secret_source;
mod section;
pub mod security;
pub mod server;
pub mod settings;
mod shipped;
pub mod size;
pub mod storage;
pub mod upstream;

pub use admin::Admin;
pub use catalog::CatalogSettings;
pub use diagnostics::Problems;
pub use endpoint::Auth;
pub use environment::{Environment, ProcessEnvironment};
pub use kind::Kind;
pub use load::{load, load_shipped};
pub use model::{ModelSettings, Offering};
pub use price::{Price, Rates};
pub use provider::{Disabled, ProviderSettings};
pub use retry::{Cooldown, RetryPolicy};
pub use sealing::{EdgeIdentity, Sealing};
pub use security::Security;
pub use server::{LogFormat, Server};
pub use settings::Settings;
pub use shipped::shipped;
pub use storage::{Database, DatabaseUrl, Durability, LedgerSettings};
pub use upstream::UpstreamLimits;

#[cfg(test)]
mod tests;
