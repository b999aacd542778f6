//! How the backups of a series grow: in bytes, in tables, and in the time that a restore takes.

use longshore_core::catalog::Backup;

use super::report::{DrillTime, RestoreTime, Size, Tables};

/// How many backups before the newest it is held against.
const BEFORE: usize = 7;

/// How large the newest is beside those before it. All are good, the oldest first, each once.
pub(super) fn size(backups: &[&Backup]) -> Option<Size> {
    let (newest, before) = backups.split_last()?;
    let form = |backup: &Backup| (backup.manifest.artifact.format, backup.manifest.artifact.compression.clone());
    // Of another form, the same data has another size.
    let before = before.iter().rev().filter(|backup| form(backup) == form(newest)).take(BEFORE);
    let before: Vec<_> = before.map(|backup| &backup.manifest.artifact).collect();
    let plaintext_bytes = newest.manifest.artifact.plaintext.bytes;
    let median_plaintext_bytes = median(before.iter().map(|artifact| artifact.plaintext.bytes).collect());
    Some(Size {
        plaintext_bytes,
        sealed_bytes: newest.manifest.artifact.sealed.bytes,
        median_plaintext_bytes,
        median_sealed_bytes: median(before.iter().map(|artifact| artifact.sealed.bytes).collect()),
        shrunk: median_plaintext_bytes.is_some_and(|usual| u128::from(plaintext_bytes) * 3 < u128::from(usual) * 2),
    })
}

/// How many tables there are in the newest, and how many were in the one before it.
pub(super) fn tables(backups: &[&Backup]) -> Option<Tables> {
    let (newest, before) = backups.split_last()?;
    let before = before.last().and_then(|backup| counted(backup));
    Some(Tables { now: counted(newest)?, before, vanished: None })
}

/// How many tables were counted while a backup was dumped.
fn counted(backup: &Backup) -> Option<u64> {
    backup.manifest.verified.iter().filter_map(|judge| judge.totals.get("tables")).max().copied()
}

/// How long a restore takes by these drills, in any order.
pub(super) fn restore(mut drills: Vec<DrillTime>) -> Option<RestoreTime> {
    drills.sort_by_key(|drill| drill.finished);
    let (last, before) = drills.split_last()?;
    let mut before: Vec<f64> = before.iter().map(|drill| drill.seconds).collect();
    before.sort_by(f64::total_cmp);
    let median_seconds = before.get(before.len() / 2).copied();
    Some(RestoreTime { seconds: last.seconds, median_seconds, drills })
}

/// The one in the middle; of an even number, the larger of the two.
fn median(mut all: Vec<u64>) -> Option<u64> {
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}
