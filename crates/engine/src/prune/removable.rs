//! The backups and adopted files that retention may delete.

use longshore_catalog::adopt::Adopted;
use longshore_catalog::catalog::{Backup, Catalog, Series};
use longshore_core::Result;
use longshore_core::key::{BackupName, Key};
use longshore_core::mark::MarkName;
use longshore_retention::Candidate;

/// A backup, or an adopted file.
#[derive(Clone, Copy)]
pub(super) enum Removable<'a> {
    Backup(&'a Backup),
    Adopted(&'a Adopted),
}

/// A series of backups, distinct from a series of adopted files with the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SeriesKey {
    Backups(Series),
    Adopted(Series),
}

/// Returns everything at a destination that retention may delete.
pub(super) fn removables(catalog: &Catalog) -> impl Iterator<Item = Removable<'_>> {
    let adopted = catalog.adopted.values().flatten().map(Removable::Adopted);
    catalog.backups().map(Removable::Backup).chain(adopted)
}

impl<'a> Removable<'a> {
    /// Returns the name.
    pub(super) fn name(self) -> &'a BackupName {
        match self {
            Self::Backup(backup) => &backup.name,
            Self::Adopted(file) => &file.name,
        }
    }

    /// Returns the backup, unless it is an adopted file.
    pub(super) fn backup(self) -> Option<&'a Backup> {
        match self {
            Self::Backup(backup) => Some(backup),
            Self::Adopted(_) => None,
        }
    }

    /// Returns the series.
    pub(super) fn series_key(self) -> SeriesKey {
        match self {
            Self::Backup(backup) => SeriesKey::Backups(Series::of(&backup.manifest)),
            Self::Adopted(file) => SeriesKey::Adopted(file.series.clone()),
        }
    }

    /// Returns the facts on which retention decides.
    pub(super) fn candidate(self) -> Candidate {
        match self {
            Self::Backup(backup) => backup.candidate(),
            Self::Adopted(file) => file.candidate(),
        }
    }

    /// Returns true if nothing is known against the backup or file.
    pub(super) fn is_good(self) -> bool {
        match self {
            Self::Backup(backup) => backup.is_good(),
            Self::Adopted(file) => file.is_good(),
        }
    }

    /// Returns the backups that a restore needs.
    pub(super) fn needs(self) -> &'a [BackupName] {
        match self {
            Self::Backup(backup) => &backup.manifest.needs,
            Self::Adopted(_) => &[],
        }
    }

    /// Returns the marks beside the backup.
    pub(super) fn marks(self) -> &'a [MarkName] {
        match self {
            Self::Backup(backup) => &backup.marks.names,
            Self::Adopted(file) => &file.marks.names,
        }
    }

    /// Returns every key to delete, in the order of deletion.
    pub(super) fn keys(self) -> Result<Vec<Key>> {
        match self {
            Self::Backup(backup) => backup.keys(),
            Self::Adopted(file) => file.keys(),
        }
    }

    /// Returns the keys that the store may have locked: all except marks.
    pub(super) fn lockable_keys(self) -> Result<Vec<Key>> {
        match self {
            Self::Backup(backup) => backup.lockable_keys(),
            Self::Adopted(file) => Ok(vec![file.key.clone()]),
        }
    }

    /// Returns the key of an adopted file, and its size when it was listed: its program may still
    /// write to the file.
    pub(super) fn size_of_adopted(&self) -> Option<(&'a Key, u64)> {
        match self {
            Self::Backup(_) => None,
            Self::Adopted(file) => Some((&file.key, file.own_bytes())),
        }
    }

    /// Returns the keys without which the backup is not good.
    pub(super) fn required_keys(self) -> Vec<Key> {
        match self {
            Self::Backup(backup) => vec![backup.name.manifest(), backup.manifest.artifact.key.clone()],
            Self::Adopted(file) => vec![file.key.clone()],
        }
    }
}
