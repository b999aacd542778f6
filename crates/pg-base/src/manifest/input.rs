//! The bytes before the document's parser: bounded for each entry, and hashed up to the last line.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};

use sha2::{Digest, Sha256};

use super::NAME;
use crate::error::{Error, Result};

/// The number of bytes that one read of the inner reader asks for.
const READ_BYTES: usize = 64 << 10;

/// The most bytes of one entry and its neighbours: a path has 1,023 bytes, 6 as JSON for each.
const MOST_ENTRY_BYTES: u64 = 64 << 10;
/// The maximum length of a line. The server writes one entry a line.
const MOST_LINE_BYTES: usize = 256 << 10;

/// The place of the parser, shared between the parser and its input.
#[derive(Debug, Default)]
pub(super) struct Position {
    consumed_bytes: Cell<u64>,
    entry_end: Cell<u64>,
}

impl Position {
    /// Returns the number of bytes before the parser's place.
    pub(super) fn offset(&self) -> u64 {
        self.consumed_bytes.get()
    }

    /// Marks the end of an entry, so that the bytes of the next one are counted from here.
    pub(super) fn mark_entry_end(&self) {
        self.entry_end.set(self.consumed_bytes.get());
    }
}

/// A reader that hashes all lines but the last one. The rule is that of `verify_manifest_checksum`
/// in `src/common/parse_manifest.c`: the last newline is the last byte, and the newline before it
/// is the last hashed byte.
pub(super) struct Input<'a, R> {
    inner: R,
    position: &'a Position,
    buffer: Vec<u8>,
    start: usize,
    /// The bytes after the last newline that other bytes follow.
    last_line: Vec<u8>,
    digest: Sha256,
    hashed: Hashed,
}

/// The number of lines before the last one, as far as it matters.
#[derive(PartialEq, Eq)]
enum Hashed {
    NoLine,
    Lines,
}

impl<'a, R: Read> Input<'a, R> {
    pub(super) fn new(inner: R, position: &'a Position) -> Self {
        let digest = Sha256::new();
        let (buffer, last_line) = (Vec::new(), Vec::new());
        Self { inner, position, buffer, start: 0, last_line, digest, hashed: Hashed::NoLine }
    }

    /// Returns the SHA-256 of all lines but the last one, after the end was read.
    pub(super) fn finish(self) -> Result<[u8; 32]> {
        let damaged = |message| Err(Error::damaged(NAME, self.position.offset(), message));
        if self.hashed == Hashed::NoLine {
            return damaged("fewer than two lines");
        }
        if self.last_line.last() != Some(&b'\n') {
            return damaged("last line without a newline");
        }
        Ok(self.digest.finalize().into())
    }

    fn fill(&mut self) -> io::Result<()> {
        let entry_bytes = self.position.offset().saturating_sub(self.position.entry_end.get());
        if entry_bytes > MOST_ENTRY_BYTES {
            let message = format!("entry of more than {MOST_ENTRY_BYTES} bytes");
            return Err(Error::damaged(NAME, self.position.offset(), message).into());
        }
        self.buffer.resize(READ_BYTES, 0);
        self.start = 0;
        let read = loop {
            match self.inner.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(*read.as_ref().unwrap_or(&0));
        read?;
        self.hash_whole_lines();
        if self.last_line.len() > MOST_LINE_BYTES {
            let message = format!("line of more than {MOST_LINE_BYTES} bytes");
            return Err(Error::damaged(NAME, self.position.offset(), message).into());
        }
        Ok(())
    }

    fn hash_whole_lines(&mut self) {
        self.last_line.extend_from_slice(&self.buffer);
        let all_but_one = self.last_line.split_last().map_or(&[][..], |(_, rest)| rest);
        if let Some(newline) = all_but_one.iter().rposition(|byte| *byte == b'\n') {
            let lines = self.last_line.drain(..=newline);
            self.digest.update(lines.as_slice());
            self.hashed = Hashed::Lines;
        }
    }
}

impl<R: Read> Read for Input<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.start >= self.buffer.len() {
            self.fill()?;
        }
        let unread = self.buffer.get(self.start..).unwrap_or_default();
        let count = unread.len().min(out.len());
        for (to, from) in out.iter_mut().zip(unread) {
            *to = *from;
        }
        self.start += count;
        self.position.consumed_bytes.set(self.position.offset() + count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(bytes: &[u8]) -> Result<[u8; 32]> {
        let position = Position::default();
        let mut input = Input::new(bytes, &position);
        let (mut read, mut piece) = (Vec::new(), [0; 1000]);
        loop {
            let count = input.read(&mut piece).map_err(|error| Error::io(NAME, 0, error))?;
            if count == 0 {
                break;
            }
            read.extend_from_slice(&piece[..count]);
            if piece[..count].contains(&b'\n') {
                position.mark_entry_end();
            }
        }
        assert_eq!(read, bytes);
        input.finish()
    }

    #[test]
    fn input_hashes_all_lines_but_the_last() {
        let expected: [u8; 32] = Sha256::digest(b"one\n\ntwo\n").into();
        assert_eq!(digest_of(b"one\n\ntwo\nlast\n").unwrap(), expected);
        let long = [vec![b'x'; 40_000], b"\n".to_vec(), vec![b'y'; 30_000], b"\n".to_vec()].concat();
        let expected: [u8; 32] = Sha256::digest(&long[..40_001]).into();
        assert_eq!(digest_of(&long).unwrap(), expected);
    }

    #[test]
    fn input_without_a_last_newline_is_damaged() {
        for bytes in [&b""[..], b"\n", b"one\n", b"one\ntwo"] {
            assert!(digest_of(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn overlong_entry_is_damaged() {
        let error = digest_of(&vec![b' '; 300_000]).unwrap_err();
        assert!(error.message.contains("entry of more than 65536 bytes"), "{error}");
    }
}
