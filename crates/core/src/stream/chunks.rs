//! Pieces of any size, gathered into chunks.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;

use super::{BufferPool, CHUNK_BYTES};

/// Pieces gathered into chunks: a tar begins each file with a header of its own, and the stages of
/// a pipeline work per chunk. A piece of half a chunk or more is passed on as it is.
#[derive(Debug, Default)]
pub struct Chunks {
    pool: BufferPool,
    pending: Vec<u8>,
    ready: VecDeque<Bytes>,
}

impl Chunks {
    /// Adds a piece.
    pub fn push(&mut self, piece: Bytes) {
        if self.pending.len() + piece.len() > CHUNK_BYTES {
            self.flush();
        }
        if piece.len() >= CHUNK_BYTES / 2 {
            self.flush();
            return self.ready.push_back(piece);
        }
        if self.pending.is_empty() {
            self.pending = self.pool.take();
            self.pending.clear();
            self.pending.reserve(CHUNK_BYTES);
        }
        self.pending.extend_from_slice(&piece);
    }

    /// Completes the chunk that was begun.
    pub fn flush(&mut self) {
        if !self.pending.is_empty() {
            let chunk = mem::take(&mut self.pending);
            self.ready.push_back(self.pool.freeze(chunk));
        }
    }

    /// Returns the next complete chunk.
    pub fn pop(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// Returns true if no chunk is complete.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_the_order_of_pieces() {
        let mut chunks = Chunks::default();
        let sizes = [512, 300, CHUNK_BYTES, 7, CHUNK_BYTES / 2, CHUNK_BYTES / 2 - 1, CHUNK_BYTES / 2 - 1, 9];
        let pieces: Vec<Bytes> = (0..).zip(sizes).map(|(number, size)| vec![number; size].into()).collect();
        pieces.iter().for_each(|piece| chunks.push(piece.clone()));
        chunks.flush();
        chunks.flush();
        let gathered: Vec<Bytes> = std::iter::from_fn(|| chunks.pop()).collect();
        assert!(chunks.is_empty());
        assert_eq!(gathered.concat(), pieces.concat());
        let lengths: Vec<_> = gathered.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [812, CHUNK_BYTES, 7, CHUNK_BYTES / 2, CHUNK_BYTES - 2, 9]);
    }
}
