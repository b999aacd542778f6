//! The WAL that makes a backup consistent, from the folder of the server.

use std::fs;
use std::path::{Path, PathBuf};

use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::manifest::WalRange;
use longshore_pg_wal::History;
use longshore_pg_wal::segment::{Segment, SegmentSize};

use crate::location::unreadable;

/// The folder of WAL in the data directory.
const FOLDER: &str = "pg_wal";
/// The folder of the marks of archived files.
pub(crate) const STATUS_FOLDER: &str = "pg_wal/archive_status";

/// Returns the names of the files that a recovery over the range reads: segments, and the histories
/// of timelines.
pub(crate) fn files(data: &Path, range: WalRange, size: SegmentSize) -> Result<Vec<String>> {
    let folder = data.join(FOLDER);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| unreadable(&folder, error))? {
        let entry = entry.map_err(|error| unreadable(&folder, error))?;
        let name = entry.file_name().into_string().unwrap_or_default();
        names.extend(History::timeline_in_name(&name).map(|_| name));
    }
    names.sort_unstable();
    names.extend(Segment::range(range.timeline, range.start, range.end, size).map(|segment| segment.name(size)));
    Ok(names)
}

/// Returns the folder of WAL in a data directory.
pub(crate) fn folder(data: &Path) -> PathBuf {
    data.join(FOLDER)
}

/// Returns the path of a file of WAL below a data directory.
pub(crate) fn path(data: &Path, name: &str) -> PathBuf {
    data.join(FOLDER).join(name)
}

/// Returns the path of a file of WAL in the archive.
pub(crate) fn member(name: &str) -> Box<[u8]> {
    format!("{FOLDER}/{name}").into_bytes().into()
}

/// Returns the error of a segment that the server has removed.
pub(crate) fn missing(path: &[u8]) -> Error {
    let name = String::from_utf8_lossy(path).into_owned();
    Error::new(Stage::Dump, Kind::NotFound, name, "the server has removed this WAL, which the backup needs")
        .hint("raise max_slot_wal_keep_size on the server, or set wal = \"archive\"")
}

#[cfg(test)]
mod tests {
    use longshore_pg_wal::Lsn;

    use super::*;

    #[test]
    fn segments_follow_histories() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join(FOLDER)).unwrap();
        for name in ["00000002.history", "000000020000000000000009", "000000020000000000000003.partial", "x.history"] {
            fs::write(data.path().join(FOLDER).join(name), "").unwrap();
        }
        let range = WalRange { timeline: 2, start: Lsn(0x300_0028), end: Lsn(0x500_0000) };
        let names = files(data.path(), range, SegmentSize::DEFAULT).unwrap();
        assert_eq!(names, ["00000002.history", "000000020000000000000003", "000000020000000000000004"]);
    }
}
