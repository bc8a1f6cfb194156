//! The trait through which metrics see each settled entry.

use super::entry::Entry;

/// Receives each entry once, when it is settled, whether or not the sink stores it. Called on the
/// ledger's thread.
///
/// Entries that an earlier process settled are not repeated; entries it left open are reported when
/// they are recovered.
pub trait Observer: Send + Sync + 'static {
    /// Called with each settled entry.
    fn settled(&self, entry: &Entry);
}
