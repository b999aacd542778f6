//! The checksums of pages while a server may be writing them.

use std::io;
use std::thread;
use std::time::Duration;

use longshore_pg_base::page::{PAGE_BYTES, PageChecksum, PageState};
use longshore_pg_base::relation_file::RelationFile;
use longshore_pg_wal::Lsn;

/// The reads of a page whose checksum is wrong, and the time before the first of them, which is
/// doubled each time. A server needs microseconds to write a page.
const READS: u32 = 6;
const PAUSE: Duration = Duration::from_micros(500);

/// Checks the pages of a block at `offset` of a file. Reads a page whose checksum is wrong again,
/// since the server may have been writing it, and replaces it if another read is right. Returns the
/// numbers of pages that are damaged: their checksums stay wrong, and they are older than the start
/// of the backup, so that replay does not restore them.
pub(crate) fn check(
    block: &mut [u8],
    file: RelationFile,
    offset: u64,
    start: Lsn,
    mut reread: impl FnMut(&mut [u8], usize) -> io::Result<()>,
) -> io::Result<Vec<u32>> {
    let mut damaged = Vec::new();
    let (pages, _) = block.as_chunks_mut::<PAGE_BYTES>();
    for (index, page) in pages.iter_mut().enumerate() {
        let at = index * PAGE_BYTES;
        let place = u32::try_from((offset + at as u64) / PAGE_BYTES as u64).unwrap_or(u32::MAX);
        // A page beyond the largest relation's end has no number, and no server wrote it.
        let number = file.block(place).unwrap_or(u32::MAX);
        let mut checksum = PageChecksum::of(page, number);
        for attempt in 0..READS {
            if !matches!(checksum, PageChecksum::Different { .. }) {
                break;
            }
            thread::sleep(PAUSE * 2_u32.pow(attempt));
            reread(page, at)?;
            checksum = PageChecksum::of(page, number);
        }
        if checksum.state(start) == PageState::Damaged {
            damaged.push(number);
        }
    }
    Ok(damaged)
}

#[cfg(test)]
mod tests {
    use longshore_pg_base::page::checksum;

    use super::*;

    const START: Lsn = Lsn(1000);

    fn file() -> RelationFile {
        RelationFile::parse(b"base/5/16384.1").unwrap()
    }

    fn page(number: u32, lsn: u32) -> [u8; PAGE_BYTES] {
        let mut page = [7; PAGE_BYTES];
        page[..4].fill(0);
        page[4..8].copy_from_slice(&lsn.to_le_bytes());
        let sum = checksum(&page, number);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page
    }

    /// Checks two pages, of which the second is read again as `later`.
    fn damaged(second: [u8; PAGE_BYTES], later: [u8; PAGE_BYTES]) -> (Vec<u32>, Vec<u8>, u32) {
        let mut block = [page(131_074, 5), second].concat();
        let mut reads = 0;
        let damaged = check(&mut block, file(), 2 * PAGE_BYTES as u64, START, |page, at| {
            assert_eq!(at, PAGE_BYTES);
            reads += 1;
            page.copy_from_slice(&later);
            Ok(())
        });
        (damaged.unwrap(), block, reads)
    }

    #[test]
    fn torn_page_is_read_again() {
        let good = page(131_075, 5);
        let mut torn = good;
        torn[6000] ^= 1;
        let (damaged_pages, block, reads) = damaged(torn, good);
        assert_eq!((damaged_pages, reads), (Vec::new(), 1));
        assert_eq!(block[PAGE_BYTES..], good);
        assert_eq!(damaged(good, good).2, 0);
    }

    #[test]
    fn only_pages_older_than_the_start_are_damaged() {
        for (lsn, expected) in [(999, vec![131_075]), (1000, Vec::new())] {
            let mut broken = page(131_075, lsn);
            broken[6000] ^= 1;
            let (damaged_pages, _, reads) = damaged(broken, broken);
            assert_eq!((damaged_pages, reads), (expected, READS), "{lsn}");
        }
    }
}
