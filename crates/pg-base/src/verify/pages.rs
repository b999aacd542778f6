//! The checksums of data pages, computed while files pass and evaluated once the start of the
//! backup is known: `backup_label` comes after the tablespaces.

use crate::error::{Error, Result};
use crate::facts::{DamagedPage, DamagedPages, PageChecksums};
use crate::incremental;
use crate::page::{PAGE_BYTES, PageChecksum};
use crate::relation_file::{Blocks, RelationFile};
use crate::tar_header::Member;
use longshore_pg_wal::Lsn;

/// The most damaged pages that are named.
const MOST_NAMED: usize = 1000;

/// The most pages with wrong checksums, beyond the named ones, whose positions are kept until the
/// start of the backup is known. Further ones count as damaged.
const MOST_UNDECIDED: usize = 128 << 10;

/// The pages of an archive.
#[derive(Default)]
pub(super) struct Pages {
    count: u64,
    start: Option<Lsn>,
    damaged: DamagedPages,
    younger_pages: u64,
    undecided: Vec<(DamagedPage, Lsn)>,
    more_undecided: Vec<Lsn>,
}

impl Pages {
    /// Checks a page of the file at `path`.
    pub(super) fn check(&mut self, path: &[u8], page: &[u8; PAGE_BYTES], block: u32) {
        self.count += 1;
        let PageChecksum::Different { lsn, .. } = PageChecksum::of(page, block) else { return };
        let damaged = || DamagedPage { path: String::from_utf8_lossy(path).into_owned(), block };
        match self.start {
            Some(start) if lsn >= start => self.younger_pages += 1,
            Some(_) => self.damaged.push(damaged),
            None if self.undecided.len() < MOST_NAMED => self.undecided.push((damaged(), lsn)),
            None if self.more_undecided.len() < MOST_UNDECIDED => self.more_undecided.push(lsn),
            None => self.damaged.count += 1,
        }
    }

    /// Evaluates all pages by the start of the backup.
    pub(super) fn set_start(&mut self, start: Lsn) {
        self.start = Some(start);
        for (page, lsn) in std::mem::take(&mut self.undecided) {
            match lsn >= start {
                true => self.younger_pages += 1,
                false => self.damaged.push(|| page),
            }
        }
        for lsn in std::mem::take(&mut self.more_undecided) {
            match lsn >= start {
                true => self.younger_pages += 1,
                false => self.damaged.count += 1,
            }
        }
    }

    /// Returns the result for a cluster that has checksums of pages.
    pub(super) fn finish(self) -> PageChecksums {
        PageChecksums::On { pages: self.count, damaged: self.damaged, younger_pages: self.younger_pages }
    }
}

impl DamagedPages {
    fn push(&mut self, page: impl FnOnce() -> DamagedPage) {
        self.count += 1;
        if self.first.len() < MOST_NAMED {
            self.first.push(page());
        }
    }
}

/// The pages of one file.
pub(super) struct PageTap {
    file: RelationFile,
    numbers: Numbers,
    /// The bytes of a header or page that has not passed wholly.
    partial: Vec<u8>,
}

/// The places of a file's pages in the segment.
enum Numbers {
    /// The file is whole, and its next page has this place.
    Next(u32),
    /// The file is an incremental one whose header has not passed wholly.
    InHeader,
    /// The file is an incremental one whose next pages have these places.
    Listed(std::vec::IntoIter<u32>),
}

impl PageTap {
    /// Returns a check for the file at `path`, if it is one of a relation. As in `sendFile` of
    /// `src/backend/backup/basebackup.c`, files that end within a page are not checked.
    pub(super) fn for_file(path: &[u8], size_bytes: u64) -> Option<Self> {
        let file = RelationFile::parse(path)?;
        let numbers = match file.blocks {
            Blocks::Changed => Numbers::InHeader,
            Blocks::All if size_bytes.is_multiple_of(PAGE_BYTES as u64) => Numbers::Next(0),
            Blocks::All => return None,
        };
        Some(Self { file, numbers, partial: Vec::new() })
    }

    /// Adds bytes of the file.
    pub(super) fn push(&mut self, member: &Member, bytes: &[u8], pages: &mut Pages) -> Result<()> {
        if !matches!(self.numbers, Numbers::InHeader) {
            self.push_pages(&member.path, bytes, pages);
            return Ok(());
        }
        self.partial.extend_from_slice(bytes);
        let parsed = incremental::Header::parse(&self.partial).map_err(|error| error.within(member.name(), 0))?;
        let Some(header) = parsed else { return Ok(()) };
        if header.file_bytes() != member.size_bytes {
            let message = format!("{} bytes, but {} by its header", member.size_bytes, header.file_bytes());
            return Err(Error::damaged(member.name(), 0, message));
        }
        self.numbers = Numbers::Listed(header.blocks.into_iter());
        let start = std::mem::take(&mut self.partial);
        self.push_pages(&member.path, start.get(header.bytes..).unwrap_or_default(), pages);
        Ok(())
    }

    /// Ends the file. Returns its path if it is an incremental one.
    pub(super) fn finish(self, member: &Member) -> Result<Option<String>> {
        match self.numbers {
            Numbers::Next(_) => Ok(None),
            Numbers::Listed(_) => Ok(Some(member.name())),
            Numbers::InHeader => Err(Error::damaged(member.name(), member.size_bytes, "the file ends in its header")),
        }
    }

