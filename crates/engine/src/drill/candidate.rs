//! The backups under drill, with the records of their dumps.

use longshore_catalog::catalog::Backup;
use longshore_catalog::copy::is_damage;
use longshore_config::registry::Registry;
use longshore_core::Result;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::Identities;
use longshore_core::provenance::Mismatch;
use longshore_core::stage::{RestoreRequest, Store};
use serde_json::{Map, Value};

use crate::details::{Details, expect_details, fetch_details};

/// A backup under drill.
pub(super) struct DrillCandidate {
    pub(super) backup: Backup,
    /// The record of the dump, or the error if the record is damaged.
    pub(super) details: Result<Option<Map<String, Value>>>,
    /// The differences between the manifest and the origin that the details name.
    pub(super) mismatches: Vec<Mismatch>,
    /// The backups that it continues, from the full one to its parent.
    earlier: Vec<Backup>,
    /// The manifests of the earlier backups.
    earlier_manifests: Vec<Manifest>,
}

impl DrillCandidate {
    /// Returns the backup in the form that a restore expects.
    pub(super) fn wanted(&self) -> RestoreRequest<'_> {
        RestoreRequest {
            manifest: &self.backup.manifest,
            details: self.details.as_ref().ok().and_then(Option::as_ref),
            earlier: &self.earlier_manifests,
        }
    }

    /// Returns the backups to read: those that it continues, then itself.
    pub(super) fn links(&self) -> impl Iterator<Item = &Backup> {
        self.earlier.iter().chain([&self.backup])
    }

    /// Returns the full backup from which the backup is a difference.
    pub(super) fn full(&self) -> Option<&Backup> {
        self.earlier.first().filter(|_| self.backup.manifest.is_difference())
    }

    /// Returns the number of bytes that a restore reads.
    pub(super) fn plaintext_bytes(&self) -> u64 {
        self.links().map(|link| link.manifest.artifact.plaintext.bytes).fold(0, u64::saturating_add)
    }
}

/// Reads the record of each backup of a run. `earlier` are the backups that each of them continues.
/// An identity that cannot decrypt a record fails the drill before the scratch server is prepared.
pub(super) async fn read_all(
    registry: &Registry,
    store: &dyn Store,
    (backups, earlier): (Vec<Backup>, Vec<Vec<Backup>>),
    identities: &Identities,
) -> Result<Vec<DrillCandidate>> {
    let mut candidates = Vec::new();
    for (backup, earlier) in backups.into_iter().zip(earlier) {
        let artifact = &backup.manifest.artifact;
        if let Some(encryption) = artifact.encryption.as_deref().filter(|name| !registry.can_decrypt(name, identities))
        {
            let (by_hand, subject) = (artifact.decryption.as_deref(), backup.name.as_str());
            return Err(registry.missing_decryption(encryption, by_hand, subject));
        }
        let read = async {
            expect_details(&backup.manifest)?;
            fetch_details(registry, identities, store, &backup).await
        };
        let (details, mismatches) = match read.await {
            Err(error) if !is_damage(&error) => return Err(error),
            Err(error) => (Err(error), Vec::new()),
            Ok(Some(Details { record, mismatches })) => (Ok(record), mismatches),
            Ok(None) => (Ok(None), Vec::new()),
        };
        let earlier_manifests = earlier.iter().map(|backup| Manifest::clone(&backup.manifest)).collect();
        candidates.push(DrillCandidate { backup, earlier, earlier_manifests, details, mismatches });
    }
    Ok(candidates)
}
