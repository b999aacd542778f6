//! The state that this host keeps between two pushes. It only saves work: a host without it
//! archives as well.
//!
//! ```text
//! state_dir/wal/main/7512345678901234567/00000001000000A300000042.archived
//! state_dir/wal/main/7512345678901234567/offsite.failed
//! state_dir/wal/main/7512345678901234567/abandoned
//! ```
//! An `.archived` file means that a segment was stored before PostgreSQL offered it. It contains
//! the digest of the segment and the destinations that have it, because PostgreSQL uses a name
//! again after a restore. A `.failed` file means that a destination recently failed. The file
//! `abandoned` contains the name of the last segment that a person abandoned.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use longshore_config::Config;
use longshore_core::key::encode_name;
use longshore_core::wal_key::{WalDigest, WalFolder};
use longshore_core::{Error, Kind, Result, Stage, regular_file};
use longshore_pg_wal::ArchiveName;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::dirs;

/// The time after a failure during which a destination is left out, if enough others have the file.
const FAILURE_PAUSE: Duration = Duration::from_secs(60);

const ARCHIVED: &str = "archived";
const FAILED: &str = "failed";
const ABANDONED: &str = "abandoned";

/// The state of one archive.
pub(crate) struct PushState {
    /// `None` if this host keeps no state.
    folder: Option<PathBuf>,
    configured: Option<SystemTime>,
}

/// A segment that was stored before PostgreSQL offered it.
#[derive(Serialize, Deserialize)]
struct Archived {
    digest: String,
    destinations: BTreeSet<String>,
    /// The time of the last change of the configuration, which may name another place since.
    configured: Option<SystemTime>,
}

impl PushState {
    /// Opens the state, and creates its folder.
    pub(crate) fn open(config: &Config, archive: &WalFolder) -> Self {
        let folder = dirs::state_dir(config).map(|state| {
            state.join("wal").join(encode_name(&archive.cluster)).join(archive.system_identifier.to_string())
        });
        let folder = folder.filter(|folder| {
            let created = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            created.inspect_err(|error| log("create", folder, error)).is_ok()
        });
        let configured = config.path.metadata().and_then(|file| file.modified());
        // Without this time, no note is believed after a change to a configuration with it.
        Self { folder, configured: configured.ok() }
    }

    /// Returns true if the host keeps state.
    pub(crate) fn is_kept(&self) -> bool {
        self.folder.is_some()
    }

    /// Removes the note about a file, and returns the destinations that have the file with this
    /// digest.
    pub(crate) fn take(&self, name: ArchiveName, digest: WalDigest) -> BTreeSet<String> {
        let destinations = self.find(name, digest);
        if let Some(path) = self.path(&name, ARCHIVED)
            && let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            log("remove", &path, &error);
        }
        destinations
    }

    /// Returns the destinations that have the file with this digest, according to the note.
    pub(crate) fn find(&self, name: ArchiveName, digest: WalDigest) -> BTreeSet<String> {
        let Some(path) = self.path(&name, ARCHIVED) else { return BTreeSet::new() };
        let Ok(content) = regular_file::read(&path) else { return BTreeSet::new() };
        match serde_json::from_slice::<Archived>(&content) {
            Ok(archived) if archived.digest == digest.to_string() && archived.configured == self.configured => {
                archived.destinations
            }
            _ => BTreeSet::new(),
        }
    }

    /// Notes that destinations have a file.
    pub(crate) fn note(&self, name: ArchiveName, digest: WalDigest, destinations: BTreeSet<String>) {
        let Some(path) = self.path(&name, ARCHIVED) else { return };
        let archived = Archived { digest: digest.to_string(), destinations, configured: self.configured };
        let written = serde_json::to_vec(&archived).map_err(io::Error::from).and_then(|json| fs::write(&path, json));
        if let Err(error) = written {
            log("write", &path, &error);
        }
    }

    /// Returns true if a destination has recently failed.
    pub(crate) fn has_failed(&self, destination: &str) -> bool {
        let modified =
            self.path(&encode_name(destination), FAILED).and_then(|path| path.metadata().ok()?.modified().ok());
        // A time in the future is of another clock.
        modified.is_some_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < FAILURE_PAUSE))
    }

    /// Notes if a destination failed.
    pub(crate) fn note_result(&self, destination: &str, failed: bool) {
        let Some(path) = self.path(&encode_name(destination), FAILED) else { return };
        let done = if failed { fs::write(&path, "") } else { fs::remove_file(&path) };
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => log("write", &path, &error),
            _ => {}
        }
    }

    /// Notes that all segments up to this one are abandoned.
    ///
    /// # Errors
    ///
    /// Fails if the host keeps no state, or if the note cannot be written.
    pub(crate) fn abandon(&self, until: ArchiveName) -> Result<()> {
        let hint = "set state_dir to a folder that the user of the server can write to";
        let folder = self.folder.as_ref().ok_or_else(|| {
            Error::new(Stage::Config, Kind::Usage, "state_dir", "this host keeps no state").hint(hint)
        })?;
        let path = folder.join(ABANDONED);
        let written = NamedTempFile::new_in(folder).and_then(|mut file| {
            file.write_all(until.to_string().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(io::Error::from)
        });
        written.map(drop).map_err(|error| {
            Error::io(Stage::Config, path.display().to_string(), "cannot write the note", error).hint(hint)
        })
    }

    /// Forgets the abandoned segments, once a segment after them is archived: a server that was set
    /// back may use their names again.
    pub(crate) fn end_abandonment(&self, archived: ArchiveName) {
        let (ArchiveName::Segment(_), Some(folder)) = (archived, &self.folder) else { return };
        let path = folder.join(ABANDONED);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            log("remove", &path, &error);
        }
    }

    /// Returns true if a file was abandoned: it belongs to a segment up to the noted one, of the
    /// same timeline.
    pub(crate) fn is_abandoned(&self, name: ArchiveName) -> bool {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(ABANDONED)) else { return false };
        let Ok(until) = regular_file::read(&path) else { return false };
        let until = String::from_utf8_lossy(&until).parse();
        let Ok(ArchiveName::Segment(until)) = until else { return false };
        let (until, name) = (until.to_string(), name.to_string());
        // The names of histories are shorter.
        let segment = name.get(..until.len()).filter(|segment| segment.get(..8) == until.get(..8));
        segment.is_some_and(|segment| *segment <= *until)
    }

    fn path(&self, name: &impl ToString, suffix: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{}.{suffix}", name.to_string())))
    }
}

fn log(verb: &str, path: &std::path::Path, error: &io::Error) {
    tracing::debug!(target: "longshore::wal", "cannot {verb} {}: {error}", path.display());
}
