//! One budget for the memory of what has to be held whole: request bodies, answers that are no streams, unfinished events.
//!
//! It counts and nothing else: what is refused when it is used up, and with which words, is decided where the bytes arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// So many bytes may be held in the process at a time. Shared by all workers.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// A share of the budget; given back on drop.
#[derive(Debug)]
pub struct Claim {
    budget: Arc<Budget>,
    bytes: usize,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory for bodies in flight is used up; server.buffer_budget is its limit")]
pub struct UsedUp;

/// Bytes together with their claim.
struct Claimed {
    bytes: Bytes,
    _claim: Claim,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// A claim to nothing yet. It costs no shared counter until it is resized.
    pub fn claim(self: &Arc<Self>) -> Claim {
        Claim { budget: Arc::clone(self), bytes: 0 }
    }

    /// Bytes claimed.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> Result<(), UsedUp> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before.checked_add(bytes).is_some_and(|used| used <= self.limit) {
            return Ok(());
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        Err(UsedUp)
    }
}

impl Claim {
    /// Makes it a claim to `bytes` in all, more or fewer than before.
    ///
    /// # Errors
    /// There are not so many left; the claim is as it was.
    pub fn resize(&mut self, bytes: usize) -> Result<(), UsedUp> {
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => self.budget.take(more)?,
            None => {
                self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            }
        }
        self.bytes = bytes;
        Ok(())
    }

    /// The same bytes, holding the claim until the last slice of them is dropped.
    pub fn around(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 { bytes } else { Bytes::from_owner(Claimed { bytes, _claim: self }) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

impl AsRef<[u8]> for Claimed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_claim_past_the_limit_is_refused_and_leaves_what_was_there() {
        let budget = Budget::new(100);
        let (mut first, mut second) = (budget.claim(), budget.claim());
        first.resize(60).unwrap();
        second.resize(40).unwrap();
        assert_eq!(second.resize(41), Err(UsedUp));
        assert_eq!(budget.used(), 100);
        drop(first);
        second.resize(100).unwrap();
        second.resize(0).unwrap();
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn an_absurd_claim_is_refused_without_overflow() {
        let budget = Budget::new(usize::MAX);
        let (mut first, mut second) = (budget.claim(), budget.claim());
        first.resize(usize::MAX).unwrap();
        assert_eq!(second.resize(usize::MAX), Err(UsedUp));
        assert_eq!(budget.used(), usize::MAX);
    }

    #[test]
    fn bytes_hold_their_claim_until_the_last_slice_is_gone() {
        let budget = Budget::new(10);
        let mut claim = budget.claim();
        claim.resize(5).unwrap();
        let bytes = claim.around(Bytes::from_static(b"hello"));
        let slice = bytes.slice(1..3);
        drop(bytes);
        assert_eq!((budget.used(), &slice[..]), (5, &b"el"[..]));
        drop(slice);
        assert_eq!(budget.used(), 0);
    }

    proptest! {
        #[test]
        fn what_is_used_is_the_sum_of_the_claims(steps in prop::collection::vec((0_usize..4, 0_usize..80), 0..60)) {
            let budget = Budget::new(100);
            let mut claims = [budget.claim(), budget.claim(), budget.claim(), budget.claim()];
            for (nth, bytes) in steps {
                let before: usize = claims.iter().map(|claim| claim.bytes).sum();
                let fits = before - claims[nth].bytes + bytes <= 100;
                prop_assert_eq!(claims[nth].resize(bytes).is_ok(), fits);
                prop_assert_eq!(budget.used(), claims.iter().map(|claim| claim.bytes).sum::<usize>());
            }
            drop(claims);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
