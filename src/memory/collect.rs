//! Collection of a chunked body into one buffer, under a size limit and a memory reservation.
//!
//! A body that is one chunk is returned as it arrived, without a copy. The caller reads the chunks, so that request bodies and
//! upstream responses can keep their own timeouts.

use bytes::{Bytes, BytesMut};

use super::Reservation;

/// Most bytes that are allocated because a `content-length` announces them. Beyond that the buffer grows as bytes arrive.
const MAX_PREALLOCATION: usize = 1 << 20;

/// Body being collected.
#[derive(Debug)]
pub struct Collector<'a> {
    limit: usize,
    content_length: Option<usize>,
    reservation: &'a mut Reservation,
    /// The only chunk so far. It moves into `buffer` when a second one arrives.
    first: Option<Bytes>,
    buffer: BytesMut,
}

/// Reason why a body cannot be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectError {
    /// The body, or its announced length, exceeds the limit.
    TooLarge,
    /// The memory capacity is exhausted.
    OutOfMemory,
}

impl<'a> Collector<'a> {
    /// Starts an empty body of at most `limit` bytes. `reservation` grows with the memory that is held.
    pub fn new(limit: usize, content_length: Option<usize>, reservation: &'a mut Reservation) -> Self {
        Self { limit, content_length, reservation, first: None, buffer: BytesMut::new() }
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// The body exceeds its limit, or the memory capacity is exhausted. The body must be discarded.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), CollectError> {
        if let Some(first) = self.first.take() {
            self.append(&first, first.len() + chunk.len())?;
            return self.append(&chunk, 0);
        }
        if !self.buffer.is_empty() {
            return self.append(&chunk, 0);
        }
        if chunk.len() > self.limit || self.content_length.is_some_and(|length| length > self.limit) {
            return Err(CollectError::TooLarge);
        }
        self.reserve(chunk.len())?;
        self.first = Some(chunk);
        Ok(())
    }

    /// Returns the body.
    pub fn finish(self) -> Bytes {
        match self.first {
            Some(chunk) => chunk,
            None => self.buffer.freeze(),
        }
    }

    /// Copies a chunk. The buffer grows to at least `total` bytes if it grows at all.
    fn append(&mut self, chunk: &[u8], total: usize) -> Result<(), CollectError> {
        let length = self.buffer.len() + chunk.len();
        if length.max(total) > self.limit {
            return Err(CollectError::TooLarge);
        }
        if length > self.buffer.capacity() {
            let announced = self.content_length.unwrap_or(0).min(MAX_PREALLOCATION);
            let doubled = (self.buffer.capacity() * 2).min(self.limit);
            let capacity = length.max(total).max(announced).max(doubled);
            self.reserve(capacity)?;
            self.buffer.reserve(capacity - self.buffer.len());
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), CollectError> {
        self.reservation.resize(bytes).map_err(|_| CollectError::OutOfMemory)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::MemoryCapacity;
    use super::*;

    /// Collects `chunks`, and returns the bytes reserved when the last one was in.
    fn collect(
        memory: &Arc<MemoryCapacity>,
        limit: usize,
        length: Option<usize>,
        chunks: &[&[u8]],
    ) -> Result<(Bytes, usize), CollectError> {
        let mut reservation = memory.reservation();
        let mut collector = Collector::new(limit, length, &mut reservation);
        for chunk in chunks {
            collector.push(Bytes::copy_from_slice(chunk))?;
        }
        Ok((collector.finish(), memory.used()))
    }

    #[test]
    fn a_body_of_one_chunk_is_not_copied() {
        let memory = MemoryCapacity::new(100);
        let mut reservation = memory.reservation();
        let mut collector = Collector::new(10, None, &mut reservation);
        let chunk = Bytes::from(vec![7; 5]);
        collector.push(chunk.clone()).unwrap();
        assert_eq!(collector.finish().as_ptr(), chunk.as_ptr());
        assert_eq!(memory.used(), 5);
        let (empty, used) = collect(&MemoryCapacity::new(1), 10, None, &[]).unwrap();
        assert!(empty.is_empty() && used == 0);
    }

    #[test]
    fn a_body_may_reach_its_limit_but_not_exceed_it() {
        let memory = MemoryCapacity::new(100);
        assert_eq!(collect(&memory, 4, None, &[b"ab", b"cd"]).unwrap().0, "abcd");
        for chunks in [&[b"abcde".as_slice()][..], &[b"ab", b"cde"], &[b"ab", b"cd", b"e"]] {
            assert_eq!(collect(&memory, 4, None, chunks), Err(CollectError::TooLarge));
        }
        assert_eq!(collect(&memory, 4, Some(5), &[b"a"]), Err(CollectError::TooLarge));
    }

    #[test]
    fn an_announced_length_reserves_a_bounded_amount_of_memory() {
        let memory = MemoryCapacity::new(1 << 30);
        let limit = 100 << 20;
        assert_eq!(collect(&memory, limit, Some(1_000), &[b"a"]).unwrap().1, 1);
        assert_eq!(collect(&memory, limit, Some(1_000), &[b"a", b"b"]).unwrap().1, 1_000);
        assert_eq!(collect(&memory, limit, Some(50 << 20), &[b"a", b"b"]).unwrap().1, MAX_PREALLOCATION);
    }

    #[test]
    fn a_body_is_refused_when_the_memory_is_exhausted() {
        assert_eq!(collect(&MemoryCapacity::new(3), 10, None, &[b"abcd"]), Err(CollectError::OutOfMemory));
        assert_eq!(collect(&MemoryCapacity::new(3), 10, None, &[b"ab", b"cd"]), Err(CollectError::OutOfMemory));
    }

    proptest! {
        #[test]
        fn the_chunks_are_joined_and_their_memory_is_reserved(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
            length in prop::option::of(0_usize..500),
        ) {
            let memory = MemoryCapacity::new(1 << 20);
            let parts: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let (body, used) = collect(&memory, 1_000, length, &parts).unwrap();
            prop_assert_eq!(&body[..], chunks.concat());
            prop_assert!(used >= body.len() && used <= 1_000.max(body.len()));
        }
    }
}
