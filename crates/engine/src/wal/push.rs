//! Storing a file that PostgreSQL offers: success means that the file is durable at every required
//! destination.
//!
//! A key contains the digest of its file, so a file that is offered again meets its own key, even
//! if this host may not read the destination. Files that PostgreSQL will offer next are stored in
//! the same call.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use longshore_config::{Config, WalArchive};
use longshore_core::compress::Compression;
use longshore_core::stage::Encrypt;
use longshore_core::stream::collect;
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::control::Control;
use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::segment::{Segment, SegmentSize};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use crate::wal::archive::{ArchiveAt, open_all};
use crate::wal::blocking;
use crate::wal::control::control_of;
use crate::wal::file::WalFile;
use crate::wal::push_state::PushState;

/// The compression of WAL. Level 3 takes twice the time and is hardly smaller.
const COMPRESSION: Compression = Compression::Zstd { level: 1, threads: 2 };

/// The time that further destinations have once the required ones have the file.
const FURTHER_TIMEOUT: Duration = Duration::from_secs(20);

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
    /// True if the file was given up with [`abandon`], and is not archived.
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

    let encrypt = settings.encrypt.as_ref().map(|encrypt| encrypt(&())).transpose()?.map(Arc::from);
    let archives = open_all(config, settings, &folder);
    let push = Push { settings, folder, encrypt, archives, state };
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
    let pushed = push.store(&file).await;
    push.note(&pushed);
    // If this file is refused, those after it may belong to the same other history.
    if pushed.is_archived {
        push.state.end_abandonment(name);
        push.store_ahead(path, name, control).await;
    }
    Ok(result(pushed, file.damage))
}

/// Gives up the segments up to the one at `path`: [`push`] succeeds for them, and stores nothing.
/// Returns the name of that segment.
///
/// # Errors
///
/// Fails with [`Kind::Usage`] if the path is not that of a segment in a data directory, and if this
/// host keeps no state.
pub async fn abandon(config: &Config, settings: &WalArchive, path: &Path) -> Result<ArchiveName> {
    let name = file_name(path)?;
    let ArchiveName::Segment(_) = name else {
        let message = "only segments can be given up";
        return Err(Error::new(Stage::Config, Kind::Usage, name.to_string(), message)
            .hint("name the last segment to give up: pg_wal/000000010000000000000001"));
    };
    let (_, folder) = archive_of(settings, path).await?;
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
        let is_ready = folder.join("archive_status").join(format!("{name}.ready")).exists();
        let parsed = name.parse().ok()?;
        is_ready.then(|| (folder.join(name), parsed))
    });
    names.collect()
}

/// The stages of the files of one call.
struct Push<'a> {
    settings: &'a WalArchive,
    folder: WalFolder,
    encrypt: Option<Arc<dyn Encrypt>>,
    archives: Vec<(String, Result<ArchiveAt>)>,
    state: PushState,
}

