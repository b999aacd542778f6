//! A reader that records its input.

use std::io::{self, BufRead, Read};

use crate::decode::read_at_hand;

/// A reader that records the bytes read from `inner`.
pub(super) struct Recorded<R> {
    inner: R,
    bytes: Vec<u8>,
}

impl<R: BufRead> Recorded<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, bytes: Vec::new() }
    }

    /// Returns the recorded bytes, and the inner reader.
    pub(super) fn finish(self) -> (Vec<u8>, R) {
        (self.bytes, self.inner)
    }
}

impl<R: BufRead> BufRead for Recorded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        // The consumed bytes are still buffered.
        if let Ok(at_hand) = self.inner.fill_buf() {
            self.bytes.extend_from_slice(&at_hand[..length]);
        }
        self.inner.consume(length);
    }
}

impl<R: BufRead> Read for Recorded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_at_hand(self, buffer)
    }
}
