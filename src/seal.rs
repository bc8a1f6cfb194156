//! Sealing: key derivation, sealed blobs and the opening of provider keys (spec/security.md section
//! 1).
//!
//! Pure: no database, no clock, no sockets. Both halves of a process may use everything here; the
//! master key and what it wraps belong to the control half ([`crate::control`]).
//!
//! A provider key opens only with an edge key *and* a virtual key together, and only for its sealed
//! destinations. A stolen database, a stolen gateway or a hostile tenant therefore opens no other
//! tenant's keys.

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
