//! What every suite stands on: the real binary, a scripted upstream, a client on a raw socket.
//!
//! Nothing here waits for ever: a product that hangs fails its test within [`LIMIT`]. Nothing
//! sleeps to synchronise; where another process must be waited for, it is asked again until it
//! answers or the limit is up.

pub mod cases;
pub mod client;
pub mod gateway;
pub mod own_gateway;
pub mod postgres;
pub mod store;
pub mod test_gateway;
pub mod upstream;

use std::time::{Duration, Instant};

/// Time after which a wait counts as hung.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Polls `ask` until it returns a value.
///
/// # Panics
/// After [`LIMIT`], naming the expected event.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < LIMIT, "timed out after {LIMIT:?} waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns a name that is unique in this run and, in a shared database, across runs.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{:016x}", fastrand::u64(..))
}
