//! Writing to the archive: the same check, compression, encryption and keys for WAL that PostgreSQL
//! offers and for WAL that is received.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{StreamExt, TryStreamExt};
use longshore_config::{Config, WalArchive};
use longshore_core::compress::Compression;
use longshore_core::stage::Encrypt;
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Error, Kind, Result, Stage};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use crate::wal::archive::{ArchiveAt, open_all};
use crate::wal::file::WalFile;
use crate::wal::push_state::PushState;

/// The compression of WAL. Level 3 takes twice the time and is hardly smaller.
const COMPRESSION: Compression = Compression::Zstd { level: 1, threads: 2 };

/// The time that further destinations have once the required ones have the file.
pub(crate) const FURTHER_TIMEOUT: Duration = Duration::from_secs(20);

/// The archive of a cluster at all destinations, for writing.
pub(crate) struct Archiver<'a> {
    settings: &'a WalArchive,
    folder: WalFolder,
    encrypt: Option<Arc<dyn Encrypt>>,
    archives: Vec<(String, Result<ArchiveAt>)>,
    /// The state that this host keeps.
    pub(crate) state: PushState,
}

/// The result of storing one file.
pub(crate) struct Stored {
    /// The destinations that have the file.
    pub(crate) stored: BTreeSet<String>,
    /// The destinations that do not have it, with the reasons.
    pub(crate) failed: Vec<(String, Error)>,
    /// True if those that have the file suffice.
    pub(crate) is_archived: bool,
}

impl<'a> Archiver<'a> {
    /// Opens the archive. A destination that cannot be opened fails when a file is stored.
    pub(crate) fn open(config: &Config, settings: &'a WalArchive, folder: WalFolder, state: PushState) -> Result<Self> {
        let encrypt = settings.encrypt.as_ref().map(|encrypt| encrypt(&())).transpose()?.map(Arc::from);
        let archives = open_all(config, settings, &folder);
        Ok(Self { settings, folder, encrypt, archives, state })
    }

    /// Returns the archive at each destination.
    pub(crate) fn archives(&self) -> &[(String, Result<ArchiveAt>)] {
        &self.archives
    }

    /// Returns true if these destinations suffice.
    pub(crate) fn is_met(&self, stored: &BTreeSet<String>) -> bool {
        self.settings.required.is_met(&self.settings.ship, &stored.iter().map(String::as_str).collect())
    }

    /// Stores a file at all destinations. Once the required ones have it, the others have so much
    /// time left.
    pub(crate) async fn store(&self, file: &WalFile, further: Duration) -> Stored {
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
                deadline = Some(Instant::now() + further);
            }
        }
        failed.extend(waiting.into_iter().map(|name| (name.to_owned(), too_slow(name, further))));
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
        sealed: &OnceCell<Vec<Bytes>>,
    ) -> Result<()> {
        if self.is_left_out(&archive.destination) {
            let message = "left out: it failed less than a minute ago";
            return Err(Error::new(Stage::Ship, Kind::Unavailable, &archive.destination, message));
        }
        match self.list(archive, file).await {
            Ok(files) if files.iter().any(|found| found.digest == file.digest) => return Ok(()),
            Ok(files) => {
                if let Some(other) = files.first() {
                    return Err(conflict(archive, file, other));
                }
            }
            // A host that may only write cannot compare. Other content has another key.
            Err(error) if error.kind() == Kind::Denied => {}
            Err(error) => return Err(error),
        }
        let sealed = sealed.get_or_try_init(|| self.seal(file)).await?;
        match archive.store.ship(&key.key, stream::iter(sealed.clone()).map(Ok).boxed()).await {
            // The key contains the digest, so the file there has the same content.
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
            shipped => shipped,
        }
    }

    /// Lists the files of the same name, if the archive may contain only one content under it.
    async fn list(&self, archive: &ArchiveAt, file: &WalFile) -> Result<Vec<WalKey>> {
        if file.is_unique() { archive.list(file.name).await } else { Ok(Vec::new()) }
    }

    /// Compresses and encrypts a file. The result is in pieces: one buffer would be copied while it
    /// grows.
    async fn seal(&self, file: &WalFile) -> Result<Vec<Bytes>> {
        let subject = file.name.to_string();
        let (stream, _) = COMPRESSION.compress(chunks(&file.bytes), &subject);
        let stream = match &self.encrypt {
            Some(encrypt) => encrypt.encrypt(stream, &subject),
            None => stream,
        };
        stream.try_collect().await
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
    pub(crate) fn note(&self, stored: &Stored) {
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

fn too_slow(destination: &str, limit: Duration) -> Error {
    let message = format!("did not store the file within {} s", limit.as_secs());
    Error::new(Stage::Ship, Kind::Unavailable, destination, message)
}
