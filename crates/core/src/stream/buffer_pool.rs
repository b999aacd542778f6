//! A pool of reusable buffers.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// The maximum number of idle buffers, which covers the chunks in transit between two tasks.
const MAX_WAITING: usize = 16;

/// A pool of buffers. A buffer returns to the pool when the last [`Bytes`] made of it is dropped.
/// Fresh memory for each chunk costs page faults, which were an eighth of the cost of encryption.
#[derive(Debug, Clone, Default)]
pub struct BufferPool(Arc<Mutex<Vec<Vec<u8>>>>);

impl BufferPool {
    /// Returns a buffer with its previous contents, or a new, empty one.
    pub fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Returns the contents of a buffer as [`Bytes`]; the buffer returns to the pool when they are
    /// dropped.
    pub fn freeze(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(PooledBuffer { buffer, pool: self.clone() })
    }
}

/// A buffer in use by readers.
struct PooledBuffer {
    buffer: Vec<u8>,
    pool: BufferPool,
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut idle = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_WAITING {
            idle.push(mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_returns_after_its_last_reader() {
        let pool = BufferPool::default();
        let mut buffer = pool.take();
        buffer.extend_from_slice(b"the last text");
        let address = buffer.as_ptr();
        let chunk = pool.freeze(buffer);
        let part = chunk.slice(4..8);
        drop(chunk);
        assert!(pool.take().is_empty(), "a reader still uses the buffer");
        assert_eq!(part, "last");
        drop(part);
        let again = pool.take();
        assert_eq!((again.as_ptr(), &again[..]), (address, &b"the last text"[..]));
    }

    #[test]
    fn pool_keeps_a_bounded_number_of_buffers() {
        let pool = BufferPool::default();
        let frozen: Vec<_> = (0..3 * MAX_WAITING).map(|_| pool.freeze(vec![1])).collect();
        drop(frozen);
        assert_eq!((0..3 * MAX_WAITING).filter(|_| !pool.take().is_empty()).count(), MAX_WAITING);
    }
}
