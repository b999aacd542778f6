//! Sources of bytes that exceed memory, or that yield single bytes.

use std::io::{self, BufRead, Read};

/// A source of pieces that are made on demand.
pub(crate) struct GeneratedReader<F> {
    make: F,
    number: u32,
    piece: Vec<u8>,
    consumed: usize,
}

/// Returns a source of `first` and the pieces from `make`, which receives the number of pieces made
/// before.
pub(crate) fn generated<F: FnMut(u32) -> Option<Vec<u8>>>(first: Vec<u8>, make: F) -> GeneratedReader<F> {
    GeneratedReader { make, number: 0, piece: first, consumed: 0 }
}

/// Returns a source of `first`, then `piece` repeatedly.
pub(crate) fn repeated(first: Vec<u8>, piece: Vec<u8>, times: u32) -> impl BufRead {
    generated(first, move |number| (number < times).then(|| piece.clone()))
}

impl<F: FnMut(u32) -> Option<Vec<u8>>> BufRead for GeneratedReader<F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.consumed == self.piece.len() {
            let Some(piece) = (self.make)(self.number) else { return Ok(&[]) };
            (self.piece, self.consumed) = (piece, 0);
            self.number += 1;
        }
        Ok(&self.piece[self.consumed..])
    }

    fn consume(&mut self, length: usize) {
        self.consumed += length;
    }
}

impl<F: FnMut(u32) -> Option<Vec<u8>>> Read for GeneratedReader<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

/// A source of single bytes that counts the requests.
pub(crate) struct SingleByteReader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) requests: &'a mut u64,
}

impl BufRead for SingleByteReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        *self.requests += 1;
        Ok(&self.bytes[..self.bytes.len().min(1)])
    }

    fn consume(&mut self, length: usize) {
        self.bytes = &self.bytes[length..];
    }
}

impl Read for SingleByteReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}
