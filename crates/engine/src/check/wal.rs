//! The check of a WAL archive: a segment that the server has ended arrives at every destination.

use std::sync::Arc;
use std::time::Duration;

use longshore_config::registry::Registry;
use longshore_config::{Config, Job, WalArchive};
use longshore_core::check::{Finding, Outcome};
use longshore_core::plugin::Identities;
use longshore_core::stage::{Dump, EndedSegment};
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::segment::SegmentSize;
use tokio::time::{Instant, sleep};

use crate::wal::archive::{ArchiveAt, open_all};
use crate::wal::fetch::Reader;
use crate::wal::needed::needed_wal;

/// The time in which a segment must arrive. The server waits a minute after three failures.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(75);
const ARRIVAL_POLL: Duration = Duration::from_millis(500);

/// Checks the archives of the clusters of these jobs.
pub(super) async fn check_archives(
    config: &Config,
    registry: &Registry,
    jobs: &[&Job],
    identities: &Identities,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for archive in config.wal.values() {
        let of_cluster = jobs.iter().filter(|job| job.site.cluster.name == archive.cluster);
        let dumps: Vec<Arc<dyn Dump>> = of_cluster
            .flat_map(|job| job.dump.iter().map(|dump| dump(&job.site)))
            .filter_map(|dump| dump.map(Arc::from).ok())
            .collect();
        let Some(source) = dumps.iter().find_map(|dump| dump.archiving()) else {
            if jobs.len() == config.jobs.len() {
                findings.push(Finding::warning(
                    subject(archive),
                    "no job makes base backups of this cluster: WAL alone cannot be restored",
                    "add a job with dump = [{ type = \"pg_base\" }]",
                ));
            }
            continue;
        };
        let of_settings = source.check(&archive.receive.slot).await;
        let archives = of_settings.iter().all(|finding| finding.outcome != Outcome::Failed);
        findings.extend(of_settings);
        if archives {
            match source.end_segment().await {
                Ok(ended) => findings.extend(check_arrival(config, registry, archive, &ended, identities).await),
                Err(error) if error.kind() == Kind::Refused => {
                    let remedy = "run `longshore check` against the primary";
                    findings.push(Finding::warning(subject(archive), format!("not tested: {error}"), remedy));
                }
                Err(error) => findings.push(Finding::failed(subject(archive), &error)),
            }
        }
    }
    findings
}

/// Checks that the archive of a job's cluster has the WAL that the job's base backups lack.
pub(super) fn check_needed(config: &Config, job: &Job) -> Option<Finding> {
    // Invalid settings are reported by the check of the server.
    let dumps = job.dump.iter().filter_map(|dump| dump(&job.site).map(Arc::from).ok());
    let needed = needed_wal(config, job, &dumps.collect::<Vec<_>>());
    needed.err().map(|error| Finding::failed(format!("job {}", job.name), &error))
}

fn subject(archive: &WalArchive) -> String {
    format!("WAL of {}", archive.cluster)
}

/// Waits until a segment is at every destination, and reads it if there is an identity.
async fn check_arrival(
    config: &Config,
    registry: &Registry,
    settings: &WalArchive,
    ended: &EndedSegment,
    identities: &Identities,
) -> Vec<Finding> {
    let folder = WalFolder { cluster: settings.cluster.clone(), system_identifier: ended.system_identifier };
    let unexpected = |message: &str| Error::new(Stage::Connect, Kind::Failed, &ended.name, message);
    let parsed = ended.name.parse::<ArchiveName>().map_err(|error| unexpected("not a segment").because(error));
    let size = SegmentSize::new(ended.segment_bytes).map_err(|error| unexpected("of no valid size").because(error));
    let (name, size) = match parsed.and_then(|name| Ok((name, size?))) {
        Ok(both) => both,
        Err(error) => return vec![Finding::failed(subject(settings), &error)],
    };
    let reader = Reader { registry, identities, system_identifier: ended.system_identifier, size };
    let deadline = Instant::now() + ARRIVAL_TIMEOUT;
    let mut findings = Vec::new();
    for (destination, archive) in open_all(config, settings, &folder) {
        let arrived = async {
            let archive = archive.as_ref().map_err(Clone::clone)?;
            let file = arrival(archive, name, deadline).await?;
            if reader.encryption(&file)?.is_some_and(|encryption| !registry.can_decrypt(encryption, identities)) {
                return Ok::<_, Error>("is archived".to_owned());
            }
            let begun = Instant::now();
            reader.read(archive, &file).await?;
            Ok(format!("is archived, and read back in {:.1} s", begun.elapsed().as_secs_f64()))
        };
        findings.push(match arrived.await {
            Ok(state) => Finding::good(subject(settings), format!("{} {state} at \"{destination}\"", ended.name)),
            Err(error) if error.kind() == Kind::Denied => Finding::warning(
                subject(settings),
                format!(
                    "\"{destination}\" cannot be listed by this host, so it is unknown whether {} arrived",
                    ended.name
                ),
                "run `longshore wal status` on a host that may list it",
            ),
            Err(error) => Finding::failed(subject(settings), &error),
        });
    }
    findings
}

/// Waits until a file is listed.
async fn arrival(archive: &ArchiveAt, name: ArchiveName, deadline: Instant) -> Result<WalKey> {
    loop {
        if let Some(file) = archive.list(name).await?.pop() {
            return Ok(file);
        }
        if Instant::now() >= deadline {
            let message =
                format!("did not arrive at \"{}\" within {} s", archive.destination, ARRIVAL_TIMEOUT.as_secs());
            return Err(Error::new(Stage::Ship, Kind::Failed, name.to_string(), message)
                .hint("read the server's log, which has the messages of archive_command, and pg_stat_archiver"));
        }
        sleep(ARRIVAL_POLL).await;
    }
}
