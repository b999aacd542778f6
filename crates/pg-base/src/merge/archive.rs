//! One of the server's archives: its blocks, from pieces of any size.

use std::ops::Range;

use bytes::Bytes;

use super::header::{self, Headers, MANIFEST};
use crate::error::{Error, Result};
use crate::tar_header::{BLOCK_BYTES, Block, Fault, Member};

/// An incomplete archive.
#[derive(Debug)]
pub(super) struct Archive {
    tablespace: Option<u32>,
    /// The number of bytes so far, those of an incomplete block not included.
    offset: u64,
    state: State,
    /// The beginning of a block that one piece did not contain wholly.
    partial: Vec<u8>,
}

/// The expected content of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A header, or the first of two blocks of zeros.
    Header,
    /// Data and padding of a member.
    Data { missing_bytes: u64 },
    /// The second of two blocks of zeros.
    SecondZeros,
    /// Nothing but zeros.
    Ended,
}

impl State {
    /// Returns the state before the data of a member.
    fn data(missing_bytes: u64) -> Self {
        if missing_bytes == 0 { Self::Header } else { Self::Data { missing_bytes } }
    }
}

/// The form of a block in the tar.
enum Change {
    /// The block as it is.
    None,
    /// No block.
    Dropped,
    /// Another block.
    Replaced(Bytes),
}

/// The pieces of the tar that one piece of an archive yields.
struct Output<'a> {
    piece: &'a Bytes,
    /// The bytes of the piece that follow the pieces so far.
    unwritten: Range<usize>,
    pieces: Vec<Bytes>,
}

impl Output<'_> {
    /// Adds a part of the piece.
    fn pass(&mut self, part: Range<usize>) {
        if self.unwritten.end == part.start {
            self.unwritten.end = part.end;
        } else {
            self.flush();
            self.unwritten = part;
        }
    }

    /// Adds bytes that are not in the piece.
    fn insert(&mut self, bytes: Bytes) {
        self.flush();
        self.pieces.push(bytes);
    }

    fn flush(&mut self) {
        if !self.unwritten.is_empty() {
            self.pieces.push(self.piece.slice(self.unwritten.clone()));
        }
        self.unwritten = self.unwritten.end..self.unwritten.end;
    }
}

impl Archive {
    pub(super) fn new(tablespace: Option<u32>) -> Self {
        Self { tablespace, offset: 0, state: State::Header, partial: Vec::with_capacity(BLOCK_BYTES) }
    }

    pub(super) fn is_data_directory(&self) -> bool {
        self.tablespace.is_none()
    }

    /// Takes bytes of the archive, and returns the next pieces of the tar.
    pub(super) fn push(&mut self, piece: &Bytes, headers: &mut Headers) -> Result<Vec<Bytes>> {
        let mut output = Output { piece, unwritten: 0..0, pieces: Vec::new() };
        let mut at = 0;
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            let (used, done) = match self.state {
                State::Data { missing_bytes } => {
                    let count = rest.len().min(usize::try_from(missing_bytes).unwrap_or(usize::MAX));
                    output.pass(at..at + count);
                    self.state = State::data(missing_bytes - count as u64);
                    (count, count)
                }
                State::Ended => match rest.iter().position(|byte| *byte != 0) {
                    None => (rest.len(), rest.len()),
                    Some(zeros) => {
                        self.offset = self.offset.saturating_add(zeros as u64);
                        return Err(self.damaged("data after the end of the archive"));
                    }
                },
                State::Header | State::SecondZeros => match rest.first_chunk::<BLOCK_BYTES>() {
                    Some(block) if self.partial.is_empty() => {
                        match self.take_block(block, headers, &mut output)? {
                            Change::None => output.pass(at..at + BLOCK_BYTES),
                            Change::Dropped => {}
                            Change::Replaced(block) => output.insert(block),
                        }
                        (BLOCK_BYTES, BLOCK_BYTES)
                    }
                    _ => self.take_part(rest, headers, &mut output)?,
                },
            };
            at += used;
            self.offset = self.offset.saturating_add(done as u64);
        }
        output.flush();
        Ok(output.pieces)
    }

    /// Takes a part of a block. Returns the number of its bytes, and of those of the block if the
    /// block is complete.
    fn take_part(&mut self, rest: &[u8], headers: &mut Headers, output: &mut Output<'_>) -> Result<(usize, usize)> {
        let count = rest.len().min(BLOCK_BYTES - self.partial.len());
        self.partial.extend(rest.iter().take(count));
        let Some(block) = self.partial.first_chunk::<BLOCK_BYTES>().copied() else { return Ok((count, 0)) };
        match self.take_block(&block, headers, output)? {
            Change::None => output.insert(Bytes::copy_from_slice(&block)),
            Change::Dropped => {}
            Change::Replaced(block) => output.insert(block),
        }
        self.partial.clear();
        Ok((count, BLOCK_BYTES))
    }

    /// Takes a block between members.
    fn take_block(&mut self, block: &Block, headers: &mut Headers, output: &mut Output<'_>) -> Result<Change> {
        if *block == [0; BLOCK_BYTES] {
            self.state = if self.state == State::SecondZeros { State::Ended } else { State::SecondZeros };
            return Ok(Change::Dropped);
        }
        if self.state == State::SecondZeros {
            return Err(self.damaged("one block of zeros between members, two at the end expected"));
        }
        let member = Member::parse(block).map_err(|fault| match fault {
            Fault::Damaged(message) => self.damaged(message),
            Fault::Unsupported(message) => Error::unsupported(self.name(), self.offset, message),
        })?;
        let named = |fault: &str| format!("member `{}`: {fault}", String::from_utf8_lossy(&member.path));
        let padded_bytes = member.padded_bytes().ok_or_else(|| self.damaged(named("larger than 2^64 bytes")))?;
        let change = match self.tablespace {
            None if headers.contains(&member.path) => {
                return Err(self.damaged(named("a second one, beside that of the tablespace's archive")));
            }
            None if member.path == MANIFEST.as_bytes() => {
                return Err(self.damaged(named("a second one, beside the manifest of this backup")));
            }
            None => Change::None,
            Some(oid) => Change::Replaced(
                header::moved(block, oid)
                    .ok_or_else(|| Error::unsupported(self.name(), self.offset, named("too long below pg_tblspc")))?,
            ),
        };
        headers.take(block).into_iter().for_each(|header| output.insert(header));
        self.state = State::data(padded_bytes);
        Ok(change)
    }

    /// Fails if the archive is truncated.
    pub(super) fn check_end(&self) -> Result<()> {
        match self.state {
            State::Ended => Ok(()),
            State::Data { missing_bytes } => {
                Err(self.damaged(format!("the archive ends within a member, {missing_bytes} bytes are missing")))
            }
            State::Header | State::SecondZeros => {
                Err(self.damaged("the archive ends here, without its two blocks of zeros"))
            }
        }
    }

    /// Returns an error of damage at the current place.
    pub(super) fn damaged(&self, message: impl Into<String>) -> Error {
        Error::damaged(self.name(), self.offset, message)
    }

    /// Returns the name that the server gives to the archive.
    fn name(&self) -> String {
        self.tablespace.map_or_else(|| "base.tar".to_owned(), |oid| format!("{oid}.tar"))
    }
}
