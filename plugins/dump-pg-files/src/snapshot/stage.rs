//! The stage that reads a snapshot.

use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use chrono::Utc;
use longshore_core::check::{Check, Finding};
use longshore_core::plugin::JobContext;
use longshore_core::stage::{Archiving, Discovery, Dump, Dumped, HeldSnapshot, KeptSnapshot, SnapshotFiles, Snapshots};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::settings::Wal;
use longshore_pg_client::client::Client;

use super::crash::CrashedCluster;
use super::held::{Candidate, Held};
use super::kept;
use super::maker::{Maker, prefix};
use super::settings::{Consistency, Snapshot};
use super::volume::{expect_wal_inside, expect_whole};
use crate::backup::{self, Backup};
use crate::dumper::{blocking, choices, discover, dumped, expect_base, known_data_directory, locate, version};
use crate::listing::{Listing, UnloggedContent};
use crate::location::{self, Location, unreadable};
use crate::session::{BackupEnd, BackupSession, ServerFacts};
use crate::settings::{PgFiles, label};
use crate::source::Source;
use crate::{BASE, check};

/// A stage with its settings.
pub(crate) struct SnapshotDumper {
    settings: Snapshot,
    /// The settings of the backup itself.
    files: PgFiles,
    site: JobContext,
    client: Client,
}

impl SnapshotDumper {
    pub(crate) fn new(settings: Snapshot, site: JobContext, client: Client) -> Self {
        Self { files: settings.files(), settings, site, client }
    }

    /// Returns the maker of snapshots of these folders, after a check that they are whole.
    async fn maker(&self, location: Location) -> Result<Maker> {
        let consistency = self.settings.consistency;
        let location = blocking(move || {
            let location = without_links(location)?;
            expect_whole(&location)?;
            if consistency == Consistency::Crash {
                expect_wal_inside(&location)?;
            }
            Ok(location)
        })
        .await?;
        let maker = Maker::new(&self.settings, location, self.client.name()).await?;
        if consistency == Consistency::Crash {
            maker.expect_one_moment()?;
        }
        Ok(maker)
    }

    /// Makes a snapshot between the start and the stop of a backup at the server.
    async fn snapshot_in_backup(&self, held: &Held, major: u32) -> Result<(Location, Source, BackupEnd)> {
        let PgFiles { wal, checkpoint, .. } = self.files;
        let mut session = BackupSession::start(&self.client, &label(Utc::now()), checkpoint, wal, BASE).await?;
        let started = std::time::Instant::now();
        let location = held.create(major).await?;
        let created = started.elapsed();
        let end = session.stop().await?;
        tracing::info!(target: "longshore::snapshot", ?created, stopped = ?started.elapsed(), "made a snapshot");
        Ok((location, Source::Running(Box::new(session)), end))
    }

    /// Makes a snapshot that contains the WAL of the server, which takes no part.
    async fn crash_snapshot(
        &self,
        held: &Held,
        facts: ServerFacts,
        live: Location,
    ) -> Result<(Location, Source, BackupEnd)> {
        expect_crash_safe(&facts, self.client.name())?;
        let major = version(&facts.version, self.client.name())?.major;
        let location = held.create(major).await?;
        let snapshot = location.clone();
        let cluster = blocking(move || CrashedCluster::read(&snapshot, &facts, &live)).await?;
        let end = cluster.end.clone();
        Ok((location, Source::Crashed(cluster), end))
    }

    /// Completes a snapshot that stays on the host if its backup succeeds. Returns other snapshots
    /// as they are.
    async fn candidate(
        &self,
        held: Held,
        source: &Source,
        end: &BackupEnd,
        data: &Path,
    ) -> Result<(Option<Held>, Option<Box<dyn HeldSnapshot>>)> {
        let Some(keep) = self.settings.keep_on_host else { return Ok((Some(held), None)) };
        let (end, data) = (end.clone(), data.to_owned());
        let held = blocking(move || {
            let size = location::control(&data)?.0.wal_segment_size;
            held.complete(&end, &data, size).map(|()| held)
        })
        .await?;
        Ok((None, Some(Box::new(Candidate { held, keep, details: source.details() }))))
    }
}

#[async_trait]
impl Snapshots for SnapshotDumper {
    async fn kept(&self) -> Result<Vec<KeptSnapshot>> {
        let kept = kept::read(self.settings.kept_dir(), &prefix(self.client.name()))?;
        Ok(kept.into_iter().map(|(name, record)| record.snapshot(name)).collect())
    }

