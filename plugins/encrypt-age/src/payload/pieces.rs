//! A payload cut into pieces of several chunks, of which the last is known to be the last.

use std::io::{self, BufRead};

use age::armor::ArmoredReader;
use bytes::Bytes;
use longshore_core::stream::{StreamReader, take_bytes};

/// How many chunks make a piece: enough that handing it to a thread costs nothing beside sealing it.
pub(super) const PIECE_CHUNKS: usize = 4;

/// What a payload is read from.
pub(crate) trait Source: BufRead {
    /// Its next bytes in a row: as many as are wanted, or all that are left.
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

/// Some chunks of a payload, one after the other.
pub(super) struct Piece {
    pub(super) first_chunk: u64,
    /// At least one, were it empty.
    pub(super) chunks: Vec<Bytes>,
    /// Whether nothing comes after it.
    pub(super) last: bool,
}

impl Piece {
    /// Its chunks, each with its number and whether it is the last of all.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u64, bool, &Bytes)> {
        let last = self.chunks.len() - 1;
        self.chunks
            .iter()
            .enumerate()
            .map(move |(place, chunk)| (self.first_chunk + place as u64, self.last && place == last, chunk))
    }

    /// The bytes of all its chunks.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}

/// Reads pieces. There is always one.
pub(super) struct Pieces<'a> {
    source: &'a mut (dyn Source + Send),
    chunk_bytes: usize,
    next_chunk: u64,
    ended: bool,
}

impl<'a> Pieces<'a> {
    /// Cuts what `source` gives into chunks of as many bytes, but for the last one.
    pub(super) fn new(source: &'a mut (dyn Source + Send), chunk_bytes: usize) -> Self {
        Self { source, chunk_bytes, next_chunk: 0, ended: false }
    }

    /// The next piece, or nothing after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        // Whatever fails is the end, too.
        self.ended = true;
        let mut chunks = Vec::with_capacity(PIECE_CHUNKS);
        let mut last = false;
        while chunks.len() < PIECE_CHUNKS && !last {
            chunks.push(self.source.take_bytes(self.chunk_bytes)?);
            last = self.source.fill_buf()?.is_empty();
        }
        self.ended = last;
        let first_chunk = self.next_chunk;
        self.next_chunk += PIECE_CHUNKS as u64;
        Ok(Some(Piece { first_chunk, chunks, last }))
    }
}
