//! The archive of a cluster at its destinations.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use longshore_config::{Config, WalArchive};
use longshore_core::header::HeaderName;
use longshore_core::stage::Store;
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::ArchiveName;

use crate::mount;

/// The archive of one cluster at one destination.
pub(crate) struct ArchiveAt {
    /// The name of the destination.
    pub(crate) destination: String,
    pub(crate) store: Arc<dyn Store>,
    folder: WalFolder,
}

impl ArchiveAt {
    /// Opens the archive at a destination.
    pub(crate) fn open(config: &Config, destination: &str, folder: &WalFolder) -> Result<Self> {
        let store = config.destination(destination)?.open()?;
        match mount::expect(config, destination, &*store) {
            Err(error) if error.kind() == Kind::Refused => return Err(error),
            // A host that cannot read or write its state still archives.
            Err(error) => tracing::debug!(target: "longshore::wal", "{}", error.chain()),
            Ok(()) => {}
        }
        Ok(Self::new(destination, store, folder.clone()))
    }

    /// Creates the archive at a destination that is open.
    pub(crate) fn new(destination: &str, store: Arc<dyn Store>, folder: WalFolder) -> Self {
        Self { destination: destination.to_owned(), store, folder }
    }

    /// Returns the archived files of this name: several if their contents differ.
    pub(crate) async fn list(&self, name: ArchiveName) -> Result<Vec<WalKey>> {
        let mut files = Vec::new();
        let mut entries = self.store.list(Some(&self.folder.folder_of(name)?)).await?;
        while let Some(entry) = entries.try_next().await? {
            let Some(file) = WalKey::parse(&entry.key).filter(|file| file.name == name) else { continue };
            // Compressed, even an empty file has some bytes.
            if entry.bytes == 0 {
                let message = format!("is empty at \"{}\": remove it there", self.destination);
                return Err(Error::new(Stage::Ship, Kind::Corrupt, entry.key.as_str(), message));
            }
            files.push(file);
        }
        Ok(files)
    }

    /// Returns the archived segments after this one, in their order: at most `count`, all of its
    /// timeline and its folder. None of them has another content beside it.
    pub(crate) async fn list_after(&self, name: ArchiveName, count: usize) -> Result<Vec<WalKey>> {
        let ArchiveName::Segment(segment) = name else { return Ok(Vec::new()) };
        let mut files: Vec<WalKey> = Vec::new();
        let mut entries = self.store.list(Some(&self.folder.folder_of(name)?)).await?;
        while let Some(entry) = entries.try_next().await? {
            files.extend(WalKey::parse(&entry.key).filter(|file| match file.name {
                ArchiveName::Segment(other) => other > segment,
                _ => false,
            }));
        }
        // The list is in the order of names.
        let is_ambiguous = |file: &WalKey| files.iter().filter(|other| other.name == file.name).count() > 1;
        Ok(files.iter().take(count).take_while(|file| !is_ambiguous(file)).cloned().collect())
    }

    /// Returns all archived files with their sizes in bytes.
    pub(crate) async fn list_all(&self) -> Result<Vec<(WalKey, u64)>> {
        let mut files = Vec::new();
        let mut entries = self.store.list(Some(&self.folder.key()?)).await?;
        while let Some(entry) = entries.try_next().await? {
            files.extend(WalKey::parse(&entry.key).map(|file| (file, entry.bytes)));
        }
        Ok(files)
    }

    /// Returns the headers beside the archived files in this folder, or in the whole archive.
    pub(crate) async fn headers(&self, of: Option<ArchiveName>) -> Result<Vec<HeaderName>> {
        let folder = of.map_or_else(|| self.folder.key(), |name| self.folder.folder_of(name))?;
        let mut headers = Vec::new();
        let mut entries = self.store.list(Some(&folder)).await?;
        while let Some(entry) = entries.try_next().await? {
            headers.extend(HeaderName::from_key(&entry.key));
        }
        Ok(headers)
    }

    /// Returns true if the archive contains no file at all.
    pub(crate) async fn is_empty(&self) -> Result<bool> {
        let mut entries = self.store.list(Some(&self.folder.key()?)).await?;
        Ok(entries.next().await.transpose()?.is_none())
    }
}

/// Opens the archive at each destination. One that cannot be opened is an error of its own.
pub(crate) fn open_all(config: &Config, settings: &WalArchive, folder: &WalFolder) -> Vec<(String, Result<ArchiveAt>)> {
    settings.ship.iter().map(|name| (name.clone(), ArchiveAt::open(config, name, folder))).collect()
}
