//! Creates a cluster for one drill with `initdb`, as `type = "initdb"`: in a private directory,
//! without TCP, without durability, and removed in all cases.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `configuration.rs` | the settings of the server |
//! | `missing_features.rs` | features of the source that a cluster created here would lack |
//! | `log.rs` | the server's log, read for the codes of failures |
//! | `prerequisites.rs` | the prerequisites: programs, disk space, the user to run as |
//! | `encoding.rs` | the encoding and locale of the cluster itself |
//! | `isolation.rs` | the namespaces that the server runs in |
//! | `mask.rs` | the directories and sockets that are hidden from the server |
//! | `isolation_policy.rs` | the decision about a server that cannot be isolated |
//! | `placeholders.rs` | placeholders for roles and tablespaces of a run without globals |
//! | `watchdog.rs` | the shell that runs initdb and the server, and cleans up |
//! | `files.rs` | a cluster on the files of a base backup |
//! | `globals.rs` | the parts of a cluster's globals that only fit their original host |

mod configuration;
mod encoding;
mod files;
mod globals;
mod isolation;
mod isolation_policy;
mod log;
mod mask;
mod missing_features;
mod placeholders;
mod prerequisites;
mod settings;
mod watchdog;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::discovery::Requirements;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{Cluster, JobContext, Plugin};
use longshore_core::sqlstate::Failure;
use longshore_core::stage::{RestoreRequest, Scratch, ScratchCluster, ScratchFolder};
use longshore_core::stream::ByteStream;
use longshore_core::subject::SubjectKind;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::conninfo::ConnInfo;
use longshore_pg_client::isolation_policy::{RequiredIsolation, effects};
use longshore_pg_client::tool::Version;

use crate::configuration::Configuration;
pub use crate::configuration::LOG_LINE_PREFIX;
use crate::isolation::Isolation;
use crate::log::Log;
use crate::prerequisites::{Programs, User};
pub use crate::settings::Initdb;
use crate::watchdog::{START_TIMEOUT, ServerCommand, SupervisedServer};

/// The owner of the cluster, named as on most hosts, so that objects of the cluster itself keep
/// their owner.
const SUPERUSER: &str = "postgres";

/// The number in the socket's name; the server listens on no port.
const PORT: u16 = 5432;

impl Plugin<dyn Scratch> for Initdb {
    const TYPE: &'static str = "initdb";

    fn build(self, site: &JobContext) -> Result<Box<dyn Scratch>> {
        Ok(Box::new(ClusterProvider { settings: self, site: site.clone() }))
    }
}

/// A stage that creates clusters.
struct ClusterProvider {
    settings: Initdb,
    site: JobContext,
}

/// A running cluster.
struct TemporaryCluster {
    server: SupervisedServer,
    description: String,
    version: String,
    cluster: Cluster,
    files: PathBuf,
    warnings: Vec<String>,
    log: Log,
}

