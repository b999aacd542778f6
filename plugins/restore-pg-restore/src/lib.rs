//! Restores backups into a cluster: archives with `pg_restore`, scripts with `psql`.
//!
//! | file | contents |
//! | --- | --- |
//! | `prepare.rs` | the check of the target before a byte is fetched |
//! | `rights.rs` | the role's rights, compared with those that the backup needs |
//! | `preload.rs` | extensions whose library the server must load |
//! | `active_objects.rs` | objects that act by themselves after a restore |
//! | `drop_blockers.rs` | sessions and objects that prevent dropping a database |
//! | `target_database.rs` | the database to restore into: existing, empty, or to be created |
//! | `restore.rs` | the restore of one backup into its database |
//! | `database.rs` | the creation of a database as described in its archive |
//! | `toc.rs` | the archive's table of contents, read before the target is changed |
//! | `plan.rs` | the order of a restore: data first |
//! | `archive.rs` | pg_restore, from a pipe or from files |
//! | `foreign_keys.rs` | the check of rows loaded while triggers were disabled |
//! | `post_data.rs` | entries after the data: failed ones are skipped and reported |
//! | `statement.rs` | statements that may fail, and the server's error codes |
//! | `selection.rs` | the selection of entries to restore |
//! | `schema.rs` | the schemas of selected objects |
//! | `role_map.rs` | renaming roles in archives |
//! | `script.rs` | psql, and existing roles |
//! | `psql.rs` | psql versions that are safe for a script |
//! | `stall.rs` | the stall timeout |
//! | `rollback.rs` | the rollback of a restore that creates a database |
//! | `list.rs` | the content of a backup |

mod active_objects;
mod archive;
mod database;
mod drop_blockers;
mod foreign_keys;
mod list;
mod plan;
mod post_data;
mod preload;
mod prepare;
mod psql;
mod restore;
mod rights;
mod role_map;
mod rollback;
mod schema;
mod script;
mod selection;
mod stall;
mod statement;
mod target_database;
mod toc;

use std::time::Instant;

use async_trait::async_trait;
use longshore_core::check::Finding;
use longshore_core::drill::Phase;
use longshore_core::error::printable;
use longshore_core::left_out::LeftOut;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{DatabaseTarget, Plugin, RestorePlugin, Statistics, Target};
use longshore_core::stage::{Restore, RestoreRequest, Restored};
use longshore_core::stream::ByteStream;
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Pipes, Process};
use longshore_pg_client::client::Client;
use longshore_pg_client::pooler;
use longshore_pg_client::server::{Server, databases};
use longshore_pg_client::tool::{Tool, Version};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use crate::stall::ReadCounter;

/// Restores with PostgreSQL's own programs. The stage has no settings and needs only the target.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PgRestore {}

impl Plugin<dyn Restore> for PgRestore {
    const TYPE: &'static str = "pg_restore";

    fn build(self, target: &Target) -> Result<Box<dyn Restore>> {
        let target = target.expect_database(Self::TYPE)?;
        Ok(Box::new(Restorer {
            client: Client::new(&target.cluster)?.writing(),
            target: target.clone(),
            version: OnceCell::new(),
        }))
    }
}

impl RestorePlugin for PgRestore {
    const FORMATS: &'static [Format] = &[Format::Custom, Format::Plain, Format::Tar, Format::Directory];
}

/// A stage that restores into one target.
struct Restorer {
    client: Client,
    target: DatabaseTarget,
    /// The version of the server.
    version: OnceCell<Version>,
}

impl Restorer {
    /// Returns the database to restore into: the one named by the connection, otherwise the
    /// original one.
    fn database<'a>(&'a self, backed_up: &'a str) -> &'a str {
        self.client.database().unwrap_or(backed_up)
    }

    /// Returns the version of the target's server, which is queried once.
    async fn version(&self) -> Result<&Version> {
        let query = async || {
            let client = target_database::maintenance(&self.client, "postgres");
            pooler::refuse(&client).await?;
            client.find_maintenance_database().await?;
            Server::query(&client).await?.version()
        };
        self.version.get_or_try_init(query).await
    }

    /// Returns a program that can read the output of `manifest`'s tool and works with the target's
    /// server.
    async fn tool(&self, name: &'static str, manifest: &Manifest) -> Result<Tool> {
        let server = self.version().await?;
        let written_by = Version::parse(&manifest.tool.version).filter(|version| version.major > server.major);
        self.client.tool(name, written_by.as_ref().unwrap_or(server)).await
    }

    /// Collects the planner's statistics, which dumps of most releases lack.
    async fn analyze(&self, database: &str) -> Result<Phase> {
        let started = Instant::now();
        let client = self.client.to_database(database);
        let mut command = client.psql().await?;
        command.args(["--command", "analyze"]);
        let work = async { Process::start(command, "psql", Pipes::Neither)?.wait().await };
        let limit = self.target.stall_timeout;
        let exit = stall::wait(&client, database, limit, &ReadCounter::default(), work).await?;
        if !exit.status.success() {
            return Err(client.sql_error(Stage::Restore, database, &exit).await);
        }
        Ok(phase("analyze", started))
    }

