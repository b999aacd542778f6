//! Accepting the present state of a host's chain of run reports.

use std::collections::BTreeSet;

use longshore_config::Config;
use longshore_core::key::{BackupName, encode_name};
use longshore_core::run_report::ReportName;
use longshore_core::{Error, Kind, Result, Stage};

use crate::catalogs::read_catalogs;
use crate::trust::{JobKey, Memory, report_name};

/// Accepts the present state of the chains of a host at all destinations. With the name of a
/// destination instead of a host, accepts everything there. Returns the destinations where
/// something was accepted.
///
/// # Errors
///
/// Fails if what this host saw cannot be read or written, if a destination cannot be read, or if
/// none has reports of the host.
pub async fn accept_chain(config: &Config, host: &str) -> Result<Vec<String>> {
    let mut accepted = Vec::new();
    let mut known = BTreeSet::new();
    let mut unreachable = None;
    for (destination, at) in read_catalogs(config, None).await? {
        let at = match at {
            Ok(at) => at,
            Err(error) => {
                unreachable = unreachable.or(Some(error));
                continue;
            }
        };
        let mut memory = Memory::open(config, &destination)?;
        if destination == host {
            // The next look begins anew.
            memory.clear();
            memory.save()?;
            accepted.push(destination);
            continue;
        }
        let mut jobs: BTreeSet<JobKey> = BTreeSet::new();
        for (job, reports) in memory.reports.jobs() {
            known.extend(reports.values().map(|report| report.host.clone()));
            if reports.values().any(|report| report.host == host) {
                jobs.insert(job.clone());
            }
        }
        if jobs.is_empty() {
            continue;
        }
        let is_of_host = |name: ReportName| memory.reports.get(&name).is_some_and(|known| known.host == host);
        memory.restarted.retain(|key| !report_name(key).is_some_and(is_of_host));
        let listed: BTreeSet<ReportName> = at.catalog.reports.iter().filter_map(report_name).collect();
        memory.reports.retain(|(cluster, job), id, known| {
            let is_of_host = known.host == host;
            if is_of_host {
                // A forked chain is accepted as it is.
                known.previous = None;
            }
            let name = ReportName { cluster: cluster.clone(), job: job.clone(), id: id.clone() };
            !is_of_host || listed.contains(&name)
        });
        let there: BTreeSet<&BackupName> = at.catalog.backups().map(|backup| &backup.name).collect();
        memory.manifests.retain(|name, _| memory.backups.get(name).is_some_and(|job| !jobs.contains(job)));
        memory.backups.retain(|name, job| there.contains(name) || !jobs.contains(job));
        let clusters: BTreeSet<&String> = jobs.iter().map(|(cluster, _)| cluster).collect();
        memory.systems.retain(|cluster, _| !clusters.contains(&encode_name(cluster)));
        memory.save()?;
        accepted.push(destination);
    }
    // The present state of the others is accepted all the same.
    if let Some(error) = unreachable {
        return Err(error);
    }
    if accepted.is_empty() {
        let names: Vec<String> = known.into_iter().collect();
        let hint = match names.is_empty() {
            true => "this host has seen no signed run reports yet".to_owned(),
            false => format!("known hosts: {}", names.join(", ")),
        };
        return Err(Error::new(Stage::Trust, Kind::Usage, host, "no run reports of this host were seen").hint(hint));
    }
    Ok(accepted)
}
