//! Storing a file that PostgreSQL offers: success means that the file is durable at every required
//! destination.
//!
//! A key contains the digest of its file, so a file that is offered again meets its own key, even
//! if this host may not read the destination. Files that PostgreSQL will offer next are stored in
//! the same call.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use longshore_config::{Config, WalArchive};
use longshore_core::wal_key::WalFolder;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::control::Control;
use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::segment::{Segment, SegmentSize};

use crate::wal::archiver::{Archiver, FURTHER_TIMEOUT, Stored};
use crate::wal::blocking;
use crate::wal::control::control_of;
use crate::wal::file::WalFile;
use crate::wal::push_state::PushState;

/// The maximum number of files stored in one call.
const MAX_FILES: usize = 8;
/// The maximum size of the files stored in one call, in bytes.
const MAX_BYTES: usize = 128 << 20;

/// The result of archiving a file.
pub struct Pushed {
    /// The name of the file.
    pub name: ArchiveName,
    /// The damage of the file itself, if any: recovery would end there.
    pub damage: Option<String>,
    /// The destinations that did not receive the file.
    pub failed: Vec<(String, Error)>,
    /// True if PostgreSQL may recycle the file.
    pub is_archived: bool,
    /// True if the file was abandoned with [`abandon`], and is not archived.
    pub is_abandoned: bool,
}

/// Archives the file at `path`, and those that PostgreSQL will offer next.
///
/// # Errors
///
/// Fails if the file cannot be read, or does not belong to the cluster and to its name.
pub async fn push(config: &Config, settings: &WalArchive, path: &Path) -> Result<Pushed> {
    let name = file_name(path)?;
    let (control, folder) = archive_of(settings, path).await?;
    let state = PushState::open(config, &folder);
    let done = |damage, is_abandoned| Pushed { name, damage, failed: Vec::new(), is_archived: true, is_abandoned };
    if state.is_abandoned(name) {
        return Ok(done(None, true));
    }
    let file = {
        let (path, control) = (path.to_owned(), control.clone());
        blocking(move || WalFile::read(&path, name, &control)).await?
    };
    let stored = state.take(name, file.digest);
    if settings.required.is_met(&settings.ship, &stored.iter().map(String::as_str).collect()) {
        return Ok(done(file.damage, false));
    }

    let push = Push { archive: Archiver::open(config, settings, folder, state)? };
    let result = |stored: Stored, damage| Pushed {
        failed: stored.failed,
        is_archived: stored.is_archived,
        ..done(damage, false)
    };
    if let Some(history) = push.store_history(path, name, &control).await?
        && !history.is_archived
    {
        return Ok(result(history, None));
    }
    let pushed = push.archive.store(&file, FURTHER_TIMEOUT).await;
    push.archive.note(&pushed);
    // If this file is refused, those after it may belong to the same other history.
    if pushed.is_archived {
        push.archive.state.end_abandonment(name);
        push.store_ahead(path, name, control).await;
    }
    Ok(result(pushed, file.damage))
}

/// Abandons the segments up to the one at `path`: [`push`] succeeds for them, and stores nothing.
/// Returns the name of that segment.
///
/// # Errors
///
/// Fails with [`Kind::Usage`] if the path is not that of a segment that waits to be archived, and
/// if this host keeps no state.
pub async fn abandon(config: &Config, settings: &WalArchive, path: &Path) -> Result<ArchiveName> {
    let name = file_name(path)?;
    let ArchiveName::Segment(_) = name else {
        let message = "only segments can be abandoned";
        return Err(Error::new(Stage::Config, Kind::Usage, name.to_string(), message)
            .hint("name the last segment to abandon: pg_wal/000000010000000000000001"));
    };
    let (_, folder) = archive_of(settings, path).await?;
    if !is_ready(path, name) {
        let message = "the server does not wait for this segment to be archived";
        return Err(Error::new(Stage::Config, Kind::Usage, name.to_string(), message)
            .hint("name one of the segments that pg_wal/archive_status lists with the suffix .ready"));
    }
    PushState::open(config, &folder).abandon(name)?;
    Ok(name)
}

