//! The growth of a series' backups: in bytes, in tables, and in the duration of a restore.

use longshore_catalog::catalog::Backup;

use super::report::{DrillTime, RestoreTime, Size, Tables};

/// The number of previous backups that the newest is compared with.
const MAX_PREVIOUS: usize = 7;

/// Compares the size of the newest backup with the previous ones. `backups` are good ones, the
/// oldest first, without duplicates.
pub(super) fn size(backups: &[&Backup]) -> Option<Size> {
    let (newest, before) = backups.split_last()?;
    let form = |Backup { manifest, .. }: &Backup| {
        (manifest.artifact.format.clone(), manifest.artifact.compression.clone(), manifest.continues_others())
    };
    // The same data has another size in another format.
    let before = before.iter().rev().filter(|backup| form(backup) == form(newest)).take(MAX_PREVIOUS);
    let before: Vec<_> = before.map(|backup| &backup.manifest.artifact).collect();
    let plaintext_bytes = newest.manifest.artifact.plaintext.bytes;
    let median_plaintext_bytes = median(before.iter().map(|artifact| artifact.plaintext.bytes).collect());
    Some(Size {
        plaintext_bytes,
        sealed_bytes: newest.manifest.artifact.sealed.bytes,
        median_plaintext_bytes,
        median_sealed_bytes: median(before.iter().map(|artifact| artifact.sealed.bytes).collect()),
        // The size of an incremental backup depends on the changes.
        shrunk: !newest.manifest.is_incremental()
            && median_plaintext_bytes.is_some_and(|usual| u128::from(plaintext_bytes) * 3 < u128::from(usual) * 2),
    })
}

/// Returns the numbers of tables in the newest and in the previous backup.
pub(super) fn tables(backups: &[&Backup]) -> Option<Tables> {
    let (newest, before) = backups.split_last()?;
    let before = before.last().and_then(|backup| table_count(backup));
    Some(Tables { now: table_count(newest)?, before, vanished: None })
}

/// Returns the number of tables that was counted during the dump.
fn table_count(backup: &Backup) -> Option<u64> {
    backup.manifest.verified.iter().filter_map(|verification| verification.totals.get("tables")).max().copied()
}

/// Computes the duration of a restore from drills in any order.
pub(super) fn restore(mut drills: Vec<DrillTime>) -> Option<RestoreTime> {
    drills.sort_by_key(|drill| drill.finished);
    let (last, before) = drills.split_last()?;
    let mut before: Vec<f64> = before.iter().map(|drill| drill.seconds).collect();
    before.sort_by(f64::total_cmp);
    let median_seconds = before.get(before.len() / 2).copied();
    Some(RestoreTime { seconds: last.seconds, median_seconds, drills })
}

/// Returns the median; of an even number, the larger of the middle two.
fn median(mut all: Vec<u64>) -> Option<u64> {
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}