    async fn open(&self, snapshot: &KeptSnapshot) -> Result<SnapshotFiles> {
        kept::open(self.settings.kept_dir(), &snapshot.name, self.settings.programs()).await
    }
}

/// Fails if the server is a standby, or would not survive a crash.
fn expect_crash_safe(facts: &ServerFacts, cluster: &str) -> Result<()> {
    let refused = |message: &str, hint: &str| Err(Error::new(Stage::Dump, Kind::Refused, cluster, message).hint(hint));
    if facts.fsync == "off" {
        let message =
            "fsync is off, so the server would not survive a crash, and a crash-consistent snapshot is useless";
        return refused(message, "set fsync = on on the server, or consistency = \"backup\"");
    }
    if facts.is_standby {
        return refused("a standby, of which no crash-consistent snapshot is made", "set consistency = \"backup\"");
    }
    Ok(())
}

/// Returns the folders by paths without links, as the list of mounts has them.
fn without_links(location: Location) -> Result<Location> {
    let resolved = |path: PathBuf| fs::canonicalize(&path).map_err(|error| unreadable(&path, error));
    let tablespaces = location.tablespaces.into_iter().map(|(oid, path)| Ok((oid, resolved(path)?)));
    Ok(Location { tablespaces: tablespaces.collect::<Result<_>>()?, data: resolved(location.data)? })
}

#[async_trait]
impl Dump for SnapshotDumper {
    async fn discover(&self) -> Result<Discovery> {
        discover(&self.client).await
    }

    async fn dump(&self, subject: &Subject) -> Result<Dumped> {
        expect_base(subject)?;
        let PgFiles { wal, damaged_pages, .. } = self.files;
        // The volumes are found before the backup begins, so that the snapshot follows it at once.
        let facts = ServerFacts::query(&self.client).await?;
        let version = version(&facts.version, self.client.name())?;
        let major = version.major;
        let live = locate(&self.files, &facts, self.client.name()).await?;
        let (held, warnings) = Held::prepare(self.maker(live.clone()).await?).await?;
        let (location, source, end) = match self.settings.consistency {
            Consistency::Backup => self.snapshot_in_backup(&held, major).await?,
            Consistency::Crash => self.crash_snapshot(&held, facts, live.clone()).await?,
        };
        let wal_from = match self.settings.consistency {
            Consistency::Backup => live.data,
            Consistency::Crash => location.data.clone(),
        };
        let listed = location.clone();
        let listing = blocking(move || Listing::of(&listed, major, UnloggedContent::Omitted)).await?;
        let (held, candidate) = self.candidate(held, &source, &end, &wal_from).await?;
        let backup = Backup {
            choices: choices(&self.files, &source),
            source,
            live_data: wal_from,
            location,
            listing,
            major,
            wal,
            damaged_pages,
            snapshot: Some(backup::Snapshot { held, end }),
            warnings,
        };
        let dumped = dumped(backup, &self.files, &self.site, &version);
        Ok(Dumped { snapshot: candidate, ..dumped })
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn needs_wal_archive(&self) -> bool {
        self.files.wal == Wal::Archive
    }

    fn archiving(&self) -> Option<&dyn Archiving> {
        Some(&self.client)
    }

    async fn data_directory(&self) -> Option<PathBuf> {
        known_data_directory(&self.files, &self.client).await
    }
}

#[async_trait]
impl Check for SnapshotDumper {
    async fn check(&self) -> Vec<Finding> {
        let (mut findings, location) = check::findings(&self.files, &self.client).await;
        let subject = format!("cluster {}", self.client.name());
        let Some(location) = location else { return findings };
        if self.settings.consistency == Consistency::Crash {
            let facts = ServerFacts::query(&self.client).await;
            let safe = facts.and_then(|facts| expect_crash_safe(&facts, self.client.name()));
            findings.extend(safe.err().map(|error| Finding::failed(&subject, &error)));
        }
        let maker = self.maker(location).await;
        match maker.and_then(|maker| maker.existing().map(|names| (maker, names))) {
            Ok((maker, names)) => {
                findings.push(Finding::good(&subject, maker.description()));
                let remedy = "the next run removes it, unless another run uses it";
                findings.extend(
                    names.iter().map(|name| Finding::warning(&subject, format!("snapshot {name} exists"), remedy)),
                );
            }
            Err(error) => findings.push(Finding::failed(&subject, &error)),
        }
        findings
    }
}
