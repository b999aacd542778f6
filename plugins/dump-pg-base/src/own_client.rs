//! The stage that uses Longshore's own replication client.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use chrono::Utc;
use longshore_core::check::{Check, Finding};
use longshore_core::compress::Compression;
use longshore_core::manifest::{Format, Server, Tool};
use longshore_core::plugin::{CompressBy, JobContext};
use longshore_core::stage::{Archiving, DiscoveredSubject, Discovery, Dump, Dumped, Incremental, RunNeeds, WalSource};
use longshore_core::stream::OnEnd;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::incremental::truncation::{Search, Truncations};
use longshore_pg_base::settings::Wal;
use longshore_pg_client::client::Client;
use longshore_pg_client::cluster_files;
use longshore_pg_replication::base_backup::{BackupKind, Options};
use longshore_pg_replication::{BaseBackup, Connection};
use tokio::sync::OnceCell;

use crate::backup::{Backup, Results};
use crate::settings::PgBase;
use crate::slot::HeldSlot;
use crate::source::{Identity, Session, Source};
use crate::{check, failure};

/// The subject of errors: the only one of this stage.
pub(crate) const BASE: &str = "base";

/// The name of the tool in manifests.
const TOOL: &str = "BASE_BACKUP";

/// A stage: its settings, and the identity of the server, once queried.
pub(crate) struct OwnClient {
    settings: PgBase,
    site: JobContext,
    source: Source,
    /// A client for SQL, which the role may be unable to use.
    client: Client,
    identity: OnceCell<Identity>,
}

impl OwnClient {
    pub(crate) fn new(settings: PgBase, site: JobContext, client: Client) -> Self {
        let source = Source::new(&site.cluster);
        Self { settings, site, source, client, identity: OnceCell::new() }
    }

    /// Returns the replication connections of the stage.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Returns a client for SQL, which the role may be unable to use.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn identity(&self) -> Result<&Identity> {
        let query = async || {
            let mut connection = self.source.connect(Session::Active).await?;
            self.source.identify(&mut connection).await
        };
        self.identity.get_or_try_init(query).await
    }

    /// Opens the two connections of a backup. Returns the slot and the connection for the backup.
    pub(crate) async fn open(&self) -> Result<(HeldSlot, Connection)> {
        let expected = self.identity().await?;
        let idle = self.source.connect(Session::Idle).await?;
        let slot = HeldSlot::create(idle).await;
        let slot = slot.map_err(|error| self.source.error("cannot reserve WAL with a replication slot", error))?;
        let mut connection = self.source.connect(Session::Active).await?;
        let found = self.source.identify(&mut connection).await?;
        if found.system_identifier != expected.system_identifier {
            let message = format!(
                "the server has system identifier {} instead of {}: the connection reaches another cluster than before",
                found.system_identifier, expected.system_identifier
            );
            return Err(Error::new(Stage::Connect, Kind::Refused, self.source.name(), message)
                .hint("name one server of the cluster in the connection string"));
        }
        let is_same = slot.is_on_server_of(&mut connection).await;
        if !is_same.map_err(|error| self.source.error("cannot read the replication slot", error))? {
            let message = "the two connections of the backup reach different servers";
            return Err(Error::new(Stage::Connect, Kind::Refused, self.source.name(), message)
                .hint("name one host in the connection string, neither a list of hosts nor a load balancer"));
        }
        Ok((slot, connection))
    }

    /// Returns the options of a backup that begins now.
    pub(crate) fn options(&self, kind: BackupKind) -> Result<Options> {
        Ok(Options { kind, ..self.settings.options(Utc::now())? })
    }

    /// Returns a backup that the server has started as a dump.
    pub(crate) async fn begin(
        &self,
        slot: HeldSlot,
        backup: BaseBackup,
        names: BTreeMap<String, String>,
        truncations: Truncations,
    ) -> Result<Dumped> {
        let version = self.identity().await?.version.to_string();
        let tablespaces = backup.tablespaces().iter().map(|tablespace| (tablespace.oid, tablespace.path.as_path()));
        let (estimated_bytes, details) = (estimated_bytes(&backup), cluster_files::details(tablespaces, &names));
        let (notes, manifest) = (OnEnd::new(), OnEnd::new());
        let backup = Backup {
            backup,
            slot,
            scratch_dir: self.site.scratch_dir.clone(),
            subject: BASE.to_owned(),
            client: self.client.clone(),
            names,
            details,
            stale_blocks: Search::new(truncations),
        };
        let stream = backup.into_stream(Results { notes: notes.clone(), manifest: manifest.clone() });
        Ok(Dumped {
            stream,
            format: Format::Base,
            estimated_bytes,
            compression: compression(&self.site),
            tool: Tool { name: TOOL.to_owned(), version },
            database: None,
            base_manifest: Some(manifest),
            snapshot: None,
            notes,
        })
    }
}