#[async_trait]
impl Scratch for ClusterProvider {
    async fn make(&self, wanted: &[RestoreRequest<'_>]) -> Result<Box<dyn ScratchCluster>> {
        let manifests: Vec<&Manifest> = wanted.iter().map(|wanted| wanted.manifest).collect();
        let programs = prerequisites::programs(&self.settings, &self.site, &manifests).await?;
        let folder = self.folder(prerequisites::space_for_dumps(&manifests))?;
        let socket = folder.join("socket");
        prerequisites::expect_short_socket_path(&socket)?;
        let user = prerequisites::user(&self.settings)?;
        let Configuration { settings, overridden } =
            configuration::resolve(&self.settings.settings, &socket, programs.major);
        let isolation = self.isolation(&programs, user.as_ref()).await;
        let mut warnings: Vec<String> =
            isolation_policy::check(self.settings.isolation, &isolation, &effects(wanted))?.into_iter().collect();
        warnings.extend(overridden);
        let command = commands(&programs, &folder, &manifests, &settings).shell_line();
        let server_command = ServerCommand {
            words: isolation.wrap(Some(&folder), user.as_ref(), &command),
            environment: isolation.environment(&folder.join("data")),
        };
        let names = ["data", "socket"].map(str::to_owned);
        let mut server = SupervisedServer::create(folder.clone(), user.as_ref(), &names, server_command)?;
        server.start(START_TIMEOUT).await?;
        let cluster = Cluster {
            name: "scratch".to_owned(),
            connection: format!("host='{}' port={PORT} user={SUPERUSER}", conninfo_escaped(&socket)).into(),
            password: None,
            bin_dir: programs.bin_dir.clone(),
        };
        let client = Client::new(&cluster)?;
        encoding::recreate_postgres(&client.to_database("template1"), &manifests).await?;
        warnings.extend(placeholders::create(&client.to_database("template1"), wanted).await?);
        Ok(Box::new(TemporaryCluster {
            server,
            description: format!("{}, {}", programs.description(), isolation.description()),
            version: programs.version.to_string(),
            cluster,
            files: folder.join("files"),
            log: Log::new(folder.join("log")),
            warnings,
        }))
    }

    async fn make_folder(&self, request: &RestoreRequest<'_>) -> Result<Box<dyn ScratchFolder>> {
        Ok(Box::new(self.files(request).await?))
    }

    async fn missing_features(&self, requirements: &Requirements) -> Vec<Finding> {
        let source = Version::parse(&requirements.server_version);
        match prerequisites::programs_for(&self.settings, &self.site, source).await {
            Ok(programs) => missing_features::findings(&self.settings, &programs, requirements),
            Err(error) => vec![Finding::failed("drill", &error)],
        }
    }
}

impl ClusterProvider {
    /// Returns an unused name for the drill's folder, in a directory with at least this free space,
    /// in bytes.
    fn folder(&self, needed: u64) -> Result<PathBuf> {
        let parent = self.site.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
        prerequisites::expect_space(&parent, needed)?;
        // Directories are hidden by their real paths, not by those of symbolic links.
        Ok(watchdog::name(&parent.canonicalize().unwrap_or(parent)))
    }

    /// Returns the isolation of a server from this host.
    async fn isolation(&self, programs: &Programs, user: Option<&User>) -> Isolation {
        if self.settings.isolation == RequiredIsolation::None {
            return Isolation::Missing("isolation = \"none\"".to_owned());
        }
        isolation::detect(user, &self.needed(programs), &self.known_sockets()).await
    }

    /// Returns the directories that the server needs: those of its programs, and those named in its
    /// settings.
    fn needed(&self, programs: &Programs) -> Vec<PathBuf> {
        let installed = programs.postgres.canonicalize().unwrap_or_else(|_| programs.postgres.clone());
        let folders = [&programs.postgres, &installed].into_iter().filter_map(|path| path.parent()?.parent());
        let words = self.settings.settings.values().flat_map(|value| value.split([',', ':', ' ', '\'', '"']));
        let named = words.filter(|word| word.starts_with('/') && word.len() > 1).map(PathBuf::from);
        folders.filter(|folder| *folder != Path::new("/")).map(Path::to_owned).chain(named).collect()
    }

