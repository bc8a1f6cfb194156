//! The control half: owns the store and the master key, administers, and publishes snapshots to the gateway half.

pub mod store;
