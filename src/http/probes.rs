//! Sources of the probes' answers, which the server supplies.

use std::future::Future;
use std::pin::Pin;

/// Sources of the answers of `/readyz` and `/metrics`.
pub struct Probes {
    /// Whether the database answers.
    pub database: Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool>>> + Send + Sync>,
    /// Metrics in Prometheus text format, and their content type.
    pub metrics: Box<dyn Fn() -> (String, &'static str) + Send + Sync>,
}
