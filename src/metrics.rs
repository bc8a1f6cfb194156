//! temp
use crate::ledger::{Observer, backlog::Lag, entry::Entry};
/// t
#[derive(Default)]
pub struct Metrics;
impl Metrics {
    /// t
    pub const CONTENT_TYPE: &'static str = "text/plain";
    /// t
    pub fn new() -> Self {
        Self
    }
    /// t
    pub fn set_in_flight(&self, _: usize) {}
    /// t
    pub fn set_ledger(&self, _: Lag, _: usize) {}
    /// t
    pub fn encode(&self) -> String {
        String::new()
    }
}
impl Observer for Metrics {
    fn settled(&self, _: &Entry) {}
}
