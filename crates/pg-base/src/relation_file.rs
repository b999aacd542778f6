//! The files of relations, which consist of pages.
//!
//! The names are those of `parse_filename_for_nontemp_relation`
//! (`src/backend/storage/file/reinit.c`) in the directories of `sendDir`
//! (`src/backend/backup/basebackup.c`). Files of temporary relations have other names, and a backup
//! lacks them.

use crate::page::PAGES_PER_SEGMENT;

/// The prefix of the name of a file that contains changed blocks only.
pub const INCREMENTAL: &str = "INCREMENTAL.";

/// The OIDs of the tablespaces `pg_default` and `pg_global`
/// (`src/include/catalog/pg_tablespace.dat`).
const DEFAULT_TABLESPACE: u32 = 1663;
const GLOBAL_TABLESPACE: u32 = 1664;

/// A file of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationFile {
    /// The relation.
    pub relation: Relation,
    /// The number of the file among those of its fork.
    pub segment: u32,
    /// The fork of the relation.
    pub fork: Fork,
    /// The blocks in the file.
    pub blocks: Blocks,
}

/// The physical identity of a relation: `RelFileLocator` of `src/include/storage/relfilelocator.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Relation {
    /// The OID of the tablespace.
    pub tablespace: u32,
    /// The OID of the database; 0 for relations that all databases share.
    pub database: u32,
    /// The number of the relation's files.
    pub number: u32,
}

/// A fork of a relation (`src/include/common/relpath.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fork {
    /// The data.
    Main,
    /// The free space map, `_fsm`.
    FreeSpaceMap,
    /// The visibility map, `_vm`.
    VisibilityMap,
    /// The initial state of an unlogged relation, `_init`.
    Init,
}

/// The blocks in a file of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// All blocks of the segment, in order.
    All,
    /// The blocks that changed since an earlier backup, after a header with their numbers: see
    /// [`crate::incremental`].
    Changed,
}

impl RelationFile {
    /// Parses a path below the data directory, such as `base/5/16384_fsm.1` or
    /// `pg_tblspc/16398/PG_18_202506291/5/INCREMENTAL.16399`. Returns `None` for files that are not
    /// of a relation, such as `global/pg_filenode.map`, `PG_VERSION` and temporary files.
    pub fn parse(path: &[u8]) -> Option<Self> {
        let mut parts = path.split(|byte| *byte == b'/');
        let next = (parts.next()?, parts.next()?, parts.next(), parts.next(), parts.next(), parts.next());
        let (tablespace, database, name) = match next {
            (b"global", name, None, ..) => (GLOBAL_TABLESPACE, 0, name),
            (b"base", database, Some(name), None, ..) => (DEFAULT_TABLESPACE, number(database)?, name),
            (b"pg_tblspc", tablespace, Some(version), Some(database), Some(name), None) if is_version(version) => {
                (number(tablespace)?, number(database)?, name)
            }
            _ => return None,
        };
        let (name, blocks) = match name.strip_prefix(INCREMENTAL.as_bytes()) {
            Some(name) => (name, Blocks::Changed),
            None => (name, Blocks::All),
        };
        let mut halves = name.splitn(2, |byte| *byte == b'.');
        let (relation, segment) = (halves.next()?, halves.next());
        let segment = segment.map_or(Some(0), number)?;
        let mut halves = relation.splitn(2, |byte| *byte == b'_');
        let relation = Relation { tablespace, database, number: number(halves.next()?)? };
        let fork = match halves.next() {
            None => Fork::Main,
            Some(b"fsm") => Fork::FreeSpaceMap,
            Some(b"vm") => Fork::VisibilityMap,
            Some(b"init") => Fork::Init,
            Some(_) => return None,
        };
        Some(Self { relation, segment, fork, blocks })
    }

    /// Returns the number of a page in its fork, counted across segment files. `place` is the
    /// number of pages in the segment before the page. Returns `None` beyond the largest fork's
    /// end.
    pub fn block(self, place: u32) -> Option<u32> {
        if place >= PAGES_PER_SEGMENT {
            return None;
        }
        self.segment.checked_mul(PAGES_PER_SEGMENT)?.checked_add(place).filter(|block| *block != u32::MAX)
    }
}

