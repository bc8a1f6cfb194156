//! Policy for syncing written records to the disk.

/// Times at which the reader syncs segments to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Never: written records survive a killed process, but not a power loss.
    #[default]
    Never,
    /// Before each poll: written records also survive a power loss.
    EachPoll,
}
