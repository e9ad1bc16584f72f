//! Memory that the receiving flows of a session use again and again: small messages lie side by side in shared
//! chunks, and the queues of messages go from flow to flow, so that most messages need no allocation of their own.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::flow::Message;

/// Messages up to this size are put into chunks; larger ones are worth an allocation.
const SMALL: usize = 2_048;

/// A session that receives little gets by with the first chunk.
const FIRST_CHUNK: usize = 4_096;
/// One that begins with a message of a few bytes may go on so, as a request now and then: then the first chunk is smaller.
const TINY: usize = 128;
const TINY_CHUNK: usize = 1_024;
const CHUNK: usize = 16_384;

/// The most chunks. They bound what a reader holds that keeps one message of each, and what the session's budget
/// does not see: when none of them is free, small messages get allocations of their own.
const MOST_CHUNKS: usize = 16;

/// How many chunks are kept while no message waits to be read.
const KEPT_CHUNKS: usize = 8;

/// How many empty queues are kept, and of how many places at most: 200 KiB at most.
const KEPT_QUEUES: usize = 4;
const KEPT_PLACES: usize = 1_024;

/// See the module. A chunk is used again when nobody has a message in it any more.
#[derive(Default, Debug)]
pub(crate) struct SmallMessagePool {
    /// The one in use first, then those filled longest ago.
    chunks: VecDeque<BytesMut>,
    queues: Vec<VecDeque<Message>>,
}

impl SmallMessagePool {
    /// A copy of `data`.
    pub(super) fn copy(&mut self, data: &[u8]) -> Bytes {
        match self.chunk_for(data.len()) {
            Some(chunk) => {
                chunk.extend_from_slice(data);
                chunk.split().freeze()
            }
            None => Bytes::copy_from_slice(data),
        }
    }

    /// A queue without messages.
    pub(super) fn queue(&mut self) -> VecDeque<Message> {
        self.queues.pop().unwrap_or_default()
    }

    /// A queue has been read out.
    pub(super) fn recycle_queue(&mut self, queue: VecDeque<Message>) {
        if self.queues.len() < KEPT_QUEUES && queue.capacity() <= KEPT_PLACES && queue.is_empty() {
            self.queues.push(queue);
        }
    }

    /// Bytes of memory that the chunks and the empty queues take, at most.
    pub(crate) fn memory(&self) -> usize {
        let places: usize = self.queues.iter().map(VecDeque::capacity).sum();
        let chunks = self.chunks.len().saturating_sub(1) * CHUNK + FIRST_CHUNK.min(self.chunks.len() * CHUNK);
        chunks + places * size_of::<Message>()
    }

    /// Frees chunks, now that no message waits.
    pub(crate) fn trim(&mut self) {
        self.chunks.truncate(KEPT_CHUNKS);
    }

    /// A chunk with room for so much. Only one other chunk than that in use is looked at.
    fn chunk_for(&mut self, len: usize) -> Option<&mut BytesMut> {
        if len == 0 || len > SMALL {
            return None;
        }
        if self.chunks.front().is_none_or(|chunk| chunk.capacity() < len) {
            if !self.chunks.is_empty() {
                self.chunks.rotate_left(1);
            }
            if !self.chunks.front_mut().is_some_and(|chunk| chunk.try_reclaim(len)) {
                let first = if len <= TINY { TINY_CHUNK } else { FIRST_CHUNK };
                let size = if self.chunks.is_empty() { first } else { CHUNK };
                if self.chunks.len() >= MOST_CHUNKS {
                    return None;
                }
                self.chunks.push_front(BytesMut::with_capacity(size));
            }
        }
        self.chunks.front_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_used_again_when_its_messages_are_gone() {
        let mut pool = SmallMessagePool::default();
        for _ in 0..1_000 {
            let messages: Vec<Bytes> = (0..30).map(|byte| pool.copy(&[byte; 200])).collect();
            assert!(messages.iter().zip(0..).all(|(message, byte)| message == &[byte; 200][..]));
        }
        assert_eq!(pool.chunks.len(), 3, "a small one and two others");
    }

    /// What a reader keeps holds no more than all chunks.
    #[test]
    fn chunks_are_limited_whatever_is_kept() {
        let mut pool = SmallMessagePool::default();
        let mut kept = Vec::new();
        for number in 0..10_000_u32 {
            let message = pool.copy(&number.to_be_bytes().repeat(25));
            if number % 20 == 0 {
                kept.push((number, message));
            }
        }
        assert_eq!(pool.chunks.len(), MOST_CHUNKS);
        assert!(kept.iter().all(|(number, message)| *message == number.to_be_bytes().repeat(25)));
        kept.clear();
        assert!(pool.chunk_for(100).is_some(), "free again");
        pool.trim();
        assert_eq!(pool.chunks.len(), KEPT_CHUNKS);
    }

    #[test]
    fn its_memory_is_that_of_all_chunks_and_queues() {
        let mut pool = SmallMessagePool::default();
        assert_eq!(pool.memory(), 0);
        let mut kept = Vec::from([pool.copy(b"x")]);
        assert_eq!(pool.memory(), FIRST_CHUNK);
        while pool.chunks.len() < 3 {
            kept.push(pool.copy(&[1; 1_000]));
        }
        pool.recycle_queue(VecDeque::with_capacity(10));
        assert_eq!(pool.memory(), FIRST_CHUNK + 2 * CHUNK + 10 * size_of::<Message>());
    }

    #[test]
    fn queues_are_kept_in_limited_number_and_size() {
        let mut pool = SmallMessagePool::default();
        pool.recycle_queue(VecDeque::with_capacity(KEPT_PLACES + 1));
        assert_eq!(pool.queue().capacity(), 0);
        for _ in 0..10 {
            pool.recycle_queue(VecDeque::with_capacity(KEPT_PLACES));
        }
        assert_eq!(pool.queues.len(), KEPT_QUEUES);
        assert_eq!(pool.queue().capacity(), KEPT_PLACES);
    }

    #[test]
    fn empty_and_large_messages_take_no_room() {
        let mut pool = SmallMessagePool::default();
        assert_eq!(pool.copy(b""), "");
        assert_eq!(pool.copy(&[1; SMALL + 1]).len(), SMALL + 1);
        assert!(pool.chunks.is_empty());
    }
}