/// Parses a number of at least 1, without leading zeros.
fn number(digits: &[u8]) -> Option<u32> {
    match digits {
        [b'1'..=b'9', ..] if digits.iter().all(u8::is_ascii_digit) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

/// Decides if a directory is one of a tablespace's, `PG_<major>_<catalog version>`.
fn is_version(name: &[u8]) -> bool {
    let numbers = name.strip_prefix(b"PG_").map(|rest| rest.split(|byte| *byte == b'_').map(number));
    numbers.is_some_and(|numbers| numbers.clone().count() == 2 && numbers.into_iter().all(|number| number.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_accepts_files_of_relations() {
        let file = |(tablespace, database, number), segment, fork| {
            let relation = Relation { tablespace, database, number };
            Some(RelationFile { relation, segment, fork, blocks: Blocks::All })
        };
        for (path, expected) in [
            ("base/1/1259", file((1663, 1, 1259), 0, Fork::Main)),
            ("base/5/16384.1", file((1663, 5, 16384), 1, Fork::Main)),
            ("base/5/16384_fsm", file((1663, 5, 16384), 0, Fork::FreeSpaceMap)),
            ("base/5/16384_vm.32767", file((1663, 5, 16384), 32767, Fork::VisibilityMap)),
            ("base/5/16384_init", file((1663, 5, 16384), 0, Fork::Init)),
            ("global/1262", file((1664, 0, 1262), 0, Fork::Main)),
            ("global/1262_vm", file((1664, 0, 1262), 0, Fork::VisibilityMap)),
            ("pg_tblspc/16398/PG_15_202209061/5/4294967295.2", file((16398, 5, u32::MAX), 2, Fork::Main)),
        ] {
            assert_eq!(RelationFile::parse(path.as_bytes()), expected, "{path}");
        }
        let changed = RelationFile::parse(b"base/5/INCREMENTAL.16384_vm.1").unwrap();
        let whole = file((1663, 5, 16384), 1, Fork::VisibilityMap).unwrap();
        assert_eq!(changed, RelationFile { blocks: Blocks::Changed, ..whole });
    }

    #[test]
    fn parse_refuses_other_files() {
        for path in [
            "",
            "PG_VERSION",
            "base/1/PG_VERSION",
            "base/1/pg_filenode.map",
            "base/1/pg_internal.init",
            "base/1/t3_16384",
            "base/1/16384_tmp",
            "base/1/16384_fsm_",
            "base/1/16384.",
            "base/1/16384.0",
            "base/1/16384.01",
            "base/1/0",
            "base/1/016384",
            "base/1/4294967296",
            "base/1/16384/1",
            "base/16384",
            "base/pgsql_tmp/16384",
            "global/pg_control",
            "global/1/2",
            "other/1/2",
            "pg_tblspc/16398/PG_15/5/1",
            "pg_tblspc/16398/PG_15_1_2/5/1",
            "pg_tblspc/16398/5/1",
            "pg_tblspc/x/PG_15_202209061/5/1",
            "pg_tblspc/16398/PG_15_202209061/5/1/2",
            "pg_wal/000000010000000000000001",
            "base/1/+16384",
        ] {
            assert_eq!(RelationFile::parse(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn block_counts_across_segments() {
        let relation = Relation { tablespace: 1663, database: 5, number: 16384 };
        let file = |segment| RelationFile { relation, segment, fork: Fork::Main, blocks: Blocks::All };
        assert_eq!(file(0).block(7), Some(7));
        assert_eq!(file(3).block(7), Some(3 * 131_072 + 7));
        assert_eq!(file(0).block(131_072), None);
        assert_eq!(file(32_767).block(131_070), Some(u32::MAX - 1));
        assert_eq!(file(32_767).block(131_071), None, "InvalidBlockNumber");
        assert_eq!(file(32_768).block(0), None);
    }
}
