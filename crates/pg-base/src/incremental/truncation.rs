//! Blocks of truncated relations that an incremental backup lacks.
//!
//! An incremental file contains the number of blocks of the whole file, and those that the WAL
//! changed. The others come from the earlier backup. That is wrong for a relation that was
//! truncated and has grown again: bulk inserts add empty pages without WAL, so the combined file
//! would get the earlier content of these pages, and deleted rows would return. The last page of a
//! visibility map that was truncated is also written without WAL, if the cluster has neither page
//! checksums nor `wal_log_hints`. PostgreSQL 17.12 and 18.6 have the first defect, 18.6 has both.
//!
//! The server's WAL summaries record each truncation, so such files can be recognized.

use std::collections::{HashMap, HashSet};

use super::Header;
use crate::error::{Error, Result};
use crate::page::PAGES_PER_SEGMENT;
use crate::relation_file::{Blocks, Fork, Relation, RelationFile};
use crate::tar_header::{BLOCK_BYTES, Fault, Kind, Member};

/// The place of errors of the archive itself.
const PLACE: &str = "incremental backup";

/// The truncations between two backups: the lowest number of blocks that each fork was truncated
/// to. Forks that were created, or truncated to nothing, do not matter, since their files are
/// whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truncations(HashMap<(Relation, Fork), u32>);

impl Truncations {
    /// Adds a truncation to this number of blocks.
    pub fn add(&mut self, relation: Relation, fork: Fork, blocks: u32) {
        let lowest = self.0.entry((relation, fork)).or_insert(blocks);
        *lowest = blocks.min(*lowest);
    }

    /// Returns the number of the first block, in its fork, that the file lacks although the block
    /// of the earlier backup does not belong to the relation any more.
    pub fn stale_block(&self, file: RelationFile, header: &Header) -> Option<u32> {
        let limit = *self.0.get(&(file.relation, file.fork))?;
        let first = file.segment.checked_mul(PAGES_PER_SEGMENT)?;
        // The server sends later segments whole, and earlier ones were not truncated.
        let limit_place = limit.checked_sub(first).filter(|place| *place <= PAGES_PER_SEGMENT)?;
        let listed: HashSet<u32> = header.blocks.iter().copied().collect();
        let shortened = (file.fork == Fork::VisibilityMap).then_some(limit_place.checked_sub(1)).flatten();
        let mut places = shortened.into_iter().chain(limit_place..header.truncation_blocks);
        places.find(|place| !listed.contains(place)).and_then(|place| file.block(place))
    }
}

/// A block that a combined cluster would have with content from before a truncation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleBlock {
    /// The path of the incremental file, with replacement characters if it is not UTF-8.
    pub path: String,
    /// The number of the block in its fork.
    pub block: u32,
}

/// Searches an archive for stale blocks while it passes.
#[derive(Debug)]
pub struct Search {
    truncations: Truncations,
    state: State,
    /// A header of a member, or of an incremental file, that has not passed wholly.
    partial: Vec<u8>,
}

/// The expected bytes.
#[derive(Debug)]
enum State {
    /// The header of a member.
    MemberHeader,
    /// The header of an incremental file; so many bytes of the member follow those so far.
    FileHeader { member: Member, file: RelationFile, missing_bytes: u64 },
    /// Content that does not matter.
    Skip { missing_bytes: u64 },
}

impl Search {
    /// Returns a search for blocks that became stale by these truncations.
    pub fn new(truncations: Truncations) -> Self {
        Self { truncations, state: State::MemberHeader, partial: Vec::new() }
    }

    /// Takes the next bytes of the archive. Returns the first stale block, if one is found.
    ///
    /// # Errors
    /// Fails if the archive or the header of an incremental file is damaged.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Option<StaleBlock>> {
        if self.truncations.0.is_empty() {
            return Ok(None);
        }
        while !bytes.is_empty() {
            match &mut self.state {
                State::Skip { missing_bytes } => {
                    let skipped = usize::try_from(*missing_bytes).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(skipped..).unwrap_or_default();
                    *missing_bytes -= skipped as u64;
                    if *missing_bytes == 0 {
                        self.state = State::MemberHeader;
                    }
                }
                State::MemberHeader => {
                    let (part, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.partial.len()));
                    self.partial.extend_from_slice(part);
                    bytes = rest;
                    if let Some(block) = self.partial.first_chunk::<BLOCK_BYTES>() {
                        self.state = state_after(block)?;
                        self.partial.clear();
                    }
                }
                State::FileHeader { member, file, missing_bytes } => {
                    let part = usize::try_from(*missing_bytes).unwrap_or(usize::MAX).min(bytes.len());
                    let (part, rest) = bytes.split_at(part);
                    self.partial.extend_from_slice(part);
                    bytes = rest;
                    *missing_bytes -= part.len() as u64;
                    let header = Header::parse(&self.partial).map_err(|error| error.within(member.name(), 0))?;
                    match header {
                        Some(header) => {
                            if let Some(block) = self.truncations.stale_block(*file, &header) {
                                return Ok(Some(StaleBlock { path: member.name(), block }));
                            }
                        }
                        None if *missing_bytes > 0 => continue,
                        None => return Err(Error::damaged(member.name(), 0, "the file ends in its header")),
                    }
                    let missing_bytes = *missing_bytes;
                    self.partial.clear();
                    self.state = if missing_bytes == 0 { State::MemberHeader } else { State::Skip { missing_bytes } };
                }
            }
        }
        Ok(None)
    }
}

