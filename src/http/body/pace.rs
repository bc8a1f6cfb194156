//! How slowly a body may arrive (spec/security.md 7.4). Pure: time is an argument.

use std::time::Duration;

use crate::config::Server;

/// What a body has to keep up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Until its first byte.
    start: Duration,
    /// Until its last.
    whole: Duration,
    /// Bytes a second on average, once `grace` is over.
    rate: u64,
    grace: Duration,
}

impl Pace {
    /// As configured.
    pub fn of(server: &Server) -> Self {
        let Server { body_start_timeout, body_timeout, min_body_rate, body_rate_grace, .. } = server;
        Self { start: *body_start_timeout, whole: *body_timeout, rate: *min_body_rate, grace: *body_rate_grace }
    }

    /// Until when, counted from the end of the head, the next byte has to be there if `received` bytes are.
    pub fn due(&self, received: u64) -> Duration {
        if received == 0 {
            return self.start.min(self.whole);
        }
        if self.rate == 0 {
            return self.whole;
        }
        // So long do the bytes that are there last at the least rate.
        let lasting = Duration::from_millis(received.saturating_mul(1000) / self.rate);
        self.grace.max(lasting).min(self.whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace() -> Pace {
        Pace::of(&Server::default())
    }

    #[test]
    fn the_first_byte_the_rate_and_the_whole_each_have_their_time() {
        assert_eq!(pace().due(0), 5 * SECOND);
        assert_eq!(pace().due(1), 10 * SECOND);
        assert_eq!(pace().due(10 << 10), 10 * SECOND);
        assert_eq!(pace().due(30 << 10), 30 * SECOND);
        assert_eq!(pace().due(20 << 20), 60 * SECOND);
    }

    #[test]
    fn without_a_rate_only_the_whole_counts() {
        assert_eq!(Pace { rate: 0, ..pace() }.due(1), 60 * SECOND);
    }

    proptest! {
        #[test]
        fn more_bytes_never_mean_less_time(received in 1_u64.., more in any::<u64>(), rate in any::<u64>()) {
            let pace = Pace { rate, ..pace() };
            prop_assert!(pace.due(received.saturating_add(more)) >= pace.due(received));
            prop_assert!(pace.due(received) <= pace.whole);
        }
    }
}
