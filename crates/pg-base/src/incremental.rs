//! Headers of `INCREMENTAL.*` files, which contain the blocks that changed since an earlier backup,
//! and the blocks that such a file lacks by a defect of PostgreSQL: [`truncation`].
//!
//! The format is that of `sendFile` and `GetIncrementalHeaderSize`
//! (`src/backend/backup/basebackup.c`, `basebackup_incremental.c`), the limits those of
//! `make_incremental_rfile` (`src/bin/pg_combinebackup/reconstruct.c`): four bytes each for a magic
//! number, the number of blocks, and the truncation length, then four bytes for each block's
//! number. Zeros follow up to a multiple of the page size, unless there are no blocks.

pub mod truncation;

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::page::{PAGE_BYTES, PAGES_PER_SEGMENT};

/// The number with which each file begins: `INCREMENTAL_MAGIC`.
pub const MAGIC: u32 = 0xD3AE_1F0D;

/// The bytes before the block numbers. All files have them.
pub const FIXED_BYTES: usize = 12;

/// The place of errors: the caller knows the path.
const PLACE: &str = "incremental file";

/// The header of an incremental file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The size of the header with its padding.
    pub bytes: usize,
    /// The fewest blocks of the whole file: blocks before it that are not listed come from the
    /// earlier backup.
    pub truncation_blocks: u32,
    /// The numbers of the blocks in the file, within the segment, in the order of their content.
    pub blocks: Vec<u32>,
}

/// The first three words, as far as they matter for the size.
struct Fixed {
    blocks: usize,
    truncation_blocks: u32,
}

impl Header {
    /// Parses the beginning of a file. Returns `None` if the header ends after `start`, of which at
    /// most 65 pages are needed.
    pub fn parse(start: &[u8]) -> Result<Option<Self>> {
        let Some(fixed) = start.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
        let Fixed { blocks: count, truncation_blocks } = Fixed::parse(fixed)?;
        let listed_bytes = FIXED_BYTES + 4 * count;
        let bytes = if count == 0 { listed_bytes } else { listed_bytes.next_multiple_of(PAGE_BYTES) };
        let Some((numbers, padding)) = start.get(..bytes).and_then(|header| header.split_at_checked(listed_bytes))
        else {
            return Ok(None);
        };
        if let Some(at) = padding.iter().position(|byte| *byte != 0) {
            return Err(Error::damaged(PLACE, (listed_bytes + at) as u64, "padding of the header other than zeros"));
        }
        let numbers = numbers.as_chunks::<4>().0.iter().skip(FIXED_BYTES / 4);
        let blocks: Vec<u32> = numbers.map(|word| u32::from_le_bytes(*word)).collect();
        check_blocks(&blocks)?;
        Ok(Some(Self { bytes, truncation_blocks, blocks }))
    }

    /// Returns the number of blocks of the segment that results from the file and an earlier one.
    pub fn result_blocks(&self) -> u32 {
        let listed = self.blocks.iter().map(|block| block.saturating_add(1)).max();
        listed.unwrap_or_default().max(self.truncation_blocks)
    }

    /// Returns the bytes of the whole file: the header and a page for each block.
    pub fn file_bytes(&self) -> u64 {
        (self.bytes + self.blocks.len() * PAGE_BYTES) as u64
    }
}

impl Fixed {
    fn parse(bytes: &[u8; FIXED_BYTES]) -> Result<Self> {
        let [m0, m1, m2, m3, c0, c1, c2, c3, t0, t1, t2, t3] = *bytes;
        let magic = u32::from_le_bytes([m0, m1, m2, m3]);
        if magic != MAGIC {
            return Err(Error::damaged(PLACE, 0, format!("magic number {magic:#010x} instead of {MAGIC:#010x}")));
        }
        let (count, truncation_blocks) = (u32::from_le_bytes([c0, c1, c2, c3]), u32::from_le_bytes([t0, t1, t2, t3]));
        for (offset, subject, number) in [(4, "block count", count), (8, "truncation length", truncation_blocks)] {
            if number > PAGES_PER_SEGMENT {
                let message = format!("{subject} of {number}, more than the {PAGES_PER_SEGMENT} blocks of a segment");
                return Err(Error::damaged(PLACE, offset, message));
            }
        }
        Ok(Self { blocks: count as usize, truncation_blocks })
    }
}

/// Checks that the numbers are of one segment and different from each other.
fn check_blocks(blocks: &[u32]) -> Result<()> {
    let mut seen = HashSet::with_capacity(blocks.len());
    for (place, block) in blocks.iter().enumerate() {
        let fault = match (*block < PAGES_PER_SEGMENT, seen.insert(*block)) {
            (true, true) => continue,
            (true, false) => "is listed twice".to_owned(),
            (false, _) => format!("is beyond the {PAGES_PER_SEGMENT} blocks of a segment"),
        };
        return Err(Error::damaged(PLACE, (FIXED_BYTES + 4 * place) as u64, format!("block {block} {fault}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(magic: u32, blocks: &[u32], truncation_blocks: u32) -> Vec<u8> {
        let words = [magic, blocks.len() as u32, truncation_blocks];
        let mut bytes: Vec<u8> = words.iter().chain(blocks).flat_map(|word| word.to_le_bytes()).collect();
        if !blocks.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES), 0);
        }
        bytes
    }

    fn message(bytes: &[u8]) -> String {
        Header::parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn header_without_blocks_has_12_bytes() {
        let parsed = Header::parse(&header(MAGIC, &[], 64)).unwrap().unwrap();
        assert_eq!(parsed, Header { bytes: 12, truncation_blocks: 64, blocks: Vec::new() });
        assert_eq!((parsed.file_bytes(), parsed.result_blocks()), (12, 64));
        let longer = Header { blocks: vec![70, 3], ..parsed };
        assert_eq!(longer.result_blocks(), 71);
    }

    #[test]
    fn header_fills_pages() {
        for (count, pages) in [(1, 1), (2045, 1), (2046, 2), (131_072, 65)] {
            let blocks: Vec<u32> = (0..count).rev().collect();
            let mut bytes = header(MAGIC, &blocks, 7);
            assert_eq!(bytes.len(), pages * PAGE_BYTES);
            for end in [0, 11, 12, bytes.len() - 1] {
                assert_eq!(Header::parse(&bytes[..end]).unwrap(), None, "{end}");
            }
            bytes.extend_from_slice(b"the first page");
            let parsed = Header::parse(&bytes).unwrap().unwrap();
            assert_eq!(parsed.file_bytes(), ((pages + count as usize) * PAGE_BYTES) as u64);
            assert_eq!(parsed, Header { bytes: pages * PAGE_BYTES, truncation_blocks: 7, blocks });
        }
    }

    #[test]
    fn parse_refuses_damaged_headers() {
        let good = header(MAGIC, &[3, 9], 64);
        assert!(message(&header(MAGIC ^ 1, &[3, 9], 64)).contains("at byte 0: magic number 0xd3ae1f0c"));
        assert!(message(&header(MAGIC, &[3, 9], 131_073)).contains("at byte 8: truncation length of 131073"));
        assert!(message(&header(MAGIC, &[3, 131_072], 64)).contains("at byte 16: block 131072 is beyond"));
        assert!(message(&header(MAGIC, &[3, 9, 3], 64)).contains("at byte 20: block 3 is listed twice"));
        let mut many = good.clone();
        many[4..8].copy_from_slice(&131_073u32.to_le_bytes());
        assert!(message(&many).contains("at byte 4: block count of 131073"));
        let mut padded = good;
        padded[20] = 1;
        assert!(message(&padded).contains("at byte 20: padding"));
    }
}