/// Returns the control file of the cluster that a file of WAL belongs to, and its archive.
async fn archive_of(settings: &WalArchive, path: &Path) -> Result<(Control, WalFolder)> {
    let path = path.to_owned();
    let control = blocking(move || control_of(&path)).await?;
    let folder = WalFolder { cluster: settings.cluster.clone(), system_identifier: control.system_identifier };
    Ok((control, folder))
}

/// Returns the name of a file for the archive.
fn file_name(path: &Path) -> Result<ArchiveName> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.parse().map_err(|error| {
        Error::new(Stage::Config, Kind::Usage, path.display().to_string(), "not a file of WAL")
            .because(error)
            .hint("set archive_command = 'longshore wal push \"%p\"'")
    })
}

/// Returns true if PostgreSQL waits for a segment in its `pg_wal` to be archived.
fn is_ready(path: &Path, name: ArchiveName) -> bool {
    let folder = path.parent().unwrap_or(Path::new(""));
    folder.join("archive_status").join(format!("{name}.ready")).exists()
}

/// Returns the segments after this one that PostgreSQL will offer next, up to the first one that
/// does not follow.
fn ready_after(path: &Path, name: ArchiveName, size: SegmentSize) -> Vec<(PathBuf, ArchiveName)> {
    let ArchiveName::Segment(segment) = name else { return Vec::new() };
    let Ok(first) = segment.segment(size) else { return Vec::new() };
    let folder = path.parent().unwrap_or(Path::new(""));
    let most = MAX_FILES.min(MAX_BYTES / size.bytes() as usize);
    let names = (1..most as u64).map_while(|after| {
        let number = first.number.checked_add(after)?;
        let name = Segment { timeline: first.timeline, number }.name(size);
        let (path, parsed) = (folder.join(&name), name.parse().ok()?);
        is_ready(&path, parsed).then_some((path, parsed))
    });
    names.collect()
}

/// The files of one call.
struct Push<'a> {
    archive: Archiver<'a>,
}

impl Push<'_> {
    /// Stores the history of a segment's timeline, unless this host knows that it is archived.
    /// PostgreSQL does not offer the history if archiving was off at the beginning of the timeline,
    /// and without it, recovery cannot reach the segment.
    async fn store_history(&self, path: &Path, name: ArchiveName, control: &Control) -> Result<Option<Stored>> {
        let ArchiveName::Segment(segment) = name else { return Ok(None) };
        let name = ArchiveName::History { timeline: segment.timeline() };
        let path = path.with_file_name(name.to_string());
        // The first timeline has no history.
        if segment.timeline() == 1 || !path.exists() {
            return Ok(None);
        }
        let control = control.clone();
        let file = blocking(move || WalFile::read(&path, name, &control)).await?;
        if self.archive.is_met(&self.archive.state.find(name, file.digest)) {
            return Ok(None);
        }
        let stored = self.archive.store(&file, FURTHER_TIMEOUT).await;
        if stored.is_archived {
            self.archive.state.note(name, file.digest, stored.stored.clone());
        }
        Ok(Some(stored))
    }

    /// Stores the files that PostgreSQL will offer next, and notes those that are archived.
    async fn store_ahead(&self, path: &Path, name: ArchiveName, control: Control) {
        let ahead = match self.archive.state.is_kept() {
            true => ready_after(path, name, control.wal_segment_size),
            false => Vec::new(),
        };
        let control = Arc::new(control);
        let ahead = ahead.into_iter().map(async |(path, name)| {
            let control = Arc::clone(&control);
            let file = blocking(move || WalFile::read(&path, name, &control)).await.ok()?;
            Some((name, file.digest, self.archive.store(&file, FURTHER_TIMEOUT).await))
        });
        let stored = stream::iter(ahead).buffered(MAX_FILES).collect::<Vec<_>>().await;
        // A file after one that is missing is stored again when PostgreSQL offers it.
        for (name, digest, stored) in stored.into_iter().map_while(|stored| stored.filter(|(.., it)| it.is_archived)) {
            self.archive.state.note(name, digest, stored.stored);
        }
    }
}
