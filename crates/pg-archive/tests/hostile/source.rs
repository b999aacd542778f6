//! Where bytes come from that would not fit into memory, or that come one by one.

use std::io::{self, BufRead, Read};

/// Pieces that are made one after another, as long as there are more.
pub(crate) struct Made<F> {
    make: F,
    number: u32,
    piece: Vec<u8>,
    consumed: usize,
}

/// What `make` makes, beginning with `first`; it hears how many it made before.
pub(crate) fn made<F: FnMut(u32) -> Option<Vec<u8>>>(first: Vec<u8>, make: F) -> Made<F> {
    Made { make, number: 0, piece: first, consumed: 0 }
}

/// `first`, then `piece` again and again.
pub(crate) fn repeated(first: Vec<u8>, piece: Vec<u8>, times: u32) -> impl BufRead {
    made(first, move |number| (number < times).then(|| piece.clone()))
}

impl<F: FnMut(u32) -> Option<Vec<u8>>> BufRead for Made<F> {
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

impl<F: FnMut(u32) -> Option<Vec<u8>>> Read for Made<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

/// Bytes one at a time; counts how often somebody asks for the next.
pub(crate) struct Single<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) asked: &'a mut u64,
}

impl BufRead for Single<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        *self.asked += 1;
        Ok(&self.bytes[..self.bytes.len().min(1)])
    }

    fn consume(&mut self, length: usize) {
        self.bytes = &self.bytes[length..];
    }
}

impl Read for Single<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}
