//! A new file, encoded against the signature of an old one.
//!
//! The block that follows the last copy is tried first, which costs one digest a block where
//! nothing changed. Where it differs, the rolling digest finds the next block of a window of the
//! old file. Where even that fails for long (a table was dropped, or many rows deleted), landmarks,
//! blocks at equal distances in the whole old file, find the position again.

use std::cell::LazyCell;

use crate::block::{BlockHasher, Entry, upper};
use crate::command::{Command, MAGIC};
use crate::index::Index;
use crate::signature::{Positioned, Signature};

/// The number of blocks in the window.
const WINDOW_BLOCKS: usize = 8192;

/// The number of blocks by which the window lags before it moves for a search.
const MAX_LAG: u64 = WINDOW_BLOCKS as u64 / 2;

/// The number of skipped blocks from which on a match must continue in the next block: a jump is
/// never undone, and rows repeat.
const NEAR_BLOCKS: u64 = 64;

/// The number of literal bytes after which the position counts as lost.
const LOST_BYTES: u64 = 64 << 10;

/// The number of literal bytes that wait for the end of their run before they are written.
const MAX_LITERAL_BYTES: usize = 64 << 10;

/// The number of bytes that are examined at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Encodes a new file against the signature of an old one.
pub struct Encoder<P> {
    signature: Signature<P>,
    hasher: BlockHasher,
    window: Window,
    /// The bytes that no command contains yet: literal data before `position`, unexamined after it.
    pending: Vec<u8>,
    /// The begin of the literal data in `pending`.
    literal: usize,
    position: usize,
    /// The state of the rolling digest of the block at `position`, if a search is in progress.
    rolling: Option<u64>,
    /// The block that follows the last copy.
    expected: u64,
    /// A copy that the next block may extend: the first block, and the number of blocks.
    copy: (u64, u64),
    /// The number of literal bytes since the last copy.
    literal_run: u64,
    copied_bytes: u64,
    read_bytes: u64,
    written_bytes: u64,
}

impl<P: Positioned> Encoder<P> {
    /// Begins a delta against a file.
    pub fn new(signature: Signature<P>) -> Self {
        Self {
            hasher: signature.hasher().clone(),
            signature,
            window: Window::default(),
            pending: Vec::with_capacity(PIECE_BYTES + 2 * MAX_LITERAL_BYTES),
            literal: 0,
            position: 0,
            rolling: None,
            expected: 0,
            copy: (0, 0),
            literal_run: 0,
            copied_bytes: 0,
            read_bytes: 0,
            written_bytes: 0,
        }
    }

