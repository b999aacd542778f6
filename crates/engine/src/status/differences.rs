//! Differences: the backups that depend on one full backup, and what is known of that backup.

use std::collections::{BTreeMap, BTreeSet};

use longshore_catalog::catalog::Backup;
use longshore_core::key::BackupName;
use serde::Serialize;

/// The full backup of the newest difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// The full backup.
    pub full: BackupName,
    /// The number of backups that are differences from it.
    pub backups: usize,
    /// The destinations with a good copy of the full backup.
    pub full_at: Vec<String>,
    /// Those where the full backup was read back.
    pub verified_at: Vec<String>,
    /// Those where it was restored in a drill, by itself or with a difference.
    pub drilled_at: Vec<String>,
}

impl Differences {
    /// Returns the differences from the full backup of `newest`, if that is a difference.
    pub(super) fn of(by_destination: &BTreeMap<&str, &[Backup]>, newest: Option<&Backup>) -> Option<Self> {
        let newest = newest.filter(|newest| newest.manifest.is_difference())?;
        let full = newest.manifest.parent()?;
        let depends = |backup: &&Backup| backup.manifest.is_difference() && backup.manifest.parent() == Some(full);
        let dependents = by_destination.values().flat_map(|backups| backups.iter().filter(depends));
        let names: BTreeSet<&BackupName> = dependents.map(|backup| &backup.name).collect();
        let destinations = |holds: &dyn Fn(&[Backup]) -> bool| {
            let found = by_destination.iter().filter(|(_, backups)| holds(backups));
            found.map(|(name, _)| (*name).to_owned()).collect()
        };
        let copy = |backups: &[Backup], holds: fn(&Backup) -> bool| {
            backups.iter().any(|backup| backup.name == *full && backup.is_good() && holds(backup))
        };
        let is_drilled = |backup: &Backup| backup.marks.drilled();
        Some(Self {
            full: full.clone(),
            backups: names.len(),
            full_at: destinations(&|backups| copy(backups, |_| true)),
            verified_at: destinations(&|backups| copy(backups, |backup| backup.marks.verified())),
            drilled_at: destinations(&|backups| {
                copy(backups, |backup| backup.marks.drilled())
                    || copy(backups, |_| true) && backups.iter().filter(depends).any(is_drilled)
            }),
        })
    }

    /// Returns the warning about a full backup whose damage would cost many backups, if there is
    /// reason for one.
    pub(super) fn warning(&self) -> Option<String> {
        let reasons = [
            (self.full_at.len() == 1).then(|| format!("is only at {}", self.full_at.join(", "))),
            self.verified_at.is_empty().then(|| "was not verified".to_owned()),
            self.drilled_at.is_empty().then(|| "was not drilled".to_owned()),
        ];
        let reasons: Vec<String> = reasons.into_iter().flatten().collect();
        let depend =
            if self.backups == 1 { "1 backup depends".to_owned() } else { format!("{} backups depend", self.backups) };
        (!reasons.is_empty()).then(|| format!("{depend} on {}, which {}", self.full, reasons.join(" and ")))
    }
}

#[cfg(test)]
mod tests {
    use longshore_testkit::memory::MemoryStore;

    use super::*;
    use crate::fixture::{catalogued, put_difference, put_run};

    #[tokio::test]
    async fn full_backup_at_one_place_is_a_warning() {
        let (near, far) = (MemoryStore::new(), MemoryStore::new());
        let full = put_run(&near, "2026-06-07_091500", &["app"]).remove(1);
        for time in ["2026-06-08_091500", "2026-06-09_091500"] {
            put_difference(&near, &full, time);
            put_difference(&far, &full, time);
        }
        let read = [catalogued(&near).await, catalogued(&far).await];
        let series = |at: &'static str, index: usize| {
            let backups = read[index].catalog.series.values().find(|backups| backups[0].name.folder() == full.folder());
            (at, backups.unwrap().as_slice())
        };
        let by_destination = BTreeMap::from([series("near", 0), series("far", 1)]);
        let backups = by_destination["near"];
        assert_eq!(Differences::of(&by_destination, backups.first()), None);
        let differences = Differences::of(&by_destination, backups.last()).unwrap();
        assert_eq!((differences.backups, &*differences.full_at), (2, &["near".to_owned()][..]));
        assert!(!by_destination["far"].last().unwrap().is_good(), "its full backup is missing there");
        let warning = differences.warning().unwrap();
        assert!(warning.starts_with("2 backups depend on main/app/app-2026-06-07_091500"), "{warning}");
        assert!(warning.contains("only at near and was not verified and was not drilled"), "{warning}");
        let at = || vec!["near".to_owned(), "far".to_owned()];
        let proved = Differences { full_at: at(), verified_at: at(), drilled_at: at(), ..differences };
        assert_eq!(proved.warning(), None);
    }
}
