//! interface

/// One worker's append-only file of what it opened and settled.
pub struct Journal;
