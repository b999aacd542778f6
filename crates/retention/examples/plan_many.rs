//! Plans retention for the given number of series of 500 backups each, and prints the number of
//! removals. Measured by `cargo xtask bench retention`.
#![allow(clippy::print_stdout, reason = "the output shows that the plan is not empty")]
#![allow(clippy::unwrap_used, reason = "the measurement requires valid plans")]

use std::collections::BTreeMap;
use std::time::Instant;

use longshore_model::key::{BackupName, Timestamp};
use longshore_retention::{Candidate, Count, History, PlanContext, Policy, SeriesMode, plan};
use longshore_testkit::sample_backups::every_six_hours;

fn main() {
    let series: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let histories: Vec<History> = (0..series).map(history).collect();
    let policy = Policy {
        keep_hourly: Count::AtMost(24),
        keep_daily: Count::AtMost(30),
        keep_weekly: Count::AtMost(8),
        keep_monthly: Count::AtMost(24),
        keep_yearly: Count::AtMost(10),
        ..Policy::default()
    };
    let now = every_six_hours().last().unwrap();
    let start = Instant::now();
    let plan =
        plan(&policy, &histories, PlanContext { now, needed: &BTreeMap::new(), trust_clock: false, own_runs: None })
            .unwrap();
    let planned = start.elapsed().as_secs_f64();
    let backups: usize = plan.decisions.iter().map(Vec::len).sum();
    println!("{} of {backups} removed, planned in {planned:.2} s", plan.removals.len());
}

/// Creates a history. The first series contains the globals that the backups of the same run need.
fn history(series: usize) -> History {
    let name =
        |series: usize, time| BackupName::new("main", &format!("series-{series:04}"), Timestamp::new(time)).unwrap();
    let backups = every_six_hours().map(|time| Candidate {
        name: name(series, time),
        time,
        bytes: 1_000_000,
        good: true,
        verified: true,
        drilled: false,
        held: None,
        locked_until: None,
        restoring_until: None,
        begins_window: false,
        continues_others: false,
        needs: if series == 0 { Vec::new() } else { vec![name(0, time)] },
    });
    History { backups: backups.collect(), series_mode: SeriesMode::Policy }
}
