//! Which backups to keep: a pure decision, with its reasons.
//!
//! The rules are a union: a backup is kept if any rule keeps it. Each rule keeps the newest backup of a period (an hour, a day, an ISO
//! week, a month, a year, all in UTC) and counts only periods that have a good one, so days without backups use nothing up. What is
//! damaged or dated in the future takes no place, and is never planned for removal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::{Deserialize, Serialize};

use crate::catalog::Backup;
use crate::error::{Error, Kind, Result, Stage};
use crate::key::BackupName;

/// How many backups of a series to keep. Counts are of periods that have a good backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The newest, whatever their age.
    pub keep_last: u32,
    /// The newest of each of the newest hours.
    pub keep_hourly: u32,
    /// The newest of each of the newest days.
    pub keep_daily: u32,
    /// The newest of each of the newest ISO weeks.
    pub keep_weekly: u32,
    /// The newest of each of the newest months.
    pub keep_monthly: u32,
    /// The newest of each of the newest years.
    pub keep_yearly: u32,
}

/// Why a backup is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is the newest good backup of its series, which nothing removes.
    Newest,
    /// One of the newest.
    Last,
    /// The newest of its hour.
    Hourly,
    /// The newest of its day.
    Daily,
    /// The newest of its ISO week.
    Weekly,
    /// The newest of its month.
    Monthly,
    /// The newest of its year.
    Yearly,
    /// A kept backup cannot be fully restored without it.
    NeededBy(BackupName),
    /// It is dated in the future: a clock was wrong, and a person should look.
    FutureDated,
    /// Something speaks against it: a person should look.
    NotGood,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest"),
            Self::Last => f.write_str("last"),
            Self::Hourly => f.write_str("hourly"),
            Self::Daily => f.write_str("daily"),
            Self::Weekly => f.write_str("weekly"),
            Self::Monthly => f.write_str("monthly"),
            Self::Yearly => f.write_str("yearly"),
            Self::NeededBy(name) => write!(f, "needed by {}", name.file_name()),
            Self::FutureDated => f.write_str("dated in the future: look at the clocks"),
            Self::NotGood => f.write_str("damaged: look at it with `longshore verify`"),
        }
    }
}

/// Names the period that a time falls into.
type Period = fn(DateTime<Utc>) -> String;

/// What to do with the backups of a series at a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What stays, newest first, each with every reason.
    pub keep: Vec<(BackupName, Vec<Reason>)>,
    /// What no rule keeps, oldest first.
    pub remove: Vec<BackupName>,
}

impl Policy {
    /// A policy that keeps nothing is a mistake in writing it.
    pub fn check(&self, name: &str) -> Result<()> {
        if *self == Self::default() {
            return Err(Error::new(Stage::Retention, Kind::Refused, name, "the policy keeps nothing").hint(
                "set at least one of keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly",
            ));
        }
        Ok(())
    }

    /// The rules, each with the period that a time falls into.
    fn rules(&self) -> [(u32, Reason, Period); 5] {
        [
            (self.keep_hourly, Reason::Hourly, |time| format!("{} {}", time.date_naive(), time.hour())),
            (self.keep_daily, Reason::Daily, |time| time.date_naive().to_string()),
            (self.keep_weekly, Reason::Weekly, |time| format!("{:?}", time.iso_week())),
            (self.keep_monthly, Reason::Monthly, |time| format!("{}-{}", time.year(), time.month())),
            (self.keep_yearly, Reason::Yearly, |time| time.year().to_string()),
        ]
    }
}

