//! Peculiarities of a provider's kind, from its TOML.

use std::time::Duration;

/// Peculiarities of a kind.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Quirks {
    /// Top-level request fields to rename.
    pub rename: Vec<(String, String)>,
    /// Top-level request fields to remove.
    pub drop: Vec<String>,
    /// Top-level request fields to set, as JSON text. They replace the client's.
    pub set: Vec<(String, String)>,
    /// Whether a stream may be asked for its usage by `stream_options`.
    pub stream_usage: bool,
    /// Behavior of the simulator.
    pub simulate: Simulate,
}

/// Behavior of the simulator, for rehearsals of slow and failing providers.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Simulate {
    /// Time until the first byte of an answer.
    pub latency: Duration,
    /// Time between two chunks of a stream.
    pub chunk_delay: Duration,
    /// Share of calls that fail, from 0 to 1.
    pub failure_rate: f64,
    /// Status of a call that fails. 0 means the default, 503.
    pub failure_status: u16,
}
