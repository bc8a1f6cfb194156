//! Minimum rate at which a request body must arrive (spec/security.md 7.4). Pure: time is an argument.

use std::time::Duration;

use crate::config::Server;

/// Deadlines of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRate {
    /// Time limit of the first byte.
    start: Duration,
    /// Time limit of the whole body.
    whole: Duration,
    /// Least average rate after `grace`, in bytes per second. 0 disables it.
    rate: u64,
    grace: Duration,
}

impl MinRate {
    /// Returns the configured deadlines.
    pub fn of(server: &Server) -> Self {
        let Server { body_start_timeout, body_timeout, min_body_rate, body_rate_grace, .. } = server;
        Self { start: *body_start_timeout, whole: *body_timeout, rate: *min_body_rate, grace: *body_rate_grace }
    }

    /// Returns the deadline of the next byte after `received` bytes, counted from the end of the head.
    pub fn due(&self, received: u64) -> Duration {
        if received == 0 {
            return self.start.min(self.whole);
        }
        if self.rate == 0 {
            return self.whole;
        }
        // Time in which these bytes arrive at the least rate.
        let covered = Duration::from_millis(received.saturating_mul(1000) / self.rate);
        self.grace.max(covered).min(self.whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate() -> MinRate {
        MinRate::of(&Server::default())
    }

    #[test]
    fn the_first_byte_the_rate_and_the_whole_body_have_deadlines() {
        assert_eq!(rate().due(0), 5 * SECOND);
        assert_eq!(rate().due(1), 10 * SECOND);
        assert_eq!(rate().due(10 << 10), 10 * SECOND);
        assert_eq!(rate().due(30 << 10), 30 * SECOND);
        assert_eq!(rate().due(20 << 20), 60 * SECOND);
    }

    #[test]
    fn without_a_rate_only_the_deadline_of_the_whole_body_applies() {
        assert_eq!(MinRate { rate: 0, ..rate() }.due(1), 60 * SECOND);
    }

    proptest! {
        #[test]
        fn more_bytes_never_shorten_the_deadline(received in 1_u64.., more in any::<u64>(), rate in any::<u64>()) {
            let limits = MinRate { rate, ..MinRate::of(&Server::default()) };
            prop_assert!(limits.due(received.saturating_add(more)) >= limits.due(received));
            prop_assert!(limits.due(received) <= limits.whole);
        }
    }
}
