//! Splits a payload into batches of several chunks, and marks the last batch.

use std::io::{self, BufRead};

use age::armor::ArmoredReader;
use bytes::Bytes;
use longshore_core::stream::{StreamReader, take_bytes};

/// The number of chunks per batch: enough that handing a batch to a thread costs nothing compared
/// to encrypting it.
pub(super) const BATCH_CHUNKS: usize = 4;

/// The source of a payload.
pub(crate) trait Source: BufRead {
    /// Returns the next `wanted` contiguous bytes, or all remaining bytes.
    fn take_bytes(&mut self, wanted: usize) -> io::Result<Bytes> {
        take_bytes(self, wanted)
    }
}

impl Source for StreamReader {
    fn take_bytes(&mut self, wanted: usize) -> io::Result<Bytes> {
        Self::take_bytes(self, wanted)
    }
}

impl<R: BufRead> Source for ArmoredReader<R> {}

#[cfg(test)]
impl Source for &[u8] {}

/// Consecutive chunks of a payload.
pub(super) struct Batch {
    pub(super) first_chunk: u64,
    /// The chunks: at least one, possibly empty.
    pub(super) chunks: Vec<Bytes>,
    /// True if the batch is the last.
    pub(super) last: bool,
}

impl Batch {
    /// Returns the chunks, each with its number and whether it is the last of the payload.
    pub(super) fn numbered_chunks(&self) -> impl Iterator<Item = (u64, bool, &Bytes)> {
        let last = self.chunks.len() - 1;
        self.chunks
            .iter()
            .enumerate()
            .map(move |(index, chunk)| (self.first_chunk + index as u64, self.last && index == last, chunk))
    }

    /// Returns the total size of the chunks in bytes.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}

/// Reads batches. A payload has at least one.
pub(super) struct Batches<'a> {
    source: &'a mut (dyn Source + Send),
    chunk_bytes: usize,
    next_chunk: u64,
    ended: bool,
}

impl<'a> Batches<'a> {
    /// Splits `source` into chunks of `chunk_bytes`; the last one may be shorter.
    pub(super) fn new(source: &'a mut (dyn Source + Send), chunk_bytes: usize) -> Self {
        Self { source, chunk_bytes, next_chunk: 0, ended: false }
    }

    /// Returns the next batch, or nothing after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Batch>> {
        if self.ended {
            return Ok(None);
        }
        // A failure ends the batches as well.
        self.ended = true;
        let mut chunks = Vec::with_capacity(BATCH_CHUNKS);
        let mut last = false;
        while chunks.len() < BATCH_CHUNKS && !last {
            chunks.push(self.source.take_bytes(self.chunk_bytes)?);
            last = self.source.fill_buf()?.is_empty();
        }
        self.ended = last;
        let first_chunk = self.next_chunk;
        self.next_chunk += BATCH_CHUNKS as u64;
        Ok(Some(Batch { first_chunk, chunks, last }))
    }
}
