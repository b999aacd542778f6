//! Bytes that are kept as they are read.

use std::io::{self, BufRead, Read};

use crate::decode::read_at_hand;

/// Keeps what is read of `inner`.
pub(super) struct Recorded<R> {
    inner: R,
    bytes: Vec<u8>,
}

impl<R: BufRead> Recorded<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, bytes: Vec::new() }
    }

    /// What was read, and where the rest comes from.
    pub(super) fn finish(self) -> (Vec<u8>, R) {
        (self.bytes, self.inner)
    }
}

impl<R: BufRead> BufRead for Recorded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        // What is consumed was at hand, and is so still.
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