/// The result of storing one file.
struct Stored {
    stored: BTreeSet<String>,
    failed: Vec<(String, Error)>,
    is_archived: bool,
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
        if self.is_met(&self.state.find(name, file.digest)) {
            return Ok(None);
        }
        let stored = self.store(&file).await;
        if stored.is_archived {
            self.state.note(name, file.digest, stored.stored.clone());
        }
        Ok(Some(stored))
    }

    /// Stores the files that PostgreSQL will offer next, and notes those that are archived.
    async fn store_ahead(&self, path: &Path, name: ArchiveName, control: Control) {
        let ahead = match self.state.is_kept() {
            true => ready_after(path, name, control.wal_segment_size),
            false => Vec::new(),
        };
        let control = Arc::new(control);
        let ahead = ahead.into_iter().map(async |(path, name)| {
            let control = Arc::clone(&control);
            let file = blocking(move || WalFile::read(&path, name, &control)).await.ok()?;
            Some((name, file.digest, self.store(&file).await))
        });
        let stored = stream::iter(ahead).buffered(MAX_FILES).collect::<Vec<_>>().await;
        // A file after one that is missing is stored again when PostgreSQL offers it.
        for (name, digest, stored) in stored.into_iter().map_while(|stored| stored.filter(|(.., it)| it.is_archived)) {
            self.state.note(name, digest, stored.stored);
        }
    }

    fn is_met(&self, stored: &BTreeSet<String>) -> bool {
        self.settings.required.is_met(&self.settings.ship, &stored.iter().map(String::as_str).collect())
    }

    /// Stores a file at all destinations.
    async fn store(&self, file: &WalFile) -> Stored {
        let sealed = OnceCell::new();
        let key = self.key(file);
        let mut deliveries: FuturesUnordered<_> = self
            .archives
            .iter()
            .map(async |(name, archive)| {
                let stored = async {
                    let archive = archive.as_ref().map_err(Clone::clone)?;
                    self.store_at(archive, file, key.as_ref().map_err(Clone::clone)?, &sealed).await
                };
                (name.as_str(), stored.await)
            })
            .collect();
        let mut stored = BTreeSet::new();
        let mut failed = Vec::new();
        let mut waiting: BTreeSet<&str> = self.settings.ship.iter().map(String::as_str).collect();
        let mut deadline = None;
        loop {
            let next = match deadline {
                None => deliveries.next().await,
                Some(deadline) => timeout_at(deadline, deliveries.next()).await.unwrap_or(None),
            };
            let Some((name, result)) = next else { break };
            waiting.remove(name);
            match result {
                Ok(()) => {
                    stored.insert(name);
                }
                Err(error) => failed.push((name.to_owned(), error)),
            }
            if deadline.is_none() && self.settings.required.is_met(&self.settings.ship, &stored) {
                deadline = Some(Instant::now() + FURTHER_TIMEOUT);
            }
        }
        failed.extend(waiting.into_iter().map(|name| (name.to_owned(), too_slow(name))));
        Stored {
            is_archived: self.settings.required.is_met(&self.settings.ship, &stored),
            stored: stored.into_iter().map(str::to_owned).collect(),
            failed,
        }
    }

    fn key(&self, file: &WalFile) -> Result<WalKey> {
        let encryption = self.encrypt.as_ref().map_or("", |encrypt| encrypt.extension());
        self.folder.key_of(file.name, file.digest, &format!("{}{encryption}", COMPRESSION.extension()))
    }

    /// Stores a file at one destination, unless it is there.
    async fn store_at(
        &self,
        archive: &ArchiveAt,
        file: &WalFile,
        key: &WalKey,
        sealed: &OnceCell<Bytes>,
    ) -> Result<()> {
        if self.is_left_out(&archive.destination) {
            let message = "left out: it failed less than a minute ago";
            return Err(Error::new(Stage::Ship, Kind::Unavailable, &archive.destination, message));
        }
        match archive.list(file.name).await {
            Ok(files) if files.iter().any(|found| found.digest == file.digest) => return Ok(()),
            Ok(files) => {
                if let Some(other) = files.first().filter(|_| file.is_unique()) {
                    return Err(conflict(archive, file, other));
                }
            }
            // A host that may only write cannot compare. Other content has another key.
            Err(error) if error.kind() == Kind::Denied => {}
            Err(error) => return Err(error),
        }
        let sealed = sealed.get_or_try_init(|| self.seal(file)).await?;
        match archive.store.ship(&key.key, chunks(sealed)).await {
            // The key contains the digest, so the file there has the same content.
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
            shipped => shipped,
        }
    }

    /// Compresses and encrypts a file.
    async fn seal(&self, file: &WalFile) -> Result<Bytes> {
        let subject = file.name.to_string();
        let (stream, _) = COMPRESSION.compress(chunks(&file.bytes), &subject);
        let stream = match &self.encrypt {
            Some(encrypt) => encrypt.encrypt(stream, &subject),
            None => stream,
        };
        // Neither compression nor encryption doubles a file.
        collect(stream, 2 * file.bytes.len() + (1 << 20), Stage::Encrypt, &subject).await
    }

    /// Returns true if a destination has recently failed, and those that have not suffice.
    fn is_left_out(&self, destination: &str) -> bool {
        let sound = self.settings.ship.iter().map(String::as_str).filter(|name| !self.state.has_failed(name)).collect();
        self.state.has_failed(destination) && self.settings.required.is_met(&self.settings.ship, &sound)
    }

    /// Returns true if the other destinations suffice.
    fn is_optional(&self, destination: &str) -> bool {
        let others = self.settings.ship.iter().map(String::as_str).filter(|name| *name != destination).collect();
        self.settings.required.is_met(&self.settings.ship, &others)
    }

    /// Notes which of the optional destinations failed.
    fn note(&self, stored: &Stored) {
        for destination in self.settings.ship.iter().filter(|destination| self.is_optional(destination)) {
            let failed = stored.failed.iter().any(|(name, _)| name == destination);
            // A destination that was left out is tried again a minute after its own failure.
            if !(failed && self.is_left_out(destination)) {
                self.state.note_result(destination, failed);
            }
        }
    }
}

/// The size of the chunks in which a file is passed on.
const CHUNK_BYTES: usize = 256 << 10;

fn chunks(bytes: &Bytes) -> longshore_core::stream::ByteStream {
    let bytes = bytes.clone();
    let starts = (0..bytes.len()).step_by(CHUNK_BYTES);
    stream::iter(starts.map(move |start| Ok(bytes.slice(start..bytes.len().min(start + CHUNK_BYTES))))).boxed()
}

fn conflict(archive: &ArchiveAt, file: &WalFile, other: &WalKey) -> Error {
    let message = format!("another file of this name is at \"{}\": {}", archive.destination, other.key);
    Error::new(Stage::Ship, Kind::Refused, file.name.to_string(), message).hint(format!(
        "this file has the digest {}; two servers may archive as one cluster: find out which of them is the primary, \
         and set archive_mode = off on the other",
        file.digest
    ))
}

fn too_slow(destination: &str) -> Error {
    let message = format!("did not store the file within {} s", FURTHER_TIMEOUT.as_secs());
    Error::new(Stage::Ship, Kind::Unavailable, destination, message)
}
