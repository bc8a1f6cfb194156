//! Sealing: the ladder of keys, the blobs they make and the spending of a provider key (spec/security.md section 1).
//!
//! Pure: no database, no clock, no sockets. Everything here is what either half may know; the master key and what it wraps
//! are the control half's ([`crate::control`]). A stolen database, a stolen gateway or a hostile tenant opens nothing that
//! is not its own, because a provider key opens only to edge key *and* virtual key together, and only for its sealed
//! destinations.

pub mod blob;
pub mod cache;
pub mod context;
pub mod derivation;
pub mod fields;
pub(crate) mod key;
pub mod names;
pub mod payload;
pub mod spend;
pub mod tenant_key;

pub use blob::{SealError, Unopened, open, seal};
pub use names::{BadName, EdgeId, Epoch, Kid, Ring, TenantKeyId, Version};