/// Returns the cluster's files as discovered. A base backup contains all that a restore needs.
pub(crate) fn discovered(estimated_bytes: Option<u64>) -> DiscoveredSubject {
    DiscoveredSubject { subject: Subject::Base, estimated_bytes, run_needs: RunNeeds::Nothing, needs: Vec::new() }
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

/// Returns the compression for the pipeline. The server could compress, but a compressed tar could
/// not be verified.
pub(crate) fn compression(site: &JobContext) -> Compression {
    match site.compress_by {
        CompressBy::Pipeline(compression) => compression,
        CompressBy::Tool { .. } => Compression::None,
    }
}

/// Returns the size of all files as the server estimates it, without WAL.
fn estimated_bytes(backup: &BaseBackup) -> Option<u64> {
    let tablespaces = backup.tablespaces().iter().map(|tablespace| tablespace.size_kib);
    let kib = tablespaces.chain([backup.data_directory_kib()]).try_fold(0_u64, |sum, kib| sum.checked_add(kib?))?;
    kib.checked_mul(1 << 10)
}

#[async_trait]
impl Dump for OwnClient {
    async fn discover(&self) -> Result<Discovery> {
        let Identity { version, system_identifier, is_standby } = self.identity().await?;
        let parameters = self.source.parameters()?;
        Ok(Discovery {
            server: Server {
                server_version: version.to_string(),
                system_identifier: Some(system_identifier.to_string()),
            },
            subjects: vec![discovered(cluster_files::size(&self.client).await)],
            missing: Vec::new(),
            not_captured: Vec::new(),
            // Replication connections do not count towards max_connections.
            connections: None,
            is_standby: *is_standby,
            warnings: parameters.warnings.iter().map(ToString::to_string).collect(),
        })
    }

    async fn dump(&self, subject: &Subject) -> Result<Dumped> {
        expect_base(subject)?;
        // Queried before the backup, since the server waits for the reader of a running one.
        let names = cluster_files::tablespace_names(&self.client).await;
        let (slot, connection) = self.open().await?;
        let backup = connection.base_backup(&self.options(BackupKind::Full)?).await;
        let backup = backup
            .map_err(|error| failure::convert(Stage::Dump, BASE, "the server does not start a base backup", error))?;
        self.begin(slot, backup, names, Truncations::default()).await
    }

    fn incremental(&self) -> Option<&dyn Incremental> {
        Some(self)
    }

    fn needs_wal_archive(&self) -> bool {
        self.settings.wal == Wal::Archive
    }

    fn archiving(&self) -> Option<&dyn Archiving> {
        Some(&self.client)
    }

    fn wal_source(&self) -> Option<&dyn WalSource> {
        Some(self)
    }

    async fn data_directory(&self) -> Option<PathBuf> {
        cluster_files::data_directory(&self.client).await
    }
}

#[async_trait]
impl Check for OwnClient {
    async fn check(&self) -> Vec<Finding> {
        check::findings(&self.source, &self.client).await
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::subject::SubjectKind;

    use super::*;

    #[test]
    fn base_backup_needs_no_other_backup() {
        let base = discovered(Some(7));
        assert_eq!((base.subject.kind(), base.estimated_bytes), (SubjectKind::ClusterFiles, Some(7)));
        assert_eq!((base.run_needs, base.needs), (RunNeeds::Nothing, Vec::new()));
    }

    #[test]
    fn other_subjects_are_refused() {
        expect_base(&Subject::Base).unwrap();
        for subject in [Subject::Globals, Subject::database("base")] {
            assert_eq!(expect_base(&subject).unwrap_err().kind(), Kind::Usage);
        }
    }
}
