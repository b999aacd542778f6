//! The cost of listing a destination with many backups.

use longshore_testkit::runs;

use super::Bench;
use super::contest::{Contest, contest};
use super::database::Database;
use super::site::{Site, local};
use crate::{Result, setup};

/// The number of series, and the number of backups in each.
const SERIES: (usize, usize) = (20, 500);

pub(super) fn contests(bench: &Bench) -> Result<Vec<Contest>> {
    setup::for_demo()?;
    let cluster = Database::none()?;
    let site = Site::make()?;
    let near = site.folder("near")?;
    let (series, each) = SERIES;
    runs::lay(&near, series, each);
    let job = "dump = [{ type = 'pg_dump' }]\n";
    let config = site.configure("config.toml", &cluster, &[("near", local(&near))], job)?;
    let contest = contest(
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
    Ok(vec![contest])
}
