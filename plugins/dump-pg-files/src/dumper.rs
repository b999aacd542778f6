//! The stage that reads the live data directory.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;
use longshore_core::check::{Check, Finding};
use longshore_core::compress::Compression;
use longshore_core::manifest::{Format, Server, Tool};
use longshore_core::plugin::{CompressBy, JobContext};
use longshore_core::stage::{Archiving, DiscoveredSubject, Discovery, Dump, Dumped, RunNeeds};
use longshore_core::store::RateLimiter;
use longshore_core::stream::OnEnd;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::settings::Wal;
use longshore_pg_client::client::Client;
use longshore_pg_client::cluster_files;
use longshore_pg_client::tool::Version;

use crate::backup::Backup;
use crate::listing::{Listing, UnloggedContent};
use crate::location::{self, Location, unreadable};
use crate::reader::Choices;
use crate::session::{BackupSession, ServerFacts};
use crate::settings::{PgFiles, label};
use crate::source::{Source, StoppedCluster};
use crate::{BASE, check};

/// The oldest major version whose backups are supported.
pub(crate) const OLDEST_MAJOR: u32 = 15;

/// The name of the tool in manifests.
const TOOL: &str = "pg_backup_start";

/// A stage with its settings.
pub(crate) struct Dumper {
    settings: PgFiles,
    site: JobContext,
    client: Client,
}

impl Dumper {
    pub(crate) fn new(settings: PgFiles, site: JobContext, client: Client) -> Self {
        Self { settings, site, client }
    }

    /// Returns the cluster in the configured folder if it was shut down, after a connection that
    /// failed with `error`.
    async fn stopped(&self, error: &Error) -> Result<Option<StoppedCluster>> {
        match self.settings.data_directory.clone().filter(|_| error.kind() == Kind::Unavailable) {
            Some(data) => blocking(move || StoppedCluster::at(&data)).await,
            None => Ok(None),
        }
    }
}

/// Returns the server's version, if it is supported.
pub(crate) fn version(text: &str, cluster: &str) -> Result<Version> {
    let unreadable = || Error::new(Stage::Connect, Kind::Failed, text, "not a version of PostgreSQL");
    let version = Version::parse(text).ok_or_else(unreadable)?;
    if version.major < OLDEST_MAJOR {
        let message =
            format!("backups of files of PostgreSQL {version} are not supported, only of {OLDEST_MAJOR} and newer");
        return Err(Error::new(Stage::Connect, Kind::Refused, cluster, message)
            .hint("dump the databases with type = \"pg_dump\", or upgrade the server"));
    }
    Ok(version)
}

/// Fails for other subjects.
pub(crate) fn expect_base(subject: &Subject) -> Result<()> {
    match subject {
        Subject::Base => Ok(()),
        other => {
            let message = "a base backup contains the whole cluster, and no other subject";
            Err(Error::new(Stage::Dump, Kind::Usage, other.to_string(), message))
        }
    }
}

/// Returns a running server and its files as discovered.
pub(crate) async fn discover(client: &Client) -> Result<Discovery> {
    let facts = ServerFacts::query(client).await?;
    let server_version = version(&facts.version, client.name())?.to_string();
    let server = Server { server_version, system_identifier: Some(facts.system_identifier) };
    Ok(discovery(server, cluster_files::size(client).await, facts.is_standby))
}

/// Returns a cluster that was shut down as discovered.
fn discover_stopped(cluster: &StoppedCluster) -> Result<Discovery> {
    let system_identifier = Some(cluster.control.system_identifier.to_string());
    Ok(discovery(Server { server_version: cluster.version()?, system_identifier }, None, false))
}

/// Returns a discovery of the cluster's files. A base backup contains all that a restore needs.
fn discovery(server: Server, estimated_bytes: Option<u64>, is_standby: bool) -> Discovery {
    let base =
        DiscoveredSubject { subject: Subject::Base, estimated_bytes, run_needs: RunNeeds::Nothing, needs: Vec::new() };
    Discovery {
        server,
        subjects: vec![base],
        missing: Vec::new(),
        not_captured: Vec::new(),
        connections: None,
        is_standby,
        warnings: Vec::new(),
    }
}

/// Runs work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(Stage::Dump, Kind::Failed, BASE, "cannot list the files").because(error))?
}