    /// Returns the restored databases, whose statistics are to be collected.
    async fn filled(&self, manifest: &Manifest) -> Result<Vec<String>> {
        Ok(match &manifest.subject {
            Subject::Database { name } => vec![self.database(name).to_owned()],
            Subject::All => {
                let all = databases(&target_database::maintenance(&self.client, "")).await?;
                all.into_iter().filter(|database| !database.template).map(|database| database.name).collect()
            }
            _ => Vec::new(),
        })
    }
}

/// Returns a phase that started at `started` and is essential for the restore.
fn phase(name: &str, started: Instant) -> Phase {
    Phase { name: name.to_owned(), seconds: started.elapsed().as_secs_f64(), restores: true }
}

#[async_trait]
impl Restore for Restorer {
    async fn prepare(&self, wanted: &[RestoreRequest<'_>]) -> Result<Vec<Finding>> {
        wanted.iter().try_for_each(|wanted| wanted.manifest.expect_dump(Stage::Restore))?;
        let databases = wanted.iter().filter(|wanted| wanted.manifest.subject.kind() == SubjectKind::Database).count();
        if let (Some(database), 2..) = (self.client.database(), databases) {
            let message = format!("{databases} databases cannot all be restored into one");
            return Err(Error::new(Stage::Restore, Kind::Usage, database, message)
                .hint("remove dbname from the target's connection: each is restored under its own name"));
        }
        prepare::check(self, wanted).await
    }

    async fn restore(&self, wanted: RestoreRequest<'_>, plaintext: ByteStream) -> Result<Restored> {
        wanted.manifest.expect_dump(Stage::Restore)?;
        let mut restored = self.restore_backup(wanted, plaintext).await?;
        if self.target.statistics == Statistics::Analyze {
            for database in self.filled(wanted.manifest).await? {
                match self.analyze(&database).await {
                    Ok(phase) => restored.phases.push(phase),
                    // The data is restored; only query plans are worse.
                    Err(error) => restored.notes.push(format!(
                        "database \"{}\" could not be analyzed: {}",
                        printable(&database),
                        error.chain()
                    )),
                }
            }
        }
        Ok(restored)
    }

    async fn contents(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<Vec<String>> {
        manifest.expect_dump(Stage::Restore)?;
        list::entries(&self.client, &self.target, manifest, plaintext).await
    }

    fn comparable_details(&self, details: &Map<String, Value>, left_out: &[LeftOut]) -> Option<Map<String, Value>> {
        selection::restored_details(&self.target, details, left_out)
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::format::FormatName;
    use longshore_core::plugin::{Cluster, DataDirectory};
    use longshore_core::stream::from_bytes;

    use super::*;

    #[test]
    fn data_directory_is_refused_with_hint() {
        let target = DataDirectory { path: "/restored".into(), ..DataDirectory::default() };
        let error = PgRestore {}.build(&Target::DataDirectory(target)).err().unwrap();
        assert_eq!((error.kind(), error.subject()), (Kind::Usage, "/restored"));
        assert!(error.to_string().contains("pg_restore restores into a database"), "{error}");
        assert!(error.remedy().unwrap().contains("--to"), "{error:?}");
    }

    #[tokio::test]
    async fn only_dumps_are_restored() {
        let cluster = Cluster { name: "main".into(), connection: String::new().into(), password: None, bin_dir: None };
        let restorer = PgRestore {}.build(&Target::Database(DatabaseTarget::new(cluster))).unwrap();
        let manifest = |text| serde_json::from_str::<Manifest>(text).unwrap();
        let base = manifest(include_str!("../../../crates/model/testdata/manifest-2.json"));
        let mut foreign = manifest(include_str!("../../../crates/model/testdata/manifest-1.json"));
        foreign.artifact.format = Format::Other(FormatName::new("mysqldump").unwrap());
        // The format alone does not make a script of a base backup.
        let mut script = base.clone();
        script.artifact.format = Format::Plain;
        for manifest in [base, foreign, script] {
            let wanted = RestoreRequest::new(&manifest, None);
            for error in [
                restorer.prepare(&[wanted]).await.unwrap_err(),
                restorer.restore(wanted, from_bytes("")).await.err().unwrap(),
                restorer.contents(&manifest, from_bytes("")).await.unwrap_err(),
            ] {
                assert_eq!((error.stage(), error.kind()), (Stage::Restore, Kind::Usage));
                assert!(error.remedy().is_some_and(|hint| hint.contains("--output")), "{error:?}");
            }
        }
    }
}
