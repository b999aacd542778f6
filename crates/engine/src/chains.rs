//! The backups of all destinations, with the chains of those that continue others: incremental base
//! backups, and differences from a full dump.

use std::collections::{HashMap, HashSet};

use longshore_catalog::catalog::{Backup, Presence};
use longshore_core::key::BackupName;
use longshore_core::manifest::Manifest;
use longshore_core::{Error, Kind, Result, Stage};

use crate::catalogs::Catalogued;

/// The backups of some destinations.
pub(crate) struct Chains<'a> {
    /// The catalogs, in the order in which destinations are preferred.
    pub(crate) catalogs: &'a [Catalogued],
    by_name: HashMap<&'a BackupName, Vec<(&'a Catalogued, &'a Backup)>>,
    /// The backups that continue others, all of which exist, each at any destination.
    complete: HashSet<&'a BackupName>,
}

/// The copies of earlier backups that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// Copies without known damage.
    Intact,
    /// All copies with the recorded size.
    Whole,
}

impl<'a> Chains<'a> {
    /// Finds the chains of all backups.
    pub(crate) fn new(catalogs: &'a [Catalogued]) -> Self {
        let mut chains = Self { catalogs, by_name: HashMap::new(), complete: HashSet::new() };
        for found in chains.all() {
            chains.by_name.entry(&found.1.name).or_default().push(found);
        }
        let mut continuing: Vec<&'a Backup> =
            chains.all().map(|(_, backup)| backup).filter(|backup| backup.manifest.continues_others()).collect();
        // A backup is younger than those that it continues.
        continuing.sort_by_key(|backup| backup.manifest.time);
        for backup in continuing.into_iter().filter(|backup| backup.is_intact()) {
            if chains.parent(&backup.manifest, Copies::Intact).is_some_and(|(_, parent)| chains.is_restorable(parent)) {
                chains.complete.insert(&backup.name);
            }
        }
        chains
    }

    /// Returns all backups.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'a Catalogued, &'a Backup)> + use<'a> {
        self.catalogs.iter().flat_map(|at| at.catalog.backups().map(move |backup| (at, backup)))
    }

    /// Returns the backups that can be restored, as far as is known. The backups that one continues
    /// may be at other destinations.
    pub(crate) fn good(&self) -> impl Iterator<Item = (&'a Catalogued, &'a Backup)> + use<'a, '_> {
        self.all().filter(|(_, backup)| self.is_restorable(backup))
    }

    /// Returns true if a backup can be restored, as far as is known.
    pub(crate) fn is_restorable(&self, backup: &Backup) -> bool {
        backup.is_intact() && (!backup.manifest.continues_others() || self.complete.contains(&backup.name))
    }

    /// Returns the first copy of the backup that another one continues.
    fn parent(&self, child: &Manifest, copies: Copies) -> Option<(&'a Catalogued, &'a Backup)> {
        let accepted = |backup: &Backup| match copies {
            Copies::Intact => backup.is_intact(),
            Copies::Whole => backup.artifact == Presence::Whole,
        };
        let mut found = self.by_name.get(child.parent()?)?.iter();
        found.find(|(_, backup)| accepted(backup) && child.continues(&backup.manifest)).copied()
    }

    /// Returns the backups that a backup continues, from the full one to its parent; none for a
    /// full backup.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::NotFound`] if one of them has no such copy.
    pub(crate) fn earlier(&self, backup: &Backup, copies: Copies) -> Result<Vec<(&'a Catalogued, &'a Backup)>> {
        let mut chain: Vec<(&Catalogued, &Backup)> = Vec::new();
        let mut child: &Manifest = &backup.manifest;
        while child.continues_others() {
            let Some(parent) = self.parent(child, copies) else {
                let parent = child.parent().map_or("a backup that its manifest does not name", BackupName::as_str);
                let message = format!("continues {parent}, of which no good copy exists");
                return Err(Error::new(Stage::Catalog, Kind::NotFound, backup.name.as_str(), message)
                    .hint("restore an older backup: `longshore list` shows all of them"));
            };
            chain.push(parent);
            child = &parent.1.manifest;
        }
        chain.reverse();
        Ok(chain)
    }
}

#[cfg(test)]
mod tests {
    use longshore_testkit::memory::MemoryStore;

    use super::*;
    use crate::fixture::{catalogued, put_chain};

    const TIMES: [&str; 3] = ["2026-06-01_030000", "2026-06-02_030000", "2026-06-03_030000"];

    #[tokio::test]
    async fn links_may_be_at_different_destinations() {
        let (one, other) = (MemoryStore::new(), MemoryStore::new());
        let [full, child, grandchild] = &put_chain(&one, &TIMES)[..] else { unreachable!() };
        put_chain(&other, &TIMES);
        one.lose(&child.artifact.key);
        other.lose(&full.artifact.key);
        let all = [catalogued(&one).await, catalogued(&other).await];
        let chains = Chains::new(&all);
        assert_eq!(chains.good().count(), 4, "two copies are damaged");
        let newest = all[0].catalog.backups().find(|backup| backup.name == grandchild.name().unwrap()).unwrap();
        assert!(!newest.is_good(), "at one destination alone");
        let earlier = chains.earlier(newest, Copies::Intact).unwrap();
        let names: Vec<_> = earlier.iter().map(|(_, backup)| backup.name.clone()).collect();
        assert_eq!(names, [full.name().unwrap(), child.name().unwrap()]);
        let one_alone = Chains::new(&all[..1]);
        assert_eq!(one_alone.earlier(newest, Copies::Intact).err().unwrap().kind(), Kind::NotFound);
        assert_eq!(one_alone.good().count(), 1);
    }
}
