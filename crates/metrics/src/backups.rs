//! The samples of series and of archived WAL.

use std::collections::BTreeMap;

use longshore_engine::status::{AtDestination, Level, SeriesStatus, Status, WalStatus};

use crate::families::{Families, Labels};
use crate::metric;

pub(crate) fn add(families: &mut Families, status: &Status) {
    for series in &status.series {
        add_series(families, series);
        for at in &series.destinations {
            add_at_destination(families, series, at);
        }
    }
    // A cluster that was initialised again has several archives at a destination: the newest
    // counts.
    let mut archives: BTreeMap<(&str, &str), &WalStatus> = BTreeMap::new();
    for archive in &status.wal {
        let key = (archive.cluster.as_str(), archive.destination.as_str());
        let newest = archives.entry(key).or_insert(archive);
        if newest.last_stored < archive.last_stored {
            *newest = archive;
        }
    }
    for ((cluster, destination), archive) in archives {
        let labels = vec![("cluster", cluster.to_owned()), ("destination", destination.to_owned())];
        families.add_time(metric::WAL_STORED, &labels, archive.last_stored);
        families.add_time(metric::WAL_FROM, &labels, archive.recoverable_from);
        families.add_time(metric::WAL_UNTIL, &labels, archive.recoverable_until);
    }
}

fn labels(series: &SeriesStatus) -> Labels {
    let SeriesStatus { cluster, subject, job, .. } = series;
    vec![("cluster", cluster.clone()), ("subject", subject.clone()), ("job", job.clone())]
}

fn add_series(families: &mut Families, series: &SeriesStatus) {
    let labels = labels(series);
    // No alert is wanted for a series that has ended.
    let max_age = series.max_age_seconds.filter(|_| series.ended.is_none());
    families.add_known(metric::MAX_AGE, &labels, max_age.map(|seconds| seconds as f64));
    families.add_known(metric::PLAINTEXT, &labels, series.size.as_ref().map(|size| size.plaintext_bytes as f64));
    families.add_known(metric::STORED, &labels, series.size.as_ref().map(|size| size.sealed_bytes as f64));
    // A series that has ended has no copies to make, and an unreadable destination may have one.
    if series.ended.is_none() && series.copies.unseen.is_empty() {
        families.add(metric::COPIES, &labels, series.copies.present.len() as f64);
        families.add(metric::COPIES_WANTED, &labels, series.copies.wanted as f64);
    }
    for (level, state) in
        [(Level::Good, "good"), (Level::Unknown, "unknown"), (Level::Warning, "warning"), (Level::Critical, "critical")]
    {
        let labels = [labels.clone(), vec![("state", state.to_owned())]].concat();
        families.add(metric::SERIES_STATE, &labels, if level == series.level { 1.0 } else { 0.0 });
    }
    families.add_known(metric::RESTORE_SECONDS, &labels, series.restore.as_ref().map(|restore| restore.seconds));
    families.add_known(metric::RECOVERY_POINT_GAP, &labels, series.worst_gap_seconds.map(|seconds| seconds as f64));
}

fn add_at_destination(families: &mut Families, series: &SeriesStatus, at: &AtDestination) {
    let labels = [labels(series), vec![("destination", at.destination.clone())]].concat();
    families.add_time(metric::LAST_SUCCESS, &labels, at.newest.as_ref().map(|newest| newest.time));
    families.add_time(metric::LAST_VERIFIED, &labels, at.verified.as_ref().map(|proof| proof.proved));
    families.add_time(metric::LAST_DRILLED, &labels, at.drilled.as_ref().map(|proof| proof.proved));
    families.add(metric::BACKUPS, &labels, at.backups as f64);
    families.add(metric::DAMAGED, &labels, at.damaged_backups as f64);
    families.add(metric::HELD, &labels, at.held_backups as f64);
}
