//! The newest run reports of all jobs, read from this host and from destinations.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use longshore_config::Config;
use longshore_config::registry::Registry;
use longshore_core::plugin::Identities;
use longshore_core::run_report::{Id, ReportName};

use super::last_run::{LastRun, Location};
use super::report_dir::ReportDir;
use crate::catalogs::Catalogued;

/// The number of reports that are read concurrently.
const MAX_CONCURRENT: usize = 16;

/// Reads up to `limit` reports of all jobs, the newest first. A report that cannot be read is
/// omitted: the status reports the problem.
pub(crate) async fn recent_runs(
    config: &Config,
    registry: &Registry,
    identities: &Identities,
    catalogs: &[Catalogued],
    limit: usize,
) -> Vec<LastRun> {
    // The status reports a folder that cannot be listed.
    let report_dirs = ReportDir::open_all(config, config.jobs.values()).unwrap_or_default();
    let mut all: BTreeMap<(Reverse<Id>, String, String), Vec<Location<'_>>> = BTreeMap::new();
    for (job, report_dir) in &report_dirs {
        for id in report_dir.reports().unwrap_or_default() {
            let name = ReportName::new(&job.site.cluster.name, &job.name, id);
            all.entry((Reverse(name.id), name.cluster, name.job)).or_default().push(Location::Local(report_dir));
        }
    }
    for at in catalogs {
        let reports = at.catalog.reports.iter().filter(|key| !ReportName::is_details(key));
        for name in reports.filter_map(ReportName::from_key) {
            all.entry((Reverse(name.id), name.cluster, name.job)).or_default().push(Location::Destination(at));
        }
    }
    let reads = all.into_iter().take(limit).map(async |((Reverse(id), cluster, job), locations)| {
        let name = ReportName { cluster, job, id };
        for location in locations {
            if let Ok(found) = location.read(&name, (registry, identities)).await {
                return Some(found);
            }
        }
        None
    });
    let read: Vec<Option<LastRun>> = stream::iter(reads).buffered(MAX_CONCURRENT).collect().await;
    read.into_iter().flatten().collect()
}