    /// Returns the number of bytes of the new file so far.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Returns the number of bytes that the delta copies from the old file so far.
    pub fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }

    /// Returns the number of bytes of the delta so far, at most.
    pub fn encoded_bytes(&self) -> u64 {
        self.written_bytes + (self.pending.len() - self.literal) as u64
    }

    /// Adds the next bytes of the new file. Appends complete commands to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.read_bytes += piece.len() as u64;
            self.pending.extend_from_slice(piece);
            // The block after a far match confirms it.
            self.examine(2 * self.hasher.block_bytes(), out);
            if self.position - self.literal >= MAX_LITERAL_BYTES {
                self.write_literal(out);
            }
            self.pending.drain(..self.literal);
            self.position -= self.literal;
            self.literal = 0;
        }
    }

    /// Completes the delta.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.examine(self.hasher.block_bytes(), out);
        self.position = self.pending.len();
        self.write_literal(out);
        self.write_copy(out);
        self.write(Command::End, out);
    }

    /// Examines all positions that at least `wanted` bytes follow.
    fn examine(&mut self, wanted: usize, out: &mut Vec<u8>) {
        let size = self.hasher.block_bytes();
        while self.pending.len() - self.position >= wanted {
            let block = &self.pending[self.position..self.position + size];
            let state = match self.rolling.take() {
                Some(state) => state,
                None => {
                    let expected = self.window.entry(&self.signature, self.expected);
                    if expected.is_some_and(|expected| expected.strong == self.hasher.strong(block)) {
                        self.copy_block(self.expected, out);
                        continue;
                    }
                    self.window.prepare_search(&self.signature, self.expected);
                    self.hasher.rolling(block)
                }
            };
            match self.search(state, self.pending.len() - wanted) {
                Ok(number) => self.copy_block(number, out),
                Err(state) => self.rolling = Some(state),
            }
        }
    }

    /// Searches a known block at all positions up to `last`. Returns the block that equals the one
    /// at the new position, or the state of the rolling digest there.
    fn search(&mut self, mut state: u64, last: usize) -> Result<u64, u64> {
        let size = self.hasher.block_bytes();
        loop {
            let rolling = upper(state);
            let is_lost = self.literal_run >= LOST_BYTES;
            let is_known =
                !self.window.index.excludes(rolling) || is_lost && !self.signature.landmarks.excludes(rolling);
            if is_known && let Some(number) = self.find(rolling, is_lost) {
                return Ok(number);
            }
            let left = self.position;
            self.position += 1;
            self.literal_run += 1;
            // At the end of the file, no block follows, and the state is of no use.
            let entering = self.pending.get(left + size).copied().unwrap_or_default();
            state = self.hasher.roll(state, self.pending[left], entering);
            if left >= last {
                return Err(state);
            }
        }
    }

    /// Returns the nearest block of the old file that equals the one at the position.
    fn find(&mut self, rolling: u32, is_lost: bool) -> Option<u64> {
        let (block, rest) = self.pending.get(self.position..)?.split_at_checked(self.hasher.block_bytes())?;
        let following = rest.get(..block.len());
        let (expected, hasher) = (self.expected, &self.hasher);
        // Most slots that are not empty have other digests: strong ones are rarely needed.
        let strong = LazyCell::new(|| hasher.strong(block));
        let strong_of_following = LazyCell::new(|| following.map(|block| hasher.strong(block)));
        let is_confirmed = |number: u64, next: Option<Entry>| {
            let is_near = number - expected < NEAR_BLOCKS;
            is_near || strong_of_following.zip(next).is_none_or(|(strong, next)| strong == next.strong)
        };
        let Window { entries, first, index } = &mut self.window;
        let entry = |number: u64| entries.get(usize::try_from(number.checked_sub(*first)?).ok()?).copied();
        let found = index.find(rolling, expected, |number| {
            entry(number).is_some_and(|entry| entry.strong == *strong) && is_confirmed(number, entry(number + 1))
        });
        if found.is_some() || !is_lost {
            return found;
        }
        let mut landmarks = std::mem::take(&mut self.signature.landmarks);
        let mut pair = Vec::new();
        let found = landmarks.find(rolling, expected, |number| {
            // Data becomes literal if the signature can no longer be read.
            self.signature.read(number, 2, &mut pair).is_ok()
                && pair.first().is_some_and(|entry| entry.strong == *strong)
                && is_confirmed(number, pair.get(1).copied())
        });
        self.signature.landmarks = landmarks;
        found
    }

    /// Copies a block of the old file in place of the one at the position.
    fn copy_block(&mut self, number: u64, out: &mut Vec<u8>) {
        let size = self.hasher.block_bytes();
        self.write_literal(out);
        let (first, blocks) = self.copy;
        if blocks > 0 && first + blocks == number {
            self.copy.1 += 1;
        } else {
            self.write_copy(out);
            self.copy = (number, 1);
        }
        self.position += size;
        self.literal = self.position;
        self.literal_run = 0;
        self.expected = number + 1;
        self.copied_bytes += size as u64;
    }

    /// Writes the literal data before the position.
    fn write_literal(&mut self, out: &mut Vec<u8>) {
        let (begin, end) = (self.literal, self.position);
        if begin == end {
            return;
        }
        self.write_copy(out);
        self.write(Command::Literal { bytes: (end - begin) as u64 }, out);
        out.extend_from_slice(&self.pending[begin..end]);
        self.written_bytes += (end - begin) as u64;
        self.literal = end;
    }

    /// Writes the copy that was begun.
    fn write_copy(&mut self, out: &mut Vec<u8>) {
        let (first, blocks) = std::mem::take(&mut self.copy);
        if blocks > 0 {
            let size = self.hasher.block_bytes() as u64;
            self.write(Command::Copy { offset: first * size, bytes: blocks * size }, out);
        }
    }

    fn write(&mut self, command: Command, out: &mut Vec<u8>) {
        let before = out.len();
        if self.written_bytes == 0 {
            out.extend_from_slice(&MAGIC);
        }
        command.write(out);
        self.written_bytes += (out.len() - before) as u64;
    }
}

/// A part of the signature in memory.
#[derive(Default)]
struct Window {
    entries: Vec<Entry>,
    /// The block of the first entry.
    first: u64,
    /// The blocks of the window; empty until a search needs them.
    index: Index,
}

impl Window {
    /// Returns the entry of a block, or `None` beyond the end of the old file.
    fn entry<P: Positioned>(&mut self, signature: &Signature<P>, number: u64) -> Option<Entry> {
        let cached =
            |window: &Self| window.entries.get(usize::try_from(number.checked_sub(window.first)?).ok()?).copied();
        cached(self).or_else(|| {
            if number < signature.blocks() {
                self.load(signature, number);
            }
            cached(self)
        })
    }

    /// Prepares the search of blocks from `expected` on.
    fn prepare_search<P: Positioned>(&mut self, signature: &Signature<P>, expected: u64) {
        let is_behind = expected.checked_sub(self.first).is_none_or(|lag| lag > MAX_LAG);
        // The last part of the signature need not move.
        let reaches_end = self.first + self.entries.len() as u64 >= signature.blocks();
        if is_behind && !reaches_end {
            self.load(signature, expected);
        }
        if self.index.is_empty() {
            self.index.fill(self.entries.iter().map(|entry| entry.rolling).zip(self.first..));
        }
    }

    fn load<P: Positioned>(&mut self, signature: &Signature<P>, first: u64) {
        self.first = first;
        self.index.fill(std::iter::empty());
        if signature.read(first, WINDOW_BLOCKS, &mut self.entries).is_err() {
            // Data becomes literal if the signature can no longer be read.
            self.entries.clear();
        }
    }
}
