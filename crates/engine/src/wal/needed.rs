//! The archived WAL that a base backup without WAL of its own needs: its manifest is stored only
//! where that WAL is, so that every listed backup can be restored.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_config::{Config, Job};
use longshore_core::manifest::Manifest;
use longshore_core::pipeline::{Destination, NeededWal};
use longshore_core::stage::Dump;
use longshore_core::wal_key::WalFolder;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::segment::{Segment, SegmentSize};
use tokio::time::{Instant, sleep};

use crate::wal::archive::ArchiveAt;

/// The time in which the WAL of a backup must arrive at a destination.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(300);
const ARRIVAL_POLL: Duration = Duration::from_secs(1);

/// Returns the requirement of a job whose base backups contain no WAL.
///
/// # Errors
///
/// Fails with [`Kind::Usage`] if a destination of the job is not one of the archive.
pub(crate) fn needed_wal(config: &Config, job: &Job, dumps: &[Arc<dyn Dump>]) -> Result<Option<Arc<dyn NeededWal>>> {
    if !dumps.iter().any(|dump| dump.needs_wal_archive()) {
        return Ok(None);
    }
    let cluster = &job.site.cluster.name;
    let usage = |message: String| {
        let hint = "set wal = \"include\", or add the destination to [cluster.NAME.wal]";
        Err(Error::new(Stage::Config, Kind::Usage, &job.name, message).hint(hint))
    };
    let Some(archive) = config.wal.get(cluster) else {
        return usage(format!("the job has wal = \"archive\", but the cluster \"{cluster}\" has no archive"));
    };
    match job.ship.iter().find(|destination| !archive.ship.contains(destination)) {
        Some(other) => {
            usage(format!("the job has wal = \"archive\", but the archive of \"{cluster}\" is not at \"{other}\""))
        }
        None => Ok(Some(Arc::new(Arrival))),
    }
}

/// The arrival of the segments at the destinations.
struct Arrival;

#[async_trait]
impl NeededWal for Arrival {
    async fn expect(&self, destination: &Destination, manifest: &Manifest) -> Result<()> {
        let subject = manifest.subject.to_string();
        let unknown = |message: &str| Error::new(Stage::Ship, Kind::Failed, subject.as_str(), message);
        let facts = manifest.base.as_ref().ok_or_else(|| unknown("has no positions in the WAL"))?;
        let system_identifier = manifest.cluster.server.system_identifier.as_ref().and_then(|text| text.parse().ok());
        let folder = WalFolder {
            cluster: manifest.cluster.name.clone(),
            system_identifier: system_identifier.ok_or_else(|| unknown("has no system identifier"))?,
        };
        let size = SegmentSize::new(facts.wal_segment_bytes)
            .map_err(|error| unknown("has no valid size of segments").because(error))?;
        let archive = ArchiveAt::new(&destination.name, Arc::clone(&destination.store), folder);
        let first = Segment::containing(facts.timeline, facts.start_lsn, size);
        let last = Segment::ending(facts.timeline, facts.stop_lsn, size);
        let deadline = Instant::now() + ARRIVAL_TIMEOUT;
        for number in first.number..=last.number {
            let name = Segment { timeline: facts.timeline, number }.name(size);
            let parsed = name.parse().map_err(|error| unknown("has no valid positions").because(error))?;
            while archive.list(parsed).await?.is_empty() {
                if Instant::now() > deadline {
                    let message =
                        format!("the WAL of the backup did not arrive within {} s", ARRIVAL_TIMEOUT.as_secs());
                    return Err(Error::new(Stage::Ship, Kind::Failed, &name, message).hint(
                        "the server must archive to this destination: `longshore check` finds the cause; or set \
                         wal = \"include\"",
                    ));
                }
                sleep(ARRIVAL_POLL).await;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::base::WalLocation;
    use longshore_core::key::Key;
    use longshore_testkit::memory::MemoryStore;

    use super::*;
    use crate::fixture::put_base_with;

    #[tokio::test(start_paused = true)]
    async fn every_segment_of_the_backup_must_arrive() {
        let store = MemoryStore::new();
        let manifest = put_base_with(&store, "2026-11-29_030000", |manifest| {
            let base = manifest.base.as_mut().unwrap();
            (base.wal, base.stop_lsn) = (WalLocation::Archive, "0/4000000".parse().unwrap());
        });
        let identifier = manifest.cluster.server.system_identifier.as_deref().unwrap();
        let put = |segment: &str| {
            let digest = "0".repeat(32);
            let log = &segment[..16];
            let key = format!("main/wal/{identifier}/{log}/{segment}-{digest}.zst.age");
            store.put(&Key::parse(&key).unwrap(), "x");
        };
        let destination = Destination { name: "near".to_owned(), store: Arc::new(store.clone()) };
        put("000000010000000000000002");
        let error = Arrival.expect(&destination, &manifest).await.unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Failed, "000000010000000000000003"));
        assert!(error.remedy().is_some());
        let arrives = async {
            sleep(ARRIVAL_TIMEOUT / 2).await;
            put("000000010000000000000003");
        };
        let (expected, ()) = tokio::join!(Arrival.expect(&destination, &manifest), arrives);
        expected.unwrap();
    }
}
