//! The whole configuration, resolved.

use std::path::PathBuf;

use super::admin::Admin;
use super::catalog::CatalogSettings;
use super::sealing::Sealing;
use super::security::Security;
use super::server::Server;
use super::storage::{Database, LedgerSettings};
use super::upstream::UpstreamLimits;

/// The whole configuration, with every default filled in.
#[derive(Debug)]
pub struct Settings {
    /// File it was read from.
    pub file: PathBuf,
    /// `[server]`
    pub server: Server,
    /// `[database]`
    pub database: Database,
    /// `[ledger]`
    pub ledger: LedgerSettings,
    /// `[admin]`
    pub admin: Admin,
    /// `[sealing]`
    pub sealing: Sealing,
    /// `[security]`
    pub security: Security,
    /// `[upstream]`
    pub upstream: UpstreamLimits,
    /// Kinds, providers and models.
    pub catalog: CatalogSettings,
    /// Legal settings that deserve a log line at start.
    pub warnings: Vec<String>,
}
