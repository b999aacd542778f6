//! The verification of differences, which needs the full backup at the same destination.

use longshore_catalog::catalog::Backup;
use longshore_catalog::copy::{is_damage, verify_stored};
use longshore_core::event::ignore;
use longshore_core::key::BackupName;
use longshore_core::pipeline::Depth;
use longshore_core::{Error, Kind, Result, Stage};

use super::{VerifyResult, failed_result, mark_result};
use crate::catalogs::Catalogued;

/// Returns the full backup from which a backup is a difference, or `None` for a full backup.
///
/// # Errors
///
/// Fails with [`Kind::Refused`] if the destination lacks the full backup. The difference itself may
/// be intact, so that this is no damage of it.
pub(super) fn full_backup<'a>(at: &'a Catalogued, backup: &Backup) -> Result<Option<&'a Backup>> {
    if !backup.manifest.is_difference() {
        return Ok(None);
    }
    let name = backup.manifest.parent();
    let full = at.catalog.backups().find(|full| Some(&full.name) == name && backup.manifest.continues(&full.manifest));
    full.map(Some).ok_or_else(|| {
        let name = name.map_or("its full backup", BackupName::as_str);
        let message = format!("cannot be decoded: this destination lacks {name}, from which it is a difference");
        Error::new(Stage::Verify, Kind::Refused, backup.name.as_str(), message)
            .hint("copy the full backup here with `longshore sync`, if another destination has it")
    })
}

/// Returns true if the stored bytes of the full backup are damaged. The damage then is that of the
/// full backup, which gets a mark.
pub(super) async fn is_full_damaged(at: &Catalogued, backup: &Backup) -> bool {
    let Ok(Some(full)) = full_backup(at, backup) else { return false };
    let found = verify_stored(&*at.store, full, &ignore()).await;
    let Some(error) = found.err().filter(is_damage) else { return false };
    if let Err(error) = mark_result(at, full, Depth::Sealed, Some(&error)).await {
        tracing::warn!(target: "longshore::verify", backup = %full.name, %error, "cannot store the mark of the damage");
    }
    true
}

/// Returns the result of a difference whose full backup is damaged.
pub(super) fn result(at: &Catalogued, backup: &Backup) -> VerifyResult {
    let name = backup.manifest.parent().map_or("its full backup", BackupName::as_str);
    let message = format!("cannot be restored from here: {name}, from which it is a difference, is damaged");
    let error = Error::new(Stage::Verify, Kind::Corrupt, backup.name.as_str(), message)
        .hint("replace the full backup by a good copy with `longshore sync --repair`");
    failed_result(&at.name, backup.name.as_str(), &error)
}
