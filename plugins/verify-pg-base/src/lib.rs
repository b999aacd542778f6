//! Verifies base backups while they are streamed, as `type = "pg_base"`: every file against the
//! server's manifest, every page checksum, the headers of WAL, `pg_control` and `backup_label`. No
//! child process, nothing on disk.
//!
//! Totals and positions are recorded in the manifest of the backup. Names and paths are stored in
//! the encrypted details under `base`. Damaged pages are recorded, and fail no verification: they
//! are damage of the cluster.
//!
//! | file | contents |
//! | --- | --- |
//! | `report.rs` | the facts as totals, as facts of the manifest, and as details |
//! | `comparison.rs` | the comparison of found with recorded facts |

mod comparison;
mod report;

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::comparison::Comparison;
use longshore_core::error::printable;
use longshore_core::event::{Event, Observer, Part};
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{JobContext, Plugin};
use longshore_core::stage::{Verified, Verify};
use longshore_core::stream::{ByteStream, OnEnd, StreamReader, failed, tee};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::verify::{Options, Progress};
use longshore_pg_base::{ErrorKind, Facts, verify};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The key of the facts in the details.
pub const DETAILS: &str = "base";

/// The hint for a backup that the verifier does not support.
const UNSUPPORTED_HINT: &str =
    "upgrade Longshore, or set verify = [] for this job, and run pg_verifybackup on a restored copy";

/// The hint for a stream that is no base backup.
const OTHER_FORMAT_HINT: &str = "set verify = [{ type = \"pg_archive\" }] for dumps";

/// `{ type = "pg_base" }`: verifies base backups with Longshore's own reader.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PgBase {}

impl Plugin<dyn Verify> for PgBase {
    const TYPE: &'static str = "pg_base";

    fn build(self, _: &JobContext) -> Result<Box<dyn Verify>> {
        Ok(Box::new(Reader))
    }
}

/// A stage that reads the passing stream.
struct Reader;

impl Verify for Reader {
    fn verifies(&self, format: &Format) -> bool {
        *format == Format::Base
    }

    fn verify(
        &self,
        subject: &Subject,
        format: Format,
        plaintext: ByteStream,
        observer: &Arc<dyn Observer>,
    ) -> Verified {
        let label = subject.to_string();
        if !self.verifies(&format) {
            let message = format!("format \"{format}\" is not supported here, only base backups");
            let error = Error::new(Stage::Verify, Kind::Usage, label, message).hint(OTHER_FORMAT_HINT);
            return Verified { stream: failed(error), report: OnEnd::new() };
        }
        let observer = Arc::clone(observer);
        let (stream, report) = tee(plaintext, label.clone(), move |reader| {
            let facts = read(reader, &label, &*observer)?;
            report::of(&facts, &label)
        });
        Verified { stream, report }
    }

    fn differences(
        &self,
        manifest: &Manifest,
        recorded: &Map<String, Value>,
        found: &Map<String, Value>,
    ) -> Option<Vec<Comparison>> {
        comparison::differences(manifest, recorded.get(DETAILS)?, found.get(DETAILS)?)
    }
}

/// Reads a whole backup. Each folder of the data directory is a part of the progress.
fn read(reader: &mut StreamReader, subject: &str, observer: &dyn Observer) -> Result<Facts> {
    let (mut last, mut done) = (None, 0);
    let mut on_progress = |progress: &Progress| {
        let name = folder(&progress.path);
        if last.as_deref() != Some(name) {
            observer.event(&Event::PartReached(Part { name, done, of: None }));
            last = Some(name.to_owned());
            done += 1;
        }
    };
    verify::read(reader, &Options::default(), &mut on_progress).map_err(|error| convert_error(error, subject))
}

/// The number of components of a path that name a part: `base/5` is a database, and
/// `pg_tblspc/16384` a tablespace.
const PART_DEPTH: usize = 2;

/// Returns the folder that contains a member, as the name of a part.
fn folder(path: &str) -> &str {
    let slashes = path.match_indices('/').map(|(at, _)| at);
    let end = slashes.take(PART_DEPTH).last().unwrap_or(path.len());
    path.get(..end).unwrap_or(path)
}

/// Converts an error of the reader. An error from the stream is returned as is.
fn convert_error(error: longshore_pg_base::Error, subject: &str) -> Error {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if let Some(carried) = io.and_then(Error::carried_by) {
        return carried.clone();
    }
    // The message contains names of files, which may contain any characters.
    let failed = |kind| Error::new(Stage::Verify, kind, subject, printable(&error.to_string()));
    match error.kind {
        ErrorKind::Damaged => failed(Kind::Corrupt),
        ErrorKind::Unsupported => failed(Kind::Usage).hint(UNSUPPORTED_HINT),
        ErrorKind::Io => failed(Kind::Failed),
    }
}

#[async_trait]
impl Check for Reader {
    async fn check(&self) -> Vec<Finding> {
        vec![Finding::good("pg_base", "reads base backups of PostgreSQL 15 to 18 itself")]
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use longshore_core::event::ignore;
    use longshore_core::stream::{collect, from_bytes};

    use super::*;

    #[tokio::test]
    async fn other_formats_fail_before_their_first_byte() {
        assert!(Reader.verifies(&Format::Base));
        for format in [Format::Custom, Format::Plain, Format::Tar, Format::Directory] {
            assert!(!Reader.verifies(&format), "{format}");
            let mut verified = Reader.verify(&Subject::Base, format, from_bytes("x"), &ignore());
            let error = verified.stream.next().await.unwrap().unwrap_err();
            assert_eq!((error.stage(), error.kind()), (Stage::Verify, Kind::Usage), "no damage");
            assert!(error.remedy().is_some() && verified.stream.next().await.is_none());
        }
    }

    #[tokio::test]
    async fn stream_without_a_backup_is_corrupt() {
        for bytes in [Vec::new(), vec![0; 1024], vec![7; 4096]] {
            let verified = Reader.verify(&Subject::Base, Format::Base, from_bytes(bytes), &ignore());
            let error = collect(verified.stream, 1 << 20, Stage::Verify, "").await.unwrap_err();
            assert_eq!((error.stage(), error.kind(), error.subject()), (Stage::Verify, Kind::Corrupt, "base"));
            assert!(verified.report.get().is_none());
        }
    }

    #[tokio::test]
    async fn dump_error_passes_unchanged() {
        let lost = Error::new(Stage::Dump, Kind::Unavailable, "base", "connection lost");
        let verified = Reader.verify(&Subject::Base, Format::Base, failed(lost), &ignore());
        let error = collect(verified.stream, 1 << 20, Stage::Verify, "").await.unwrap_err();
        assert_eq!((error.stage(), error.kind()), (Stage::Dump, Kind::Unavailable));
    }

    #[test]
    fn parts_are_databases_tablespaces_and_folders() {
        for (path, part) in [
            ("base/5/16384", "base/5"),
            ("base/5", "base"),
            ("pg_tblspc/16384/PG_17_202406281/5/1", "pg_tblspc/16384"),
            ("global/pg_control", "global"),
            ("pg_wal/archive_status/x", "pg_wal/archive_status"),
            ("backup_label", "backup_label"),
        ] {
            assert_eq!(folder(path), part);
        }
    }
}
