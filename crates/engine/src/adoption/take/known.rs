//! The backups at the destinations of a job, with the files that some were made of.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_config::{Config, Job};
use longshore_core::key::{BackupName, Key};
use longshore_core::manifest::Manifest;
use longshore_core::meter::Digest;
use longshore_core::subject::Subject;

use super::read_one;

/// A backup.
#[derive(Debug, Clone)]
pub(super) struct KnownBackup {
    /// Its name.
    pub(super) name: BackupName,
    /// The file that it was made of, if the adopted files are beside that file.
    pub(super) file: Option<Key>,
    /// The size of that file in bytes.
    file_bytes: u64,
    subject: Subject,
    time: DateTime<Utc>,
    plaintext: Digest,
}

impl KnownBackup {
    /// Returns true if the backup has this content.
    pub(super) fn has_content(&self, digest: &Digest) -> bool {
        self.plaintext == *digest
    }

    /// Returns true if the backup is of this subject.
    pub(super) fn is_of(&self, subject: &Subject) -> bool {
        self.subject == *subject
    }
}

/// The known backups.
#[derive(Debug, Default)]
pub(super) struct KnownBackups {
    by_name: BTreeMap<BackupName, KnownBackup>,
    /// The names of the backups that were made of files.
    by_file: BTreeMap<Key, BackupName>,
}

impl KnownBackups {
    /// Reads the backups at the destinations of a job. `source` is the destination of the adopted
    /// files.
    pub(super) async fn read(config: &Config, job: &Job, source: &str) -> Self {
        let mut known = Self::default();
        for name in &job.ship {
            // A destination that cannot be read is skipped when it is claimed, or fails then.
            let Ok(at) = read_one(config, name).await else { continue };
            at.catalog.backups().for_each(|backup| known.insert(&backup.name, &backup.manifest, source));
        }
        known
    }

    /// Adds a backup.
    pub(super) fn insert(&mut self, name: &BackupName, manifest: &Manifest, source: &str) {
        let origin = manifest.adopted_from.as_ref().filter(|origin| origin.destination == source);
        let backup = KnownBackup {
            name: name.clone(),
            file: origin.map(|origin| origin.key.clone()),
            file_bytes: origin.map_or(0, |origin| origin.bytes),
            subject: manifest.subject.clone(),
            time: manifest.time.time(),
            plaintext: manifest.artifact.plaintext.clone(),
        };
        if let Some(file) = &backup.file {
            self.by_file.insert(file.clone(), name.clone());
        }
        self.by_name.insert(name.clone(), backup);
    }

    /// Returns the files that backups were made of.
    pub(super) fn files(&self) -> impl Iterator<Item = &Key> {
        self.by_file.keys()
    }

    /// Returns true if a backup was made of a file.
    pub(super) fn has_file(&self, key: &Key) -> bool {
        self.by_file.contains_key(key)
    }

    /// Returns the backup that was made of a file.
    pub(super) fn of_file(&self, key: &Key) -> Option<&KnownBackup> {
        self.named(self.by_file.get(key)?)
    }

    /// Returns the backup of this name.
    pub(super) fn named(&self, name: &BackupName) -> Option<&KnownBackup> {
        self.by_name.get(name)
    }

    /// Returns the backups of a subject that were made of files of this size, and whose time is in
    /// a period that begins at `from`.
    pub(super) fn in_period(
        &self,
        subject: &Subject,
        file_bytes: u64,
        from: DateTime<Utc>,
        period: TimeDelta,
    ) -> impl Iterator<Item = &KnownBackup> {
        self.by_name.values().filter(move |backup| {
            backup.is_of(subject)
                && backup.file.is_some()
                && backup.file_bytes == file_bytes
                && backup.time >= from
                && backup.time < from + period
        })
    }
}