    /// Returns the socket directories named by the job or the environment.
    fn known_sockets(&self) -> BTreeSet<PathBuf> {
        let named = ConnInfo::parse(&self.site.cluster.connection).ok();
        let named = named.and_then(|conninfo| conninfo.get("host").map(str::to_owned));
        let hosts = named.into_iter().chain(std::env::var("PGHOST").ok());
        let all: Vec<String> =
            hosts.flat_map(|hosts| hosts.split(',').map(str::to_owned).collect::<Vec<_>>()).collect();
        all.into_iter().filter(|host| host.starts_with('/')).map(PathBuf::from).collect()
    }
}

/// The command lines that create and run a cluster.
struct Commands {
    initdb: Vec<String>,
    postgres: Vec<String>,
}

impl Commands {
    /// Returns both commands as one shell command. The final `exit` keeps the shell from becoming
    /// the server: as the first process of its namespace, the server would take exits of orphaned
    /// processes for its own children's.
    fn shell_line(&self) -> String {
        format!("{} && {}; exit $?", watchdog::shell_line(&self.initdb), watchdog::shell_line(&self.postgres))
    }
}

fn commands(programs: &Programs, folder: &Path, manifests: &[&Manifest], settings: &[(String, String)]) -> Commands {
    let data = folder.join("data").display().to_string();
    let mut initdb = vec![programs.initdb.display().to_string()];
    initdb.push(format!("--pgdata={data}"));
    initdb.extend([format!("--username={SUPERUSER}"), "--auth=trust".to_owned(), "--no-sync".to_owned()]);
    match encoding::of_cluster(manifests) {
        None => initdb.extend(["--encoding=UTF8".to_owned(), "--locale=C".to_owned()]),
        Some(facts) => {
            initdb.push(format!("--encoding={}", facts.encoding));
            initdb.push(format!("--lc-collate={}", facts.collate));
            initdb.push(format!("--lc-ctype={}", facts.ctype));
            initdb.extend(["messages", "monetary", "numeric", "time"].map(|of| format!("--lc-{of}=C")));
            match (facts.locale_provider.as_str(), &facts.locale) {
                ("icu", Some(locale)) => {
                    initdb.extend(["--locale-provider=icu".to_owned(), format!("--icu-locale={locale}")]);
                }
                ("builtin", Some(locale)) => {
                    initdb.extend(["--locale-provider=builtin".to_owned(), format!("--builtin-locale={locale}")]);
                }
                // PostgreSQL before 15 has no such option and no other provider.
                _ if programs.major >= 15 => initdb.push("--locale-provider=libc".to_owned()),
                _ => {}
            }
        }
    }
    let mut postgres = vec![programs.postgres.display().to_string(), "-D".to_owned(), data];
    for (name, value) in settings {
        postgres.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    Commands { initdb, postgres }
}

#[async_trait]
impl Check for ClusterProvider {
    async fn check(&self) -> Vec<Finding> {
        let found = async {
            let user = prerequisites::user(&self.settings)?;
            let programs = prerequisites::programs(&self.settings, &self.site, &[]).await?;
            let isolation = self.isolation(&programs, user.as_ref()).await;
            Ok((programs, isolation))
        };
        vec![match found.await {
            Ok((programs, isolation)) => {
                let message =
                    format!("{} can be created on this host, {}", programs.description(), isolation.description());
                match isolation {
                    Isolation::Namespaces(_) => Finding::good("drill", message),
                    Isolation::Missing(_) => Finding::warning("drill", message, isolation_policy::REMEDY),
                }
            }
            Err(error) => Finding::failed("drill", &error),
        }]
    }
}

#[async_trait]
impl ScratchCluster for TemporaryCluster {
    fn description(&self) -> String {
        self.description.clone()
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn cluster(&self) -> Cluster {
        self.cluster.clone()
    }

    fn database(&self, name: &str) -> String {
        name.to_owned()
    }

    fn accepts_globals(&self) -> bool {
        true
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn folder(&self) -> &Path {
        &self.files
    }

    async fn failures(&self) -> Vec<Failure> {
        self.log.failures()
    }

    async fn adapt(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<(ByteStream, Vec<String>)> {
        if manifest.subject.kind() != SubjectKind::ClusterSql {
            return Ok((plaintext, Vec::new()));
        }
        globals::adapt(plaintext, &manifest.subject.to_string()).await
    }

    async fn remove(self: Box<Self>) -> Result<()> {
        end(self.server).await
    }
}

/// Stops a server and removes its folder.
async fn end(server: SupervisedServer) -> Result<()> {
    let removal = tokio::task::spawn_blocking(move || server.end());
    removal.await.map_err(|error| {
        Error::new(Stage::Drill, Kind::Failed, "scratch", "cannot wait for the removal of the cluster").because(error)
    })?
}

/// Escapes a path for quotes in libpq's keyword syntax.
fn conninfo_escaped(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace('\'', "\\'")
}
