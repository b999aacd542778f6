//! The cost of listing a destination with many backups.

use longshore_testkit::sample_backups;

use super::Bench;
use super::bench_dir::{BenchDir, local};
use super::comparison::{Comparison, compare};
use super::database::Database;
use crate::{Result, setup};

/// The number of series, and the number of backups in each.
const SERIES: (usize, usize) = (20, 500);

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    setup::for_demo()?;
    let cluster = Database::none()?;
    let bench_dir = BenchDir::make()?;
    let near = bench_dir.folder("near")?;
    let (series, each) = SERIES;
    sample_backups::fill(&near, series, each);
    let job = "dump = [{ type = 'pg_dump' }]\n";
    let config = bench_dir.configure("config.toml", &cluster, &[("near", local(&near))], job)?;
    let comparison = compare(
        &format!("a destination of {} backups", series * each),
        bench.rounds,
        0,
        &[
            (
                "find | xargs jq .subject",
                format!("find {} -name '*_??????.json' -print0 | xargs -0 jq -c .subject > /dev/null", near.display()),
            ),
            ("longshore list", format!("{} --config {config} list > /dev/null", bench.longshore()?.display())),
        ],
    )?;
    Ok(vec![comparison])
}