    fn push_pages(&mut self, path: &[u8], mut bytes: &[u8], pages: &mut Pages) {
        if !self.partial.is_empty() {
            let (missing, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - self.partial.len()));
            self.partial.extend_from_slice(missing);
            bytes = rest;
            let partial = std::mem::take(&mut self.partial);
            let Some(page) = partial.first_chunk() else {
                self.partial = partial;
                return;
            };
            self.check(path, page, pages);
        }
        let (whole, rest) = bytes.as_chunks();
        for page in whole {
            self.check(path, page, pages);
        }
        self.partial.extend_from_slice(rest);
    }

    fn check(&mut self, path: &[u8], page: &[u8; PAGE_BYTES], pages: &mut Pages) {
        let place = match &mut self.numbers {
            Numbers::Next(place) => Some(std::mem::replace(place, place.saturating_add(1))),
            Numbers::Listed(places) => places.next(),
            Numbers::InHeader => None,
        };
        // A page beyond the largest relation's end has no number, and no server wrote it.
        let block = place.and_then(|place| self.file.block(place));
        pages.check(path, page, block.unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::checksum;
    use crate::tar_header::Kind;

    fn page(block: u32, lsn: u32) -> Vec<u8> {
        let mut page = [7; PAGE_BYTES];
        page[..4].fill(0);
        page[4..8].copy_from_slice(&lsn.to_le_bytes());
        let sum = checksum(&page, block);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page.to_vec()
    }

    fn member(path: &str, size: usize) -> Member {
        Member { path: path.into(), kind: Kind::File, size_bytes: size as u64 }
    }

    /// Reads a file in pieces of any size and returns the damaged blocks.
    fn damaged_blocks(path: &str, bytes: &[u8], piece_bytes: usize) -> Vec<u32> {
        let mut pages = Pages::default();
        pages.set_start(Lsn(1000));
        let member = member(path, bytes.len());
        let mut tap = PageTap::for_file(&member.path, member.size_bytes).unwrap();
        for piece in bytes.chunks(piece_bytes) {
            tap.push(&member, piece, &mut pages).unwrap();
        }
        tap.finish(&member).unwrap();
        assert_eq!(pages.count, (bytes.len() / PAGE_BYTES - usize::from(path.contains("INCR"))) as u64);
        pages.damaged.first.iter().map(|page| page.block).collect()
    }

    #[test]
    fn pages_are_numbered_across_segments() {
        let bytes = [page(2 * 131_072, 5), page(2 * 131_072, 5), vec![0; PAGE_BYTES]].concat();
        for piece_bytes in [1, 512, 8191, 8192, 8193, 100_000] {
            assert_eq!(damaged_blocks("base/5/16384.2", &bytes, piece_bytes), [2 * 131_072 + 1]);
        }
    }

    #[test]
    fn incremental_pages_have_their_own_numbers() {
        let mut header: Vec<u8> =
            [incremental::MAGIC, 2, 99, 70, 7].iter().flat_map(|word| word.to_le_bytes()).collect();
        header.resize(PAGE_BYTES, 0);
        let bytes = [header, page(131_072 + 70, 5), page(131_072 + 8, 5)].concat();
        for piece_bytes in [1, 512, 8191, 8192, 8193, 100_000] {
            assert_eq!(damaged_blocks("base/5/INCREMENTAL.16384.1", &bytes, piece_bytes), [131_072 + 7]);
        }
        let short = member("base/5/INCREMENTAL.16384", bytes.len() - PAGE_BYTES);
        let mut tap = PageTap::for_file(&short.path, short.size_bytes).unwrap();
        let error = tap.push(&short, &bytes, &mut Pages::default()).unwrap_err();
        assert_eq!((error.place.as_str(), error.message.contains("by its header")), ("base/5/INCREMENTAL.16384", true));
        let tap = PageTap::for_file(&short.path, short.size_bytes).unwrap();
        assert!(tap.finish(&short).unwrap_err().message.contains("ends in its header"));
    }

    #[test]
    fn page_younger_than_the_start_is_only_counted() {
        let mut torn = page(0, 1000);
        torn[6000] ^= 1;
        let mut rotten = page(0, 999);
        rotten[6000] ^= 1;
        for start_comes in ["before", "after"] {
            let mut pages = Pages::default();
            if start_comes == "before" {
                pages.set_start(Lsn(1000));
            }
            for page in [&torn, &rotten] {
                pages.check(b"base/1/2", page.first_chunk().unwrap(), 0);
            }
            pages.set_start(Lsn(1000));
            let damaged = DamagedPages { count: 1, first: vec![DamagedPage { path: "base/1/2".to_owned(), block: 0 }] };
            assert_eq!(pages.finish(), PageChecksums::On { pages: 2, damaged, younger_pages: 1 });
        }
    }

    #[test]
    fn damaged_pages_are_counted_in_bounded_memory() {
        let mut rotten = page(0, 5);
        rotten[6000] ^= 1;
        let mut pages = Pages::default();
        let count = MOST_NAMED + MOST_UNDECIDED + 10;
        for _ in 0..count {
            pages.check(b"base/1/2", rotten.first_chunk().unwrap(), 0);
        }
        assert_eq!((pages.undecided.len(), pages.more_undecided.len()), (MOST_NAMED, MOST_UNDECIDED));
        pages.set_start(Lsn(1000));
        assert_eq!((pages.damaged.count, pages.damaged.first.len()), (count as u64, MOST_NAMED));
    }

    #[test]
    fn file_with_a_part_of_a_page_is_not_checked() {
        assert!(PageTap::for_file(b"base/1/2", 8193).is_none());
        assert!(PageTap::for_file(b"base/1/pg_filenode.map", 8192).is_none());
        assert!(PageTap::for_file(b"base/1/2", 8192).is_some());
    }
}
