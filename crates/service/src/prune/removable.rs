//! What retention may let go of at a destination, whoever made it: a backup of ours, or a file that was adopted.

use longshore_core::Result;
use longshore_core::adopt::Adopted;
use longshore_core::catalog::{Backup, Catalog, Series};
use longshore_core::key::{BackupName, Key};
use longshore_core::mark::MarkName;
use longshore_core::retention::Candidate;

/// A backup of ours, or a file that was adopted.
#[derive(Clone, Copy)]
pub(super) enum Removable<'a> {
    Backup(&'a Backup),
    Adopted(&'a Adopted),
}

/// The backups of one series, told from files that were adopted into one that is called the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    Ours(Series),
    Adopted(Series),
}

/// All there is at a destination that retention may let go of.
pub(super) fn removables(catalog: &Catalog) -> impl Iterator<Item = Removable<'_>> {
    let adopted = catalog.adopted.values().flatten().map(Removable::Adopted);
    catalog.backups().map(Removable::Backup).chain(adopted)
}

impl<'a> Removable<'a> {
    /// Its name.
    pub(super) fn name(self) -> &'a BackupName {
        match self {
            Self::Backup(backup) => &backup.name,
            Self::Adopted(file) => &file.name,
        }
    }

    /// What it belongs to.
    pub(super) fn line(self) -> Line {
        match self {
            Self::Backup(backup) => Line::Ours(Series::of(&backup.manifest)),
            Self::Adopted(file) => Line::Adopted(file.series.clone()),
        }
    }

    /// What retention must know of it.
    pub(super) fn candidate(self) -> Candidate {
        match self {
            Self::Backup(backup) => backup.candidate(),
            Self::Adopted(file) => file.candidate(),
        }
    }

    /// Whether nothing speaks against it.
    pub(super) fn is_good(self) -> bool {
        match self {
            Self::Backup(backup) => backup.is_good(),
            Self::Adopted(file) => file.is_good(),
        }
    }

    /// What it cannot be restored without.
    pub(super) fn needs(self) -> &'a [BackupName] {
        match self {
            Self::Backup(backup) => &backup.manifest.needs,
            Self::Adopted(_) => &[],
        }
    }

    /// The marks beside it.
    pub(super) fn marks(self) -> &'a [MarkName] {
        match self {
            Self::Backup(backup) => &backup.marks.names,
            Self::Adopted(_) => &[],
        }
    }

    /// Every key to remove with it, in that order.
    pub(super) fn keys(self) -> Result<Vec<Key>> {
        match self {
            Self::Backup(backup) => backup.keys(),
            Self::Adopted(file) => Ok(vec![file.key.clone()]),
        }
    }

    /// The keys of what was made with it, which a store may have locked.
    pub(super) fn made(self) -> Result<Vec<Key>> {
        match self {
            Self::Backup(backup) => backup.manifest.keys(),
            Self::Adopted(file) => Ok(vec![file.key.clone()]),
        }
    }

    /// The key of an adopted file, and its size when it was listed: whoever made it may write to it still.
    pub(super) fn size_of_adopted(&self) -> Option<(&'a Key, u64)> {
        match self {
            Self::Backup(_) => None,
            Self::Adopted(file) => Some((&file.key, file.bytes)),
        }
    }

    /// The keys without which it is no good backup.
    pub(super) fn essence(self) -> Vec<Key> {
        match self {
            Self::Backup(backup) => vec![backup.name.manifest(), backup.manifest.artifact.key.clone()],
            Self::Adopted(file) => vec![file.key.clone()],
        }
    }
}