/// Decides for one series at one destination. `needed` says which names kept backups of other series need, and who needs them.
pub fn plan(
    policy: &Policy,
    backups: &[Backup],
    needed: &BTreeMap<BackupName, BackupName>,
    now: DateTime<Utc>,
) -> Result<Plan> {
    policy.check("")?;
    let mut newest_first: Vec<&Backup> = backups.iter().collect();
    newest_first.sort_by(|a, b| (b.manifest.time, &b.name).cmp(&(a.manifest.time, &a.name)));

    let mut reasons: BTreeMap<&BackupName, Vec<Reason>> = BTreeMap::new();
    let mut counted = Vec::new();
    for backup in &newest_first {
        let aside = if backup.manifest.time.time() > now {
            Some(Reason::FutureDated)
        } else if !backup.is_good() {
            Some(Reason::NotGood)
        } else {
            counted.push(*backup);
            None
        };
        let needed = needed.get(&backup.name).map(|by| Reason::NeededBy(by.clone()));
        reasons.insert(&backup.name, aside.into_iter().chain(needed).collect());
    }

    let mut keep = |backup: &Backup, reason: Reason| {
        if let Some(reasons) = reasons.get_mut(&backup.name) {
            reasons.push(reason);
        }
    };
    if let Some(newest) = counted.first() {
        keep(newest, Reason::Newest);
    }
    for backup in counted.iter().take(policy.keep_last as usize) {
        keep(backup, Reason::Last);
    }
    for (count, reason, period) in policy.rules() {
        let mut periods = BTreeSet::new();
        let newest_of_period = counted.iter().filter(|backup| periods.insert(period(backup.manifest.time.time())));
        for backup in newest_of_period.take(count as usize) {
            keep(backup, reason.clone());
        }
    }

    let mut plan = Plan::default();
    for backup in newest_first {
        match reasons.remove(&backup.name) {
            Some(reasons) if !reasons.is_empty() => plan.keep.push((backup.name.clone(), reasons)),
            _ => plan.remove.push(backup.name.clone()),
        }
    }
    plan.remove.reverse();
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::Presence;
    use crate::key::Stamp;
    use crate::manifest::Manifest;

    fn backup(time: &str) -> Backup {
        let mut manifest: Manifest = serde_json::from_str(include_str!("../testdata/manifest-1.json")).unwrap();
        manifest.time = Stamp::parse(time).unwrap();
        Backup { name: manifest.name().unwrap(), manifest, artifact: Presence::Whole }
    }

    fn at(time: &str) -> DateTime<Utc> {
        Stamp::parse(time).unwrap().time()
    }

    /// The stamps that a plan removes.
    fn removed(policy: &Policy, backups: &[Backup], now: &str) -> Vec<String> {
        let plan = plan(policy, backups, &BTreeMap::new(), at(now)).unwrap();
        plan.remove.iter().map(|name| name.file_name().trim_start_matches("appdb-").to_owned()).collect()
    }

    #[test]
    fn the_rules_are_a_union_and_keep_the_newest_of_each_period() {
        let times = ["2026-06-05_030000", "2026-06-06_030000", "2026-06-06_150000", "2026-06-07_030000"];
        let backups: Vec<_> = times.map(backup).into();
        let policy = Policy { keep_last: 1, keep_daily: 2, ..Policy::default() };
        assert_eq!(removed(&policy, &backups, "2026-06-07_040000"), ["2026-06-05_030000", "2026-06-06_030000"]);
    }

    #[test]
    fn backups_failing_for_sixty_days_lose_nothing() {
        let backups: Vec<_> = ["2026-03-01_030000", "2026-03-02_030000", "2026-03-03_030000"].map(backup).into();
        let policy = Policy { keep_daily: 3, ..Policy::default() };
        assert!(removed(&policy, &backups, "2026-06-07_040000").is_empty());
    }

    #[test]
    fn an_iso_week_does_not_end_with_the_year() {
        // 2026-12-31 and 2027-01-01 are in ISO week 53 of 2026.
        let backups: Vec<_> = ["2026-12-31_030000", "2027-01-01_030000"].map(backup).into();
        let policy = Policy { keep_weekly: 2, ..Policy::default() };
        assert_eq!(removed(&policy, &backups, "2027-01-01_040000"), ["2026-12-31_030000"]);
    }

    #[test]
    fn a_damaged_backup_takes_no_place_and_is_not_removed() {
        let mut backups: Vec<_> = ["2026-06-05_030000", "2026-06-06_030000", "2026-06-07_030000"].map(backup).into();
        backups[2].artifact = Presence::Missing;
        let policy = Policy { keep_last: 1, ..Policy::default() };
        assert_eq!(removed(&policy, &backups, "2026-06-07_040000"), ["2026-06-05_030000"]);
    }

    #[test]
    fn a_backup_from_the_future_pushes_nothing_out() {
        let backups: Vec<_> = ["2026-06-06_030000", "2027-06-07_030000"].map(backup).into();
        let policy = Policy { keep_last: 1, ..Policy::default() };
        assert!(removed(&policy, &backups, "2026-06-07_040000").is_empty());
    }

    #[test]
    fn what_a_kept_backup_needs_is_kept() {
        let backups: Vec<_> = ["2026-06-06_030000", "2026-06-07_030000"].map(backup).into();
        let by = BackupName::new("main", "other", Stamp::parse("2026-06-06_030000").unwrap()).unwrap();
        let needed = BTreeMap::from([(backups[0].name.clone(), by.clone())]);
        let policy = Policy { keep_last: 1, ..Policy::default() };
        let plan = plan(&policy, &backups, &needed, at("2026-06-07_040000")).unwrap();
        assert!(plan.remove.is_empty());
        assert_eq!(plan.keep[1].1, [Reason::NeededBy(by)]);
    }

    #[test]
    fn a_policy_that_keeps_nothing_is_refused() {
        let error = plan(&Policy::default(), &[], &BTreeMap::new(), at("2026-06-07_040000")).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
    }

    proptest! {
        #[test]
        fn whatever_happened_the_newest_good_backup_stays_and_a_second_plan_removes_nothing(
            hours in prop::collection::btree_set(0_i64..20_000, 0..60),
            damaged in prop::collection::btree_set(0_usize..60, 0..10),
            counts in prop::array::uniform6(0_u32..5),
            now in 0_i64..20_000,
        ) {
            let [keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly] = counts;
            let policy = Policy { keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly };
            prop_assume!(policy.check("").is_ok());
            let start = at("2025-01-01_000000");
            let mut backups: Vec<_> = hours
                .iter()
                .map(|hour| backup(&Stamp::new(start + chrono::TimeDelta::hours(*hour)).to_string()))
                .collect();
            for place in damaged {
                if let Some(backup) = backups.get_mut(place) {
                    backup.artifact = Presence::Missing;
                }
            }
            let now = start + chrono::TimeDelta::hours(now);
            let first = plan(&policy, &backups, &BTreeMap::new(), now).unwrap();
            prop_assert_eq!(first.keep.len() + first.remove.len(), backups.len());
            let newest = backups.iter().rfind(|backup| backup.is_good() && backup.manifest.time.time() <= now);
            if let Some(newest) = newest {
                prop_assert!(!first.remove.contains(&newest.name));
            }
            backups.retain(|backup| !first.remove.contains(&backup.name));
            let second = plan(&policy, &backups, &BTreeMap::new(), now).unwrap();
            prop_assert!(second.remove.is_empty(), "{:?}", second.remove);
        }
    }
}
