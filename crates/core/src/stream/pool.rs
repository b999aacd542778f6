//! Buffers that are used again.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// How many buffers wait to be used again; more than are under way between two tasks are not needed.
const MAX_WAITING: usize = 16;

/// Buffers whose room comes back once nobody holds the [`Bytes`] any more that were made of them: memory that is fresh for each chunk costs
/// the system's handing out of pages, which was an eighth of what sealing costs.
#[derive(Debug, Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// A buffer, with whatever it held when it was lent last; a new one is empty.
    pub fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// What is in a buffer, which comes back here afterwards.
    pub fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, pool: self.clone() })
    }
}

/// A buffer that somebody reads.
struct Lent {
    buffer: Vec<u8>,
    pool: Pool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut waiting = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_WAITING {
            waiting.push(mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_comes_back_once_nobody_reads_it() {
        let pool = Pool::default();
        let mut buffer = pool.take();
        buffer.extend_from_slice(b"what was read");
        let place = buffer.as_ptr();
        let chunk = pool.lend(buffer);
        let part = chunk.slice(5..8);
        drop(chunk);
        assert!(pool.take().is_empty(), "somebody reads it still");
        assert_eq!(part, "was");
        drop(part);
        let again = pool.take();
        assert_eq!((again.as_ptr(), &again[..]), (place, &b"what was read"[..]));
    }

    #[test]
    fn no_more_is_kept_than_is_under_way() {
        let pool = Pool::default();
        let lent: Vec<_> = (0..3 * MAX_WAITING).map(|_| pool.lend(vec![1])).collect();
        drop(lent);
        assert_eq!((0..3 * MAX_WAITING).filter(|_| !pool.take().is_empty()).count(), MAX_WAITING);
    }
}
