//! Archived WAL: its state at each destination, and its problems.

use chrono::{DateTime, Utc};
use longshore_config::Config;
use longshore_core::terms::MaxAge;
use longshore_core::unit::format_age;

use super::{Issue, IssueKind, WalStatus, destination_issue};
use crate::catalogs::Catalogued;
use crate::wal::status::{ArchivedWal, Completeness, ProblemKind, archives};

/// Returns the state of the archives of all clusters, or of the cluster of one job, and their
/// problems.
pub(super) fn wal(
    config: &Config,
    job: Option<&str>,
    (read, completeness): (&[Catalogued], Completeness),
    now: DateTime<Utc>,
) -> (Vec<WalStatus>, Vec<Issue>) {
    let only = job.map(|job| config.jobs.get(job).map(|job| job.site.cluster.name.as_str()));
    let (mut all, mut issues) = (Vec::new(), Vec::new());
    for settings in config.wal.values().filter(|archive| only.is_none_or(|only| only == Some(&archive.cluster))) {
        let state = archives(settings, read, completeness, now);
        let found: Vec<_> =
            state.archives.iter().filter_map(|archived| WalStatus::of(&settings.cluster, archived)).collect();
        let problems = state
            .problems
            .into_iter()
            .filter_map(|problem| Some((issue_kind(problem.kind)?, problem.destination, problem.message)));
        let stale = read.iter().filter(|at| settings.ship.contains(&at.name)).filter_map(|at| {
            let newest = found.iter().filter(|archive| archive.destination == at.name);
            let (kind, message) = stale(newest, settings.max_age, now)?;
            Some((kind, at.name.clone(), message))
        });
        issues.extend(problems.chain(stale).map(|(kind, destination, message)| {
            destination_issue(kind, &destination, format!("WAL of {}: {message}", settings.cluster))
        }));
        all.extend(found);
    }
    (all, issues)
}

fn issue_kind(kind: ProblemKind) -> Option<IssueKind> {
    match kind {
        ProblemKind::Lost => Some(IssueKind::WalLost),
        ProblemKind::Behind => Some(IssueKind::WalMissing),
        ProblemKind::Forked => Some(IssueKind::WalForked),
        ProblemKind::Past => None,
    }
}

impl WalStatus {
    /// Returns the state of one archive, unless it has no segment.
    fn of(cluster: &str, archived: &ArchivedWal) -> Option<Self> {
        let last = archived.timelines.last()?;
        Some(Self {
            cluster: cluster.to_owned(),
            destination: archived.destination.clone(),
            system_identifier: archived.system_identifier.clone(),
            timeline: last.timeline,
            last_segment: last.last.clone(),
            last_stored: last.last_stored,
            recoverable_from: archived.recoverable_from,
            recoverable_until: archived.recoverable_until,
        })
    }
}

/// Returns the problem of an archive that receives no WAL.
fn stale<'a>(
    archives: impl Iterator<Item = &'a WalStatus>,
    max_age: Option<MaxAge>,
    now: DateTime<Utc>,
) -> Option<(IssueKind, String)> {
    let (max_age, limit) = max_age.and_then(|max_age| Some((max_age, max_age.limit()?)))?;
    let Some(newest) = archives.map(|archive| archive.last_stored).max() else {
        return Some((IssueKind::WalStale, format!("none is archived: max_age is {max_age}")));
    };
    let Some(newest) = newest else {
        return Some((IssueKind::Unknown, "its age is unknown, because the destination lists no times".to_owned()));
    };
    let age = now - newest;
    (age > limit).then(|| {
        let message = format!("the newest segment was stored {} ago: max_age is {max_age}", format_age(age));
        (IssueKind::WalStale, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_wal_is_a_problem_if_there_is_a_limit() {
        let max_age = Some(MaxAge::try_from("26h".to_owned()).unwrap());
        let status = |last_stored| WalStatus {
            cluster: "main".to_owned(),
            destination: "disk".to_owned(),
            system_identifier: "7".to_owned(),
            timeline: 1,
            last_segment: "000000010000000000000009".to_owned(),
            last_stored,
            recoverable_from: None,
            recoverable_until: None,
        };
        let time = |day: u32| format!("2026-11-{day:02}T03:00:00Z").parse::<DateTime<Utc>>().unwrap();
        let kind = |archives: &[WalStatus], max_age| stale(archives.iter(), max_age, time(9)).map(|(kind, _)| kind);
        assert_eq!(kind(&[status(Some(time(8)))], max_age), None);
        assert_eq!(kind(&[status(Some(time(7)))], max_age), Some(IssueKind::WalStale));
        assert_eq!(kind(&[status(Some(time(7)))], None), None);
        assert_eq!(kind(&[], max_age), Some(IssueKind::WalStale));
        assert_eq!(kind(&[status(None)], max_age), Some(IssueKind::Unknown));
    }
}
