//! The lines of COPY's text and their columns, found in one pass over many bytes at once.

use wide::u8x32;

/// The number of bytes that a bit mask covers.
const BLOCK_BYTES: usize = 64;

/// An iterator over the lines of a piece: the end of each, and its number of tabs.
pub(crate) struct Lines<'a> {
    /// The bytes that are not scanned yet.
    rest: &'a [u8],
    /// The offset in the piece of the block that the masks describe.
    block: usize,
    /// The offset in the piece of the next block.
    next: usize,
    line_feeds: u64,
    tabs: u64,
    /// The number of tabs that the line has in earlier blocks.
    earlier_tabs: u64,
}

/// The end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// The offset of the line feed in the piece.
    pub(crate) end: usize,
    /// The number of tabs in the line.
    pub(crate) tabs: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(piece: &'a [u8]) -> Self {
        Self { rest: piece, block: 0, next: 0, line_feeds: 0, tabs: 0, earlier_tabs: 0 }
    }

    /// Returns the number of tabs after the last line. Valid after the last line was returned.
    pub(crate) fn trailing_tabs(&self) -> u64 {
        self.earlier_tabs
    }

    /// Scans the next block. Returns false at the end.
    #[inline]
    fn next_block(&mut self) -> bool {
        self.earlier_tabs += u64::from(self.tabs.count_ones());
        self.tabs = 0;
        if self.rest.is_empty() {
            return false;
        }
        let mut last = [0; BLOCK_BYTES];
        let block = match self.rest.split_first_chunk() {
            Some((block, rest)) => {
                self.rest = rest;
                block
            }
            None => {
                last[..self.rest.len()].copy_from_slice(self.rest);
                self.rest = &[];
                &last
            }
        };
        self.line_feeds = mask(block, b'\n');
        self.tabs = mask(block, b'\t');
        self.block = self.next;
        self.next += BLOCK_BYTES;
        true
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    #[inline]
    fn next(&mut self) -> Option<Line> {
        while self.line_feeds == 0 {
            if !self.next_block() {
                return None;
            }
        }
        let bit = self.line_feeds.trailing_zeros();
        self.line_feeds &= self.line_feeds - 1;
        let behind = u64::MAX << bit;
        let tabs = self.earlier_tabs + u64::from((self.tabs & !behind).count_ones());
        self.tabs &= behind;
        self.earlier_tabs = 0;
        Some(Line { end: self.block + bit as usize, tabs })
    }
}

/// Returns a mask with a bit for each byte that equals `byte`, the first byte in the least
/// significant bit.
#[inline]
fn mask(block: &[u8; BLOCK_BYTES], byte: u8) -> u64 {
    let (halves, _) = block.as_chunks::<{ BLOCK_BYTES / 2 }>();
    let half = |index: usize| u64::from(u8x32::from(halves[index]).simd_eq(u8x32::splat(byte)).to_bitmask());
    half(0) | half(1) << 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_equal_bytewise_search(piece in proptest::collection::vec(prop_oneof![
            Just(b'\n'), Just(b'\t'), Just(b'x'), Just(b'x'), Just(b'x'), Just(0), Just(b'\x8a')
        ], 0..400)) {
            let mut lines = Lines::new(&piece);
            let mut begin = 0;
            for line in &mut lines {
                prop_assert_eq!(piece[line.end], b'\n');
                let inside = &piece[begin..line.end];
                prop_assert!(!inside.contains(&b'\n'));
                prop_assert_eq!(line.tabs, memchr::memchr_iter(b'\t', inside).count() as u64);
                begin = line.end + 1;
            }
            prop_assert!(!piece[begin..].contains(&b'\n'));
            prop_assert_eq!(lines.trailing_tabs(), memchr::memchr_iter(b'\t', &piece[begin..]).count() as u64);
        }
    }
}
