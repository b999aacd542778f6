//! Accepting the present state of a host's chain of run reports.

use std::collections::BTreeSet;

use longshore_config::Config;
use longshore_core::key::{BackupName, Key, encode_name};
use longshore_core::{Error, Kind, Result, Stage};

use crate::catalogs::read_catalogs;
use crate::trust::{JobKey, KnownReport, Memory, report_key};

/// Accepts the present state of the chains of a host at all destinations, or at all hosts' for
/// clusters that were created anew. Returns the destinations where something was accepted.
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
        known.extend(memory.reports.values().map(|report| report.host.clone()));
        let jobs: BTreeSet<JobKey> = memory
            .reports
            .iter()
            .filter(|(_, known)| known.host == host)
            .filter_map(|(key, _)| report_key(key).map(|name| (name.cluster, name.job)))
            .collect();
        if jobs.is_empty() {
            continue;
        }
        let listed: BTreeSet<&Key> = at.catalog.reports.iter().collect();
        let of_host = |known: &KnownReport| known.host == host;
        memory.restarted.retain(|key| memory.reports.get(key).is_some_and(|known| !of_host(known)));
        memory.reports.retain(|key, known| !of_host(known) || listed.contains(key));
        // A forked chain is accepted as it is.
        memory.reports.values_mut().filter(|known| of_host(known)).for_each(|known| known.previous = None);
        let there: BTreeSet<&BackupName> = at.catalog.backups().map(|backup| &backup.name).collect();
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