/// Returns the folders of the server's cluster on this host.
pub(crate) async fn locate(settings: &PgFiles, facts: &ServerFacts, cluster: &str) -> Result<Location> {
    let data = location::data_directory(settings.data_directory.as_deref(), facts, cluster)?;
    let facts = facts.clone();
    blocking(move || {
        location::expect_data_of(&data, &facts)?;
        Location::of(&data).map_err(|error| unreadable(&data, error))
    })
    .await
}

/// Returns the choices for reading the files of a backup.
pub(crate) fn choices(settings: &PgFiles, source: &Source) -> Choices {
    Choices { threads: settings.threads(), check_pages_since: source.has_checksums().then_some(source.start_lsn()) }
}

/// Returns a backup as a dump.
pub(crate) fn dumped(backup: Backup, settings: &PgFiles, site: &JobContext, version: &Version) -> Dumped {
    let estimated_bytes = Some(backup.listing.bytes);
    let notes = OnEnd::new();
    let stream = backup.into_stream(notes.clone());
    Dumped {
        stream: match &settings.max_rate {
            Some(rate) => Arc::new(RateLimiter::new(rate.clone())).limit(stream),
            None => stream,
        },
        format: Format::Base,
        estimated_bytes,
        compression: match site.compress_by {
            CompressBy::Pipeline(compression) => compression,
            // A compressed tar could not be verified.
            CompressBy::Tool { .. } => Compression::None,
        },
        tool: Tool { name: TOOL.to_owned(), version: version.to_string() },
        database: None,
        base_manifest: None,
        snapshot: None,
        notes,
    }
}

/// Returns the data directory on this host, if it is known.
pub(crate) async fn known_data_directory(settings: &PgFiles, client: &Client) -> Option<PathBuf> {
    match &settings.data_directory {
        Some(path) => Some(path.clone()),
        None => cluster_files::data_directory(client).await,
    }
}

#[async_trait]
impl Dump for Dumper {
    async fn discover(&self) -> Result<Discovery> {
        match discover(&self.client).await {
            Ok(discovery) => Ok(discovery),
            Err(error) => match self.stopped(&error).await? {
                Some(cluster) => discover_stopped(&cluster),
                None => Err(error),
            },
        }
    }

    async fn dump(&self, subject: &Subject) -> Result<Dumped> {
        expect_base(subject)?;
        let PgFiles { wal, checkpoint, damaged_pages, .. } = self.settings;
        let started = BackupSession::start(&self.client, &label(Utc::now()), checkpoint, wal, BASE).await;
        let (source, text, location) = match started {
            Ok(session) => {
                let location = locate(&self.settings, &session.facts, self.client.name()).await?;
                let version = session.facts.version.clone();
                (Source::Running(Box::new(session)), version, location)
            }
            Err(error) => {
                let Some(cluster) = self.stopped(&error).await? else { return Err(error) };
                let (version, location) = (cluster.version()?, cluster.location.clone());
                (Source::Stopped(cluster), version, location)
            }
        };
        let (wal, unlogged) = match source {
            Source::Running(_) | Source::Crashed(_) => (wal, UnloggedContent::Omitted),
            // The last checkpoint of a cluster that was shut down need not be in an archive.
            Source::Stopped(_) => (Wal::Include, UnloggedContent::Copied),
        };
        let version = version(&text, self.client.name())?;
        let major = version.major;
        let listed = location.clone();
        // Files that are created after the list has been made come from the WAL.
        let listing = blocking(move || Listing::of(&listed, major, unlogged)).await?;
        let backup = Backup {
            choices: choices(&self.settings, &source),
            source,
            live_data: location.data.clone(),
            location,
            listing,
            major,
            wal,
            damaged_pages,
            snapshot: None,
            warnings: Vec::new(),
        };
        Ok(dumped(backup, &self.settings, &self.site, &version))
    }

    fn needs_wal_archive(&self) -> bool {
        self.settings.wal == Wal::Archive
    }

    fn archiving(&self) -> Option<&dyn Archiving> {
        Some(&self.client)
    }

    async fn data_directory(&self) -> Option<PathBuf> {
        known_data_directory(&self.settings, &self.client).await
    }
}

#[async_trait]
impl Check for Dumper {
    async fn check(&self) -> Vec<Finding> {
        let subject = format!("cluster {}", self.client.name());
        match discover(&self.client).await {
            Ok(_) => check::findings(&self.settings, &self.client).await.0,
            Err(error) => vec![match self.stopped(&error).await {
                Ok(Some(cluster)) => check::of_stopped(&cluster, subject),
                Ok(None) => Finding::failed(subject, &error),
                Err(error) => Finding::failed(subject, &error),
            }],
        }
    }
}
