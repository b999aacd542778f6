//! A file of the archive: its content belongs to its name and to its cluster.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use bytes::Bytes;
use longshore_core::wal_key::WalDigest;
use longshore_core::{Error, Kind, Result, Stage, regular_file};
use longshore_pg_base::control::Control;
use longshore_pg_wal::archive_name::FileSize;
use longshore_pg_wal::facts::{End, Expected};
use longshore_pg_wal::segment::SegmentSize;
use longshore_pg_wal::walk;
use longshore_pg_wal::{ArchiveName, History};

/// A file for the archive, read whole.
pub(crate) struct WalFile {
    pub(crate) name: ArchiveName,
    pub(crate) digest: WalDigest,
    pub(crate) bytes: Bytes,
    /// The damage of a segment: recovery ends there.
    pub(crate) damage: Option<String>,
}

impl WalFile {
    /// Reads a file that the server of `control` offers.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if the content is that of another file.
    pub(crate) fn read(path: &Path, name: ArchiveName, control: &Control) -> Result<Self> {
        let (FileSize::Exactly(limit) | FileSize::AtMost(limit)) = name.file_size(control.wal_segment_size);
        let failed = |error| Error::io(Stage::Ship, path.display().to_string(), "cannot read the file", error);
        let mut bytes = Vec::with_capacity(limit as usize + 1);
        // One byte more shows a file that is too large.
        let file = regular_file::open(path, OpenOptions::new().read(true));
        file.and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
        Self::of(name, bytes.into(), control.system_identifier, control.wal_segment_size)
    }

    /// Returns a file of the archive of a cluster with this content.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if the content is that of another file.
    pub(crate) fn of(name: ArchiveName, bytes: Bytes, system_identifier: u64, size: SegmentSize) -> Result<Self> {
        let (digest, damage) = check_and_digest(name, &bytes, system_identifier, size);
        Ok(Self { name, digest, bytes, damage: damage? })
    }

    /// Returns true if the archive may contain only one content under the name. The unfinished last
    /// segment of a timeline grows, and a crash may leave an empty backup history file.
    pub(crate) fn is_unique(&self) -> bool {
        matches!(self.name, ArchiveName::Segment(_) | ArchiveName::History { .. })
    }
}

/// Returns the digest of the content, and the result of [`check`]. Both take a while, so they run
/// at the same time.
pub(crate) fn check_and_digest(
    name: ArchiveName,
    content: &[u8],
    system_identifier: u64,
    size: SegmentSize,
) -> (WalDigest, Result<Option<String>>) {
    thread::scope(|scope| {
        let checked = scope.spawn(|| check(name, content, system_identifier, size));
        let digest = WalDigest::of(content);
        let checked = checked.join().unwrap_or_else(|panic| resume_unwind(panic));
        (digest, checked)
    })
}

/// Checks that the content belongs to the name and to the cluster. Returns the damage of a segment:
/// recovery ends there.
///
/// # Errors
///
/// Fails with [`Kind::Refused`] if the content is that of another file.
fn check(name: ArchiveName, content: &[u8], system_identifier: u64, size: SegmentSize) -> Result<Option<String>> {
    let refused = |message: String| Error::new(Stage::Verify, Kind::Refused, name.to_string(), message);
    if !name.file_size(size).permits(content.len() as u64) {
        let message = match name.file_size(size) {
            FileSize::Exactly(bytes) => format!("not {bytes} bytes, the size of a segment of this cluster"),
            FileSize::AtMost(bytes) => format!("larger than {bytes} bytes, the maximum for this kind of file"),
        };
        return Err(refused(message));
    }
    let segment = match name {
        ArchiveName::Segment(segment) | ArchiveName::Partial(segment) => segment,
        ArchiveName::History { timeline } => {
            let parsed = History::parse(timeline, content);
            return parsed.map(|_| None).map_err(|error| refused("invalid timeline history".to_owned()).because(error));
        }
        ArchiveName::BackupHistory { .. } => return Ok(None),
    };
    let segment =
        segment.segment(size).map_err(|error| refused("not a segment of this cluster".to_owned()).because(error))?;
    let facts = match walk::read(content) {
        Ok(facts) => facts,
        Err(error) => return Err(refused("not a segment of WAL".to_owned()).because(error)),
    };
    let expected = Expected { segment, segment_size: size, system_identifier };
    facts
        .check(&expected)
        .map_err(|error| refused("another segment than that of its name".to_owned()).because(error))?;
    Ok(match facts.end {
        End::Damaged(defect) => Some(defect.to_string()),
        End::Unfinished(_) if matches!(name, ArchiveName::Segment(_)) => {
            Some(format!("the WAL ends at {}, before the end of the segment", facts.end_of_records))
        }
        End::Full | End::Switched(_) | End::Unfinished(_) => None,
    })
}
