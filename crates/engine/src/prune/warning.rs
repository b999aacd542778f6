//! Warnings of a prune: manifests that cannot be read, backups of unknown origin, deleted holds.

use longshore_catalog::catalog::Catalog;
use longshore_core::key::{BackupName, Key};
use longshore_core::mark::RememberedHold;
use longshore_retention::{Hold, Reason};

use super::owner::Owner;
use super::report::SeriesPruned;
use crate::error_report::ErrorReport;

/// The maximum number of backups that a warning names.
const MAX_NAMES: usize = 3;

/// Returns the warning that this host knows no runs of a job.
pub(super) fn unknown_runs(job: &str) -> ErrorReport {
    ErrorReport {
        message: format!(
            "this host has no report of a run of job \"{job}\": every backup of the job counts, even those of other hosts"
        ),
        hint: Some("keep state_dir between runs: retention then counts only this host's own backups".to_owned()),
    }
}

/// Returns a problem for each manifest of the owners' clusters that the destination refused to
/// return. Its backup, and the backups that it needs, are kept.
pub(super) fn denied_manifests(catalog: &Catalog, owners: &[Owner<'_>]) -> Vec<ErrorReport> {
    let clusters: Vec<_> =
        owners.iter().filter_map(|owner| owner.job()).map(|job| job.site.cluster.name.as_str()).collect();
    let is_of_owner = |key: &Key| key.as_str().split('/').next().is_some_and(|cluster| clusters.contains(&cluster));
    let denied = catalog.failed_fetches().filter(|(key, _)| is_of_owner(key));
    denied
        .map(|(key, error)| ErrorReport {
            message: format!("{key}: cannot be read, so its backup was kept: {}", error.chain()),
            hint: error.remedy().map(str::to_owned),
        })
        .collect()
}

/// Returns the warning about a series' backups that no known run made, if any.
pub(super) fn unproven(series: &SeriesPruned) -> Option<ErrorReport> {
    let unproven = series.keep.iter().filter(|kept| kept.reasons.contains(&Reason::Unproven));
    let names: Vec<&str> = unproven.map(|kept| kept.name.as_str()).collect();
    let first = names.first()?;
    let message = match names.len() {
        1 => format!("{first} was not made by a run that this host knows: it is kept, but does not count"),
        count => format!(
            "{count} backups of {}/{} were not made by a run that this host knows: they are kept, but do not count ({})",
            series.cluster,
            series.subject,
            format_names(&names)
        ),
    };
    let hint = format!(
        "`longshore verify {first} --identity FILE` decodes it, after which it counts; `longshore remove {first} --why REASON` removes it"
    );
    Some(ErrorReport { message, hint: Some(hint) })
}

/// Returns the warning that a hold, or its backup, was deleted.
pub(super) fn lost_hold(name: &BackupName, is_there: bool) -> ErrorReport {
    match is_there {
        true => ErrorReport {
            message: format!("the hold of {name} was deleted or shortened: the backup is still held"),
            hint: Some(format!("hold the backup again with `longshore hold`, or release it with `longshore unhold {name}`")),
        },
        false => ErrorReport {
            message: format!("{name} was held, but is missing: no prune of this host removed it"),
            hint: Some("`longshore sync` copies it back from another destination; `longshore prune --despite listing` accepts the loss".to_owned()),
        },
    }
}

/// Returns the hold that retention applies although its mark was deleted.
pub(super) fn effective_hold(hold: &RememberedHold) -> Hold {
    let Hold { until, why } = hold.hold();
    Hold { until, why: format!("{why} (its mark was deleted or shortened)") }
}

fn format_names(names: &[&str]) -> String {
    match names.len() {
        all if all <= MAX_NAMES => names.join(", "),
        all => format!("{} and {} more", names[..MAX_NAMES].join(", "), all - MAX_NAMES),
    }
}
