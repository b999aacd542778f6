//! Provides databases for a drill in an existing server, as `type = "server"`: under unique names,
//! and dropped in all cases.
//!
//! | file | contents |
//! | --- | --- |
//! | `isolation_policy.rs` | the decision about backups that act outside of their database |
//! | `watchdog.rs` | the shell that cleans up, even if Longshore is killed |

mod isolation_policy;
mod watchdog;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use longshore_core::check::{Check, Finding, Outcome};
use longshore_core::discovery::Requirements;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{Cluster, JobContext, Plugin};
use longshore_core::stage::{RestoreRequest, Scratch, ScratchCluster};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::conninfo::ConnInfo;
use longshore_pg_client::directory::{TempDir, private_folder};
use longshore_pg_client::isolation_policy::{RequiredIsolation, effects};
use longshore_pg_client::pooler;
use longshore_pg_client::tool::Version;
use secrecy::SecretString;
use serde::Deserialize;

use crate::watchdog::DatabaseCleanup;

/// The maximum size of a name in PostgreSQL, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// `{ type = "server", connection = "host=… user=…" }`: a server to drill in. Its roles must exist:
/// a drill creates none.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The connection: libpq's keywords, a URI or a service, without a database.
    #[schemars(with = "String")]
    connection: SecretString,
    /// The directory of PostgreSQL's client programs, if they are not to be searched for.
    bin_dir: Option<PathBuf>,
    /// The policy for backups that may connect to another server. An existing server cannot be
    /// isolated.
    #[serde(default)]
    isolation: RequiredIsolation,
}

impl Plugin<dyn Scratch> for Server {
    const TYPE: &'static str = "server";

    fn build(self, site: &JobContext) -> Result<Box<dyn Scratch>> {
        let cluster =
            Cluster { name: "scratch".to_owned(), connection: self.connection, password: None, bin_dir: self.bin_dir };
        let client = Client::new(&cluster)?.writing();
        if client.database().is_some() {
            let message = "names a database, but a drill creates its own databases";
            return Err(Error::new(Stage::Config, Kind::Usage, "scratch", message).hint("remove dbname"));
        }
        let isolation = self.isolation;
        Ok(Box::new(DatabaseProvider { cluster, client, scratch_dir: site.scratch_dir.clone(), isolation }))
    }
}

/// A stage that provides databases in an existing server.
struct DatabaseProvider {
    cluster: Cluster,
    client: Client,
    scratch_dir: Option<PathBuf>,
    isolation: RequiredIsolation,
}

/// The databases of one drill.
struct TemporaryDatabases {
    cluster: Cluster,
    version: Version,
    prefix: String,
    files: TempDir,
    cleanup: DatabaseCleanup,
    warnings: Vec<String>,
}

impl DatabaseProvider {
    async fn version(&self) -> Result<Version> {
        pooler::refuse(&self.client).await?;
        longshore_pg_client::server::Server::query(&self.client).await?.version()
    }
}

#[async_trait]
impl Scratch for DatabaseProvider {
    async fn make(&self, wanted: &[RestoreRequest<'_>]) -> Result<Box<dyn ScratchCluster>> {
        let manifests: Vec<&Manifest> = wanted.iter().map(|wanted| wanted.manifest).collect();
        let version = self.version().await?;
        let warnings = isolation_policy::check(self.isolation, &effects(wanted))?.into_iter().collect();
        if let Some(whole) =
            manifests.iter().find(|manifest| matches!(manifest.subject, Subject::All | Subject::Schema))
        {
            let message = "is a script of a whole cluster, which needs a cluster of its own";
            return Err(Error::new(Stage::Drill, Kind::Failed, whole.subject.to_string(), message)
                .hint("drill in a temporary cluster: scratch = { type = \"initdb\" }"));
        }
        let sources = manifests.iter().filter_map(|manifest| Version::parse(&manifest.cluster.server.server_version));
        if let Some(source) = sources.max().filter(|source| source.major > version.major) {
            let message = format!("is PostgreSQL {version}, but the backup was dumped from PostgreSQL {source}");
            return Err(Error::new(Stage::Drill, Kind::Failed, "scratch", message)
                .hint("drill in a server of the same or a newer major version"));
        }
        let parent = self.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
        let files = private_folder(Some(&parent), Stage::Drill)?;
        let prefix = watchdog::prefix();
        let cleanup = DatabaseCleanup::start(&self.client, &prefix, files.path(), &version).await?;
        Ok(Box::new(TemporaryDatabases { cluster: self.cluster.clone(), version, prefix, files, cleanup, warnings }))
    }

    async fn missing_features(&self, requirements: &Requirements) -> Vec<Finding> {
        let installed: Vec<String> = match self.client.query(AVAILABLE_EXTENSIONS).await {
            Ok(installed) => installed,
            Err(error) => return vec![Finding::failed("drill", &error)],
        };
        let missing = requirements.extensions.iter().filter(|(name, _)| !installed.contains(name));
        let finding = |(name, databases): (&String, &BTreeSet<String>)| {
            let databases = databases.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            Finding {
                outcome: Outcome::Failed,
                subject: "drill".to_owned(),
                message: format!("extension {name} of {databases} is not installed in the server to drill in"),
                remedy: Some(format!("install {name} on that server, or drill in a server that has it")),
            }
        };
        missing.map(finding).collect()
    }
}

const AVAILABLE_EXTENSIONS: &str = "select coalesce(json_agg(name), '[]') from pg_catalog.pg_available_extensions";

#[async_trait]
impl Check for DatabaseProvider {
    async fn check(&self) -> Vec<Finding> {
        vec![match self.version().await {
            Ok(version) => {
                Finding::good("drill", format!("PostgreSQL {version} is available for drills; it is not isolated"))
            }
            Err(error) => Finding::failed("drill", &error),
        }]
    }
}

#[async_trait]
impl ScratchCluster for TemporaryDatabases {
    fn description(&self) -> String {
        format!("PostgreSQL {}, in temporary databases of an existing server", self.version)
    }

    fn version(&self) -> String {
        self.version.to_string()
    }

    fn cluster(&self) -> Cluster {
        self.cluster.clone()
    }

    fn target(&self, name: &str) -> Result<Cluster> {
        let mut conninfo = ConnInfo::parse(&self.cluster.connection)?;
        conninfo.set("dbname", &self.database(name));
        let password = conninfo.password().cloned().or_else(|| self.cluster.password.clone());
        Ok(Cluster { connection: conninfo.to_string().into(), password, ..self.cluster.clone() })
    }

    fn database(&self, name: &str) -> String {
        let room = MAX_NAME_BYTES - self.prefix.len();
        let end = (0..=room.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        format!("{}{}", self.prefix, &name[..end])
    }

    fn accepts_globals(&self) -> bool {
        false
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn folder(&self) -> &Path {
        self.files.path()
    }

    async fn remove(self: Box<Self>) -> Result<()> {
        let Self { cleanup, files, .. } = *self;
        let cleanup = tokio::task::spawn_blocking(move || {
            let dropped = cleanup.end();
            let removed = files.close();
            dropped?;
            removed.map_err(|error| {
                Error::io(Stage::Drill, "scratch", "its private directory could not be removed", error)
            })
        });
        cleanup.await.map_err(|error| {
            Error::new(Stage::Drill, Kind::Failed, "scratch", "cannot wait for its cleanup").because(error)
        })?
    }
}
