//! Warnings of a prune: backups of unknown origin, and holds that were deleted.

use longshore_core::key::BackupName;
use longshore_core::mark::RememberedHold;
use longshore_core::retention::{Hold, Reason};

use super::report::SeriesPruned;
use crate::problem::Problem;

/// The number of backups that are named.
const NAMED: usize = 3;

/// Returns the warning that this host knows no runs of a job.
pub(super) fn unknown_runs(job: &str) -> Problem {
    Problem {
        message: format!(
            "this host has no report of a run of job \"{job}\": every backup of the job counts, whichever host made it"
        ),
        hint: Some("keep state_dir from one run to the next: retention then counts this host's own backups".to_owned()),
    }
}

/// Returns the warning of backups that no run of this host made, if a series has any.
pub(super) fn unproven(series: &SeriesPruned) -> Option<Problem> {
    let unproven = series.keep.iter().filter(|kept| kept.reasons.contains(&Reason::Unproven));
    let names: Vec<&str> = unproven.map(|kept| kept.name.as_str()).collect();
    let first = names.first()?;
    let message = match names.len() {
        1 => format!("{first} was made by no run that this host knows: it does not count, and stays"),
        count => format!(
            "{count} backups of {}/{} were made by no run that this host knows: they do not count, and stay ({})",
            series.cluster,
            series.subject,
            few(&names)
        ),
    };
    let hint = format!(
        "`longshore verify {first} --identity FILE` decodes it, from then on it counts; `longshore remove {first}` removes it"
    );
    Some(Problem { message, hint: Some(hint) })
}

/// Returns the warning that a hold was deleted, or that its backup was.
pub(super) fn lost_hold(name: &BackupName, is_there: bool) -> Problem {
    match is_there {
        true => Problem {
            message: format!("the hold of {name} was deleted or shortened: the backup is still held"),
            hint: Some(format!("hold it again with `longshore hold`, or end the hold with `longshore unhold {name}`")),
        },
        false => Problem {
            message: format!("{name} was held, and is gone: no prune of this host removed it"),
            hint: Some("`longshore sync` copies it back from another destination; `longshore prune --despite listing` accepts the loss".to_owned()),
        },
    }
}

/// Returns the hold as retention counts it after its mark was deleted.
pub(super) fn still_held(hold: &RememberedHold) -> Hold {
    let Hold { until, why } = hold.hold();
    Hold { until, why: format!("{why} (its mark was deleted or shortened)") }
}

fn few(names: &[&str]) -> String {
    match names.len() {
        all if all <= NAMED => names.join(", "),
        all => format!("{} and {} more", names[..NAMED].join(", "), all - NAMED),
    }
}
