//! The blocks of an incremental file, written into the file of an earlier backup.
//!
//! The result is that of `pg_combinebackup` for these two backups: the file has the blocks of the
//! incremental file and, up to the length that the incremental file gives, those of the earlier
//! one. (Given a longer chain, `pg_combinebackup` ignores truncations between two links, and may
//! return deleted rows.)

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::incremental::Header;
use longshore_pg_base::page::PAGE_BYTES;
use longshore_pg_base::relation_file::{Blocks, INCREMENTAL, RelationFile};

use crate::archive::Content;
use crate::member::Member;
use crate::root::failure;

/// Returns true if a member contains only changed blocks of a file.
pub(crate) fn is_incremental(member: &Member) -> bool {
    let file = RelationFile::parse(member.path.as_os_str().as_encoded_bytes());
    file.is_some_and(|file| file.blocks == Blocks::Changed)
}

/// Returns the path of the restored file, given that of a member in the data directory or in the
/// folder of its tablespace.
pub(crate) fn whole_path<'a>(path: &'a Path, member: &Member) -> Cow<'a, Path> {
    let name = path.file_name().filter(|_| is_incremental(member)).and_then(OsStr::to_str);
    match name.and_then(|name| name.strip_prefix(INCREMENTAL)) {
        Some(name) => path.with_file_name(name).into(),
        None => path.into(),
    }
}

/// Writes the blocks of an incremental file into `file`, whose path is for errors.
pub(crate) fn apply(file: &File, path: &Path, member: &Member, content: Content<'_>) -> Result<()> {
    let write_failure = |error| failure(path, "cannot be written", error);
    let mut start = Vec::new();
    let mut pages: Option<Pages> = None;
    content.copy(|piece| match &mut pages {
        Some(pages) => pages.write(file, piece).map_err(write_failure),
        None => {
            start.extend_from_slice(piece);
            let Some(header) = parse(&start, member)? else { return Ok(()) };
            let rest = start.split_off(header.bytes);
            pages.insert(Pages { header, offset: 0 }).write(file, &rest).map_err(write_failure)
        }
    })?;
    let Some(Pages { header, .. }) = pages else { return Err(damaged(member, "the file ends in its header")) };
    file.set_len(u64::from(header.result_blocks()) * PAGE_BYTES as u64).map_err(write_failure)
}

fn parse(start: &[u8], member: &Member) -> Result<Option<Header>> {
    let header = Header::parse(start).map_err(|error| damaged(member, "not an incremental file").because(error))?;
    match header {
        Some(header) if header.file_bytes() != member.bytes => {
            let message = format!("{} bytes, but {} by its header", member.bytes, header.file_bytes());
            Err(damaged(member, &message))
        }
        header => Ok(header),
    }
}

/// Returns the error of an incremental file without a file to change.
pub(crate) fn without_file(member: &Member) -> Error {
    damaged(member, "the earlier backups have no such file")
}

fn damaged(member: &Member, message: &str) -> Error {
    Error::new(Stage::Restore, Kind::Corrupt, member.path.display().to_string(), message)
}

/// The pages of an incremental file.
struct Pages {
    header: Header,
    /// The number of bytes written.
    offset: usize,
}

impl Pages {
    /// Writes the next bytes, which may begin and end within a page.
    fn write(&mut self, file: &File, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let (index, within) = (self.offset / PAGE_BYTES, self.offset % PAGE_BYTES);
            // The content has as many pages as the header lists, by its size.
            let Some((block, later)) = self.header.blocks.get(index..).and_then(<[u32]>::split_first) else {
                return Ok(());
            };
            let most = bytes.len() / PAGE_BYTES;
            let adjacent = (*block + 1..).zip(later).take(most).take_while(|(next, listed)| next == *listed).count();
            let run_bytes = (1 + adjacent) * PAGE_BYTES - within;
            let (run, rest) = bytes.split_at(bytes.len().min(run_bytes));
            file.write_all_at(run, u64::from(*block) * PAGE_BYTES as u64 + within as u64)?;
            self.offset += run.len();
            bytes = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use longshore_pg_base::incremental::MAGIC;

    use super::*;
    use crate::archive;
    use crate::tests::{Tar, changed_blocks};

    const PATH: &str = "base/5/INCREMENTAL.16384";

    /// Applies an incremental file to a file of `pages` pages of `a`, and returns one letter a
    /// page.
    fn applied(pages: usize, content: &[u8]) -> Result<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![b'a'; pages * PAGE_BYTES], 0).unwrap();
        let tar = Tar::new().file(PATH, content).finish();
        archive::read(&mut &tar[..], |member, content| apply(&file, Path::new("x"), member, content))?;
        let mut result = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut result).unwrap();
        let letter = |page: &[u8]| {
            assert!(page.iter().all(|byte| *byte == page[0]));
            char::from(if page[0] == 0 { b'0' } else { page[0] })
        };
        Ok(result.chunks(PAGE_BYTES).map(letter).collect())
    }

    #[test]
    fn blocks_replace_those_of_the_earlier_file() {
        for (pages, length, blocks, expected) in [
            (4, 4, &[(1, b'x')][..], "axaa"),
            (4, 4, &[(3, b'x'), (2, b'y'), (0, b'z')], "zayx"),
            (4, 2, &[], "aa"),
            (4, 2, &[(1, b'x')], "ax"),
            (4, 2, &[(4, b'x')], "aaaax"),
            (2, 5, &[(3, b'x'), (4, b'y')], "aa0xy"),
            (0, 0, &[], ""),
        ] {
            assert_eq!(applied(pages, &changed_blocks(length, blocks)).unwrap(), expected, "{blocks:?}");
        }
    }

    #[test]
    fn runs_of_blocks_are_written_in_pieces_of_any_size() {
        let blocks: Vec<_> = (0..70).map(|block| (block, b'b' + (block % 20) as u8)).collect();
        let expected: String = blocks.iter().map(|(_, letter)| char::from(*letter)).collect();
        assert_eq!(applied(70, &changed_blocks(70, &blocks)).unwrap(), expected);
    }

    #[test]
    fn damaged_files_are_corrupt() {
        let good = changed_blocks(4, &[(1, b'x'), (2, b'y')]);
        for content in [&good[..100], &good[..good.len() - 1], &[good.as_slice(), b"x"].concat(), b"x", b""] {
            assert_eq!(applied(4, content).unwrap_err().kind(), Kind::Corrupt, "{}", content.len());
        }
        let mut other = good;
        other[..4].copy_from_slice(&(MAGIC + 1).to_le_bytes());
        assert_eq!(applied(4, &other).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn only_files_of_relations_are_incremental() {
        let member = |path: &str| Member { path: path.into(), kind: crate::member::MemberKind::File, bytes: 0 };
        assert!(is_incremental(&member(PATH)) && !is_incremental(&member("INCREMENTAL.config")));
        for (path, expected) in [(PATH, "base/5/16384"), ("base/5/16384", "base/5/16384")] {
            assert_eq!(whole_path(Path::new(path), &member(path)), Path::new(expected));
        }
        let below = Path::new("PG_17_202406281/5/INCREMENTAL.7");
        let member = member("pg_tblspc/16398/PG_17_202406281/5/INCREMENTAL.7");
        assert_eq!(whole_path(below, &member), Path::new("PG_17_202406281/5/7"));
    }
}
