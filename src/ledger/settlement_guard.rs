//! The seam through which a policy learns how a request ended.

use super::entry::Entry;

/// Told exactly once how a request ended, on the thread that settles it. Release of a reserved
/// amount is the typical use.
pub trait SettlementGuard: Send + Sync {
    /// The request ended as `entry` says. Also called when the task of the request is dropped or
    /// panics. The entry is in the journal's buffer already; a panic here is caught and logged.
    fn settled(self: Box<Self>, entry: &Entry);
}
