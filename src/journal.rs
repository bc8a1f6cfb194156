//! The write-ahead journal: append-only segment files that know nothing about the records in them.

pub mod sync_policy;
