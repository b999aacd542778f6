//! Selection of run reports that are too old or too many.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_core::key::Key;
use longshore_core::run_report::{Id, ReportName};
use longshore_core::stage::Store;

/// The verb in the names of statements of removals.
pub(crate) const REMOVAL: &str = "removal";

/// The maximum number of reports of a job.
const MAX_COUNT: usize = 400;
/// The maximum age of a report.
const MAX_AGE: TimeDelta = TimeDelta::days(400);

/// Returns the reports of a job to remove. The newest of each command is kept at any age, since it
/// shows the outcome of the command's last run. The statement of a removal is kept as long as an
/// older report, which may state the removed backup.
pub(crate) fn surplus<'a>(ids: impl IntoIterator<Item = &'a Id>, now: DateTime<Utc>) -> BTreeSet<&'a Id> {
    let (statements, ids): (Vec<&Id>, Vec<&Id>) = ids.into_iter().partition(|id| id.verb == REMOVAL);
    let newest_first: BTreeSet<_> = ids.into_iter().map(std::cmp::Reverse).collect();
    let (mut verbs, mut surplus, mut oldest) = (BTreeSet::new(), BTreeSet::new(), None);
    for (index, std::cmp::Reverse(id)) in newest_first.into_iter().enumerate() {
        let is_newest = verbs.insert(&id.verb);
        if !is_newest && (index >= MAX_COUNT || now - id.time.time() > MAX_AGE) {
            surplus.insert(id);
        } else {
            oldest = Some(id.time);
        }
    }
    surplus.extend(statements.into_iter().filter(|id| oldest.is_some_and(|oldest| id.time < oldest)));
    surplus
}

/// Removes the surplus reports of a job among these keys of a destination. A destination that
/// refuses keeps them: a lock or a missing permission is not an error.
pub(crate) async fn prune(store: &dyn Store, keys: &[Key], cluster: &str, job: &str) {
    let named: Vec<(ReportName, &Key)> = keys.iter().filter_map(|key| Some((ReportName::of_file(key)?, key))).collect();
    let of_job = || named.iter().filter(|(name, _)| name.belongs_to(cluster, job));
    let surplus = surplus(of_job().map(|(name, _)| &name.id), Utc::now());
    for (_, key) in of_job().filter(|(name, _)| surplus.contains(&name.id)) {
        if store.remove(key).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_by_count_and_age_but_keeps_newest_of_verb() {
        let now: DateTime<Utc> = "2026-11-29T12:00:00Z".parse().unwrap();
        let id = |days: i64, verb: &str| Id::new(now - TimeDelta::days(days), verb, "0");
        let old = [id(900, "drill"), id(800, "drill"), id(500, "run"), id(401, "run"), id(400, "run"), id(1, "run")];
        assert_eq!(surplus(&old, now), BTreeSet::from([&old[0], &old[2], &old[3]]));
        let hourly = |hours: i64| Id::new(now - TimeDelta::hours(hours), "run", "0");
        let mut many: Vec<Id> = (0..450).map(hourly).collect();
        many.push(id(30, "prune"));
        let removed = surplus(&many, now);
        assert_eq!(removed.len(), 50);
        assert!(
            removed.contains(&hourly(449)) && !removed.contains(&hourly(399)) && !removed.contains(&id(30, "prune"))
        );
    }
}
