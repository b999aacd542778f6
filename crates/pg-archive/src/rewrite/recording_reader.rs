//! A reader that records its input.

use std::io::{self, BufRead, Read};

use crate::decode::read_buffered;

/// A reader that records the bytes read from `inner`.
pub(super) struct RecordingReader<R> {
    inner: R,
    bytes: Vec<u8>,
}

impl<R: BufRead> RecordingReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, bytes: Vec::new() }
    }

    /// Returns the recorded bytes, and the inner reader.
    pub(super) fn finish(self) -> (Vec<u8>, R) {
        (self.bytes, self.inner)
    }
}

impl<R: BufRead> BufRead for RecordingReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        // The consumed bytes are still buffered.
        if let Ok(buffered) = self.inner.fill_buf() {
            self.bytes.extend_from_slice(&buffered[..length]);
        }
        self.inner.consume(length);
    }
}

impl<R: BufRead> Read for RecordingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}
