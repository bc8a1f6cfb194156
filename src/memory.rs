//! Memory accounting for data that must be buffered whole: request bodies, non-streaming responses, unfinished events.
//!
//! This module only counts. The code that receives the bytes decides what to refuse at the limit, and how.

pub mod collect;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Number of bytes that the process may buffer at one time. Shared by all workers.
#[derive(Debug)]
pub struct MemoryCapacity {
    limit: usize,
    used: AtomicUsize,
}

/// Share of a [`MemoryCapacity`], returned on drop.
#[derive(Debug)]
pub struct Reservation {
    capacity: Arc<MemoryCapacity>,
    bytes: usize,
}

/// The memory capacity is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory for buffered bodies is exhausted; server.buffer_budget sets the limit")]
pub struct MemoryExhausted;

/// Bytes and the reservation that covers them.
struct Reserved {
    bytes: Bytes,
    _reservation: Reservation,
}

impl MemoryCapacity {
    /// Creates a capacity of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// Creates an empty reservation. It does not touch the shared counter until it is resized.
    pub fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation { capacity: Arc::clone(self), bytes: 0 }
    }

    /// Number of bytes reserved.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> Result<(), MemoryExhausted> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before.checked_add(bytes).is_some_and(|used| used <= self.limit) {
            return Ok(());
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        Err(MemoryExhausted)
    }
}

impl Reservation {
    /// Changes the reservation to `bytes` in total, more or fewer than before.
    ///
    /// # Errors
    /// The capacity does not allow it. The reservation is unchanged.
    pub fn resize(&mut self, bytes: usize) -> Result<(), MemoryExhausted> {
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => self.capacity.take(more)?,
            None => {
                self.capacity.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            }
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Returns the same bytes, which keep the reservation until the last slice of them is dropped.
    pub fn attach(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 { bytes } else { Bytes::from_owner(Reserved { bytes, _reservation: self }) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.capacity.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

impl AsRef<[u8]> for Reserved {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reservation_above_the_limit_is_refused_and_leaves_the_old_one() {
        let memory = MemoryCapacity::new(100);
        let (mut first, mut second) = (memory.reservation(), memory.reservation());
        first.resize(60).unwrap();
        second.resize(40).unwrap();
        assert_eq!(second.resize(41), Err(MemoryExhausted));
        assert_eq!(memory.used(), 100);
        drop(first);
        second.resize(100).unwrap();
        second.resize(0).unwrap();
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn an_overflowing_reservation_is_refused() {
        let memory = MemoryCapacity::new(usize::MAX);
        let (mut first, mut second) = (memory.reservation(), memory.reservation());
        first.resize(usize::MAX).unwrap();
        assert_eq!(second.resize(usize::MAX), Err(MemoryExhausted));
        assert_eq!(memory.used(), usize::MAX);
    }

    #[test]
    fn bytes_keep_their_reservation_until_the_last_slice_is_dropped() {
        let memory = MemoryCapacity::new(10);
        let mut reservation = memory.reservation();
        reservation.resize(5).unwrap();
        let bytes = reservation.attach(Bytes::from_static(b"hello"));
        let slice = bytes.slice(1..3);
        drop(bytes);
        assert_eq!((memory.used(), &slice[..]), (5, &b"el"[..]));
        drop(slice);
        assert_eq!(memory.used(), 0);
    }

    proptest! {
        #[test]
        fn the_used_memory_is_the_sum_of_the_reservations(steps in prop::collection::vec((0_usize..4, 0_usize..80), 0..60)) {
            let memory = MemoryCapacity::new(100);
            let mut reservations = [memory.reservation(), memory.reservation(), memory.reservation(), memory.reservation()];
            for (nth, bytes) in steps {
                let before: usize = reservations.iter().map(|reservation| reservation.bytes).sum();
                let fits = before - reservations[nth].bytes + bytes <= 100;
                prop_assert_eq!(reservations[nth].resize(bytes).is_ok(), fits);
                prop_assert_eq!(memory.used(), reservations.iter().map(|reservation| reservation.bytes).sum::<usize>());
            }
            drop(reservations);
            prop_assert_eq!(memory.used(), 0);
        }
    }
}