/// Returns the state after the header of a member.
fn state_after(block: &[u8; BLOCK_BYTES]) -> Result<State> {
    if *block == [0; BLOCK_BYTES] {
        return Ok(State::MemberHeader);
    }
    let member = Member::parse(block).map_err(|fault| match fault {
        Fault::Damaged(message) | Fault::Unsupported(message) => Error::damaged(PLACE, 0, message),
    })?;
    let padded = member.padded_bytes().ok_or_else(|| Error::damaged(PLACE, 0, "member larger than 2^64 bytes"))?;
    let file = RelationFile::parse(&member.path).filter(|file| file.blocks == Blocks::Changed);
    Ok(match (padded, file) {
        (0, _) => State::MemberHeader,
        (missing_bytes, Some(file)) if member.kind == Kind::File => State::FileHeader { member, file, missing_bytes },
        (missing_bytes, _) => State::Skip { missing_bytes },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incremental::MAGIC;
    use crate::page::PAGE_BYTES;

    const RELATION: Relation = Relation { tablespace: 1663, database: 5, number: 16384 };

    fn file(fork: Fork, segment: u32) -> RelationFile {
        RelationFile { relation: RELATION, segment, fork, blocks: Blocks::Changed }
    }

    fn header(truncation_blocks: u32, blocks: &[u32]) -> Header {
        Header { bytes: PAGE_BYTES, truncation_blocks, blocks: blocks.to_vec() }
    }

    fn truncated(fork: Fork, blocks: u32) -> Truncations {
        let mut truncations = Truncations::default();
        truncations.add(RELATION, fork, blocks.saturating_add(9));
        truncations.add(RELATION, fork, blocks);
        truncations
    }

    #[test]
    fn unlisted_block_after_a_truncation_is_stale() {
        let truncations = truncated(Fork::Main, 50);
        let stale = |segment, header: &Header| truncations.stale_block(file(Fork::Main, segment), header);
        assert_eq!(stale(0, &header(53, &[51, 50, 52])), None, "all blocks are listed");
        assert_eq!(stale(0, &header(54, &[51, 50, 52])), Some(53));
        assert_eq!(stale(0, &header(50, &[])), None, "the relation did not grow");
        assert_eq!(stale(0, &header(40, &[])), None);
        assert_eq!(stale(1, &header(99, &[])), None, "the server sends this segment whole");
        assert_eq!(truncations.stale_block(file(Fork::FreeSpaceMap, 0), &header(99, &[])), None);
    }

    #[test]
    fn truncation_in_a_later_segment_is_found() {
        let truncations = truncated(Fork::Main, PAGES_PER_SEGMENT + 7);
        let full = header(PAGES_PER_SEGMENT, &[]);
        assert_eq!(truncations.stale_block(file(Fork::Main, 0), &full), None);
        let stale = truncations.stale_block(file(Fork::Main, 1), &header(9, &[8]));
        assert_eq!(stale, Some(PAGES_PER_SEGMENT + 7));
        // The first segment was full after the truncation, and its blocks were not removed.
        let boundary = truncated(Fork::Main, PAGES_PER_SEGMENT);
        assert_eq!(boundary.stale_block(file(Fork::Main, 0), &full), None);
    }

    #[test]
    fn last_page_of_a_truncated_visibility_map_must_be_listed() {
        let truncations = truncated(Fork::VisibilityMap, 1);
        let stale = |blocks: &[u32]| truncations.stale_block(file(Fork::VisibilityMap, 0), &header(1, blocks));
        assert_eq!((stale(&[0]), stale(&[])), (None, Some(0)));
    }

    fn archive(stale: bool) -> Vec<u8> {
        let mut blocks: Vec<u32> = vec![MAGIC, 2, 53, 50, 51];
        if !stale {
            (blocks[1], blocks[2]) = (3, 53);
            blocks.push(52);
        }
        let count = blocks[1] as usize;
        let mut content: Vec<u8> = blocks.iter().flat_map(|word| word.to_le_bytes()).collect();
        content.resize(PAGE_BYTES * (1 + count), 0);
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in [("PG_VERSION", &b"17\n"[..]), ("base/5/INCREMENTAL.16384", &content), ("x", b"")] {
            let mut header = tar::Header::new_ustar();
            header.set_path(path).unwrap();
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.append(&header, content).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn search_reads_archives_in_pieces_of_any_size() {
        for size in [1, 7, 511, 512, 513, 10_000, 1 << 20] {
            for stale in [true, false] {
                let mut search = Search::new(truncated(Fork::Main, 50));
                let archive = archive(stale);
                let found = archive.chunks(size).find_map(|piece| search.push(piece).unwrap());
                let expected = StaleBlock { path: "base/5/INCREMENTAL.16384".to_owned(), block: 52 };
                assert_eq!(found, stale.then_some(expected), "{size}");
            }
        }
    }

    #[test]
    fn search_without_truncations_reads_nothing() {
        let mut search = Search::new(Truncations::default());
        assert_eq!(search.push(b"not a tar").unwrap(), None);
        let mut search = Search::new(truncated(Fork::Main, 50));
        assert!(search.push(&[b'x'; 512]).is_err());
    }
}
