//! Makes a cluster for one drill with `initdb`, as `type = "initdb"`: in a private folder, without TCP, without durability, and gone whatever
//! happens.
//!
//! | file | holds |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `look.rs` | what there is to make it with: programs, room, the user to run as |
//! | `supervisor.rs` | the shell that runs initdb and the server, and that removes all when we are gone |
//! | `globals.rs` | what of a cluster's globals only fits the host that they come from |

mod globals;
mod look;
mod settings;
mod supervisor;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{Cluster, Plugin, Site};
use longshore_core::stage::{Scratch, ScratchCluster};
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};

use crate::look::Programs;
pub use crate::settings::Initdb;
use crate::supervisor::Supervisor;

/// Who owns the cluster: as on most hosts, so that what belongs to the cluster itself has the same owner here.
const SUPERUSER: &str = "postgres";

/// The number that the socket's name ends with; nobody listens on a port.
const PORT: u16 = 5432;

impl Plugin<dyn Scratch> for Initdb {
    const TYPE: &'static str = "initdb";

    fn build(self, site: &Site) -> Result<Box<dyn Scratch>> {
        Ok(Box::new(Maker { settings: self, site: site.clone() }))
    }
}

/// A stage that makes clusters.
struct Maker {
    settings: Initdb,
    site: Site,
}

/// A cluster that runs.
struct Made {
    supervisor: Supervisor,
    description: String,
    version: String,
    cluster: Cluster,
    files: PathBuf,
}

#[async_trait]
impl Scratch for Maker {
    async fn make(&self, manifests: &[&Manifest]) -> Result<Box<dyn ScratchCluster>> {
        let programs = look::programs(&self.settings, &self.site, manifests).await?;
        let parent = self.site.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
        look::room(&parent, manifests)?;
        let user = look::user(&self.settings)?;
        let folder = supervisor::name(&parent);
        let socket = folder.join("socket");
        look::socket(&socket)?;
        let commands = self.commands(&programs, &folder, manifests);
        let supervisor = Supervisor::start(folder.clone(), user, &commands).await?;
        let cluster = Cluster {
            name: "scratch".to_owned(),
            connection: format!("host='{}' port={PORT} user={SUPERUSER}", quoted(&socket)).into(),
            password: None,
            bin_dir: programs.bin_dir.clone(),
        };
        let files = folder.join("files");
        let (description, version) = (programs.description(), programs.version.to_string());
        Ok(Box::new(Made { supervisor, description, version, cluster, files }))
    }
}

/// The command lines that make a cluster and run it.
struct Commands {
    initdb: Vec<String>,
    postgres: Vec<String>,
}

impl Maker {
    fn commands(&self, programs: &Programs, folder: &Path, manifests: &[&Manifest]) -> Commands {
        let data = folder.join("data").display().to_string();
        let mut initdb = vec![programs.initdb.display().to_string()];
        initdb.push(format!("--pgdata={data}"));
        initdb.extend([format!("--username={SUPERUSER}"), "--auth=trust".to_owned(), "--no-sync".to_owned()]);
        // What is restored into `postgres` or `template1` finds them as they were; every other database brings its own.
        let facts = manifests.iter().find_map(|manifest| manifest.database.as_ref());
        match facts {
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
                    // Before PostgreSQL 15 there is no such option, and nothing else to choose.
                    _ if programs.major >= 15 => initdb.push("--locale-provider=libc".to_owned()),
                    _ => {}
                }
            }
        }
        let mut postgres = vec![programs.postgres.display().to_string(), "-D".to_owned(), data];
        let socket = folder.join("socket").display().to_string().replace('"', "\"\"");
        let ours = [
            ("listen_addresses", String::new()),
            ("port", PORT.to_string()),
            ("unix_socket_directories", format!("\"{socket}\"")),
            ("unix_socket_permissions", "0700".to_owned()),
            // Nothing of it outlives the drill, so nothing needs to reach a disk.
            ("fsync", "off".to_owned()),
            ("synchronous_commit", "off".to_owned()),
            ("full_page_writes", "off".to_owned()),
            ("wal_level", "minimal".to_owned()),
            ("max_wal_senders", "0".to_owned()),
            ("max_wal_size", "8GB".to_owned()),
            ("checkpoint_timeout", "1d".to_owned()),
            ("autovacuum", "off".to_owned()),
            ("maintenance_work_mem", "256MB".to_owned()),
            // pg_dump locks every table at once.
            ("max_locks_per_transaction", "1024".to_owned()),
            ("logging_collector", "off".to_owned()),
            ("lc_messages", "C".to_owned()),
            // Tablespaces lie within the cluster: the folders that they have at home are not here.
            ("allow_in_place_tablespaces", "on".to_owned()),
        ];
        let settings = ours.into_iter().map(|(name, value)| (name.to_owned(), value));
        for (name, value) in settings.chain(self.settings.settings.clone()) {
            postgres.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        Commands { initdb, postgres }
    }
}

#[async_trait]
impl Check for Maker {
    async fn check(&self) -> Vec<Finding> {
        let found = async {
            look::user(&self.settings)?;
            look::programs(&self.settings, &self.site, &[]).await
        };
        vec![match found.await {
            Ok(programs) => Finding::good("drill", format!("{} can be made here", programs.description())),
            Err(error) => Finding::failed("drill", &error),
        }]
    }
}

#[async_trait]
impl ScratchCluster for Made {
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

    fn takes_globals(&self) -> bool {
        true
    }

    fn folder(&self) -> &Path {
        &self.files
    }

    async fn adapt(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<(ByteStream, Vec<String>)> {
        if manifest.subject.is_database() {
            return Ok((plaintext, Vec::new()));
        }
        globals::adapt(plaintext, &manifest.subject.to_string()).await
    }

    async fn remove(self: Box<Self>) -> Result<()> {
        let Self { supervisor, .. } = *self;
        let ended = tokio::task::spawn_blocking(move || supervisor.end());
        ended.await.map_err(|error| {
            Error::new(Stage::Drill, Kind::Failed, "scratch", "cannot wait for the cluster's end").because(error)
        })?
    }
}

/// A path as libpq's keywords take it between quotes.
fn quoted(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace('\'', "\\'")
}
