//! The cost of retention decisions, compared with restic's `forget` on the same number of
//! snapshots, and for a million backups.

use longshore_testkit::restic::Repository;
use longshore_testkit::sample_backups::{BACKUPS_PER_SERIES, every_six_hours};

use super::comparison::{Comparison, compare};
use super::{Bench, build_release};
use crate::{Result, setup};

/// The example policy, as options of restic.
const POLICY: &str = "--keep-hourly 24 --keep-daily 30 --keep-weekly 8 --keep-monthly 24 --keep-yearly 10";

/// The number of series that have a million backups in total.
const MANY: usize = 1_000_000 / BACKUPS_PER_SERIES;

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    setup::for_demo()?;
    let plan = build_release(&["--package", "longshore-core", "--example", "plan_many"], "examples/plan_many")?;
    let plan = |series: usize| format!("{} {series} > /dev/null", plan.display());
    let series = bench.scale as usize;
    let mut repository = Repository::make();
    for host in 0..series {
        every_six_hours().for_each(|time| repository.add(&host.to_string(), time));
    }
    let restic = |what: &str| {
        let restic = repository.restic();
        let arguments = restic.get_args().map(|argument| argument.to_string_lossy());
        let variables =
            restic.get_envs().filter_map(|(name, value)| Some((name.to_string_lossy(), value?.to_string_lossy())));
        let variables: Vec<_> = variables.map(|(name, value)| format!("{name}='{value}'")).collect();
        format!("{} restic {} {what} > /dev/null", variables.join(" "), arguments.collect::<Vec<_>>().join(" "))
    };
    let backups = series * BACKUPS_PER_SERIES;
    let beside = compare(
        &format!("{backups} backups in {series} series"),
        bench.rounds,
        0,
        &[
            ("restic forget --dry-run", restic(&format!("forget --dry-run --group-by host --json {POLICY}"))),
            ("restic snapshots (without decisions)", restic("snapshots --json")),
            ("longshore's plan (without reading)", plan(series)),
        ],
    )?;
    let many = compare(
        &format!("a million backups in {MANY} series"),
        bench.rounds,
        0,
        &[("longshore's plan (without reading)", plan(MANY))],
    )?;
    Ok(vec![beside, many])
}
