//! Segments that recovery will ask for next, fetched before it does: from a distant destination,
//! several at once take hardly longer than one.
//!
//! ```text
//! state_dir/wal/main/7512345678901234567/ahead/0000000100000016000000B3-<digest>.zst.age
//! ```
//! The files are those of the destination, still encrypted. Only what exists is kept: each request
//! for a file asks the destinations again, so that a file which was missing is found later.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use longshore_config::Config;
use longshore_core::key::encode_name;
use longshore_core::stream::collect;
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Error, Stage, regular_file};
use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::segment::SegmentSize;
use tempfile::NamedTempFile;
use tokio::time::timeout;

use crate::dirs;
use crate::wal::archive::ArchiveAt;

/// The maximum number of segments fetched at once.
const MAX_FILES: usize = 8;
/// The maximum size of these segments in bytes.
const MAX_BYTES: u64 = 128 << 20;

/// The time in which the segments must arrive. Recovery waits meanwhile.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The segments of one archive that were fetched in advance.
pub(super) struct Ahead {
    folder: PathBuf,
}

impl Ahead {
    /// Returns the segments, if this host keeps state.
    pub(super) fn open(config: &Config, archive: &WalFolder) -> Option<Self> {
        let state = dirs::state_dir(config)?;
        let identifier = archive.system_identifier.to_string();
        Some(Self { folder: state.join("wal").join(encode_name(&archive.cluster)).join(identifier).join("ahead") })
    }

    /// Returns and forgets a file, as the destination has it.
    pub(super) fn take(&self, file: &WalKey) -> Option<Bytes> {
        let path = self.folder.join(file.key.file_name());
        let content = regular_file::read(&path).ok()?;
        remove(&path);
        Some(content.into())
    }

    /// Fetches the segments after this one. A failure is none of the recovery: each of them is
    /// fetched again when it is asked for.
    pub(super) async fn fill(&self, archive: &ArchiveAt, name: ArchiveName, size: SegmentSize) {
        let filled = async {
            let most = MAX_FILES.min((MAX_BYTES / u64::from(size.bytes())) as usize);
            let files = archive.list_after(name, most).await?;
            self.prepare().map_err(|error| self.failure(error))?;
            let fetches = files.iter().map(async |file| {
                let sealed = archive.store.fetch(&file.key, None).await?;
                // Neither compression nor encryption doubles a segment.
                let content = collect(sealed, 2 * size.bytes() as usize, Stage::Ship, file.key.as_str()).await?;
                self.keep(file, &content).map_err(|error| self.failure(error))
            });
            let mut fetched = stream::iter(fetches).buffer_unordered(MAX_FILES);
            while let Some(result) = fetched.next().await {
                result?;
            }
            Ok::<_, Error>(())
        };
        match timeout(TIMEOUT, filled).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(target: "longshore::wal", "{}", error.chain()),
            Err(_) => tracing::debug!(target: "longshore::wal", "no segment was fetched in advance in time"),
        }
    }

    /// Creates the folder, and removes what an earlier recovery left.
    fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        for entry in fs::read_dir(&self.folder)? {
            remove(&entry?.path());
        }
        Ok(())
    }

    fn keep(&self, file: &WalKey, content: &[u8]) -> io::Result<()> {
        let mut written = NamedTempFile::new_in(&self.folder)?;
        written.write_all(content)?;
        written.persist(self.folder.join(file.key.file_name()))?;
        Ok(())
    }

    fn failure(&self, error: io::Error) -> Error {
        Error::io(Stage::Restore, self.folder.display().to_string(), "cannot keep a segment", error)
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(target: "longshore::wal", "cannot remove {}: {error}", path.display());
    }
}
