//! Brings backups back into a cluster: archives with `pg_restore`, scripts with `psql`.
//!
//! | file | holds |
//! | --- | --- |
//! | `prepare.rs` | a look at the target before a byte is fetched |
//! | `landing.rs` | the database to restore into: whether it is there, empty, or to be made |
//! | `archive.rs` | pg_restore, from a pipe or from files |
//! | `selection.rs` | what of an archive is restored |
//! | `schema.rs` | the schemas that what was chosen lies in |
//! | `roles.rs` | archives under other roles |
//! | `script.rs` | psql, and the roles that are there already |
//! | `psql.rs` | which psql may be trusted with a script |
//! | `patience.rs` | giving up what stalls |
//! | `contents.rs` | what is in a backup |

mod archive;
mod contents;
mod landing;
mod patience;
mod prepare;
mod psql;
mod roles;
mod schema;
mod script;
mod selection;

use std::time::Instant;

use async_trait::async_trait;
use longshore_core::check::Finding;
use longshore_core::drill::Phase;
use longshore_core::error::printable;
use longshore_core::left_out::LeftOut;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{Plugin, Statistics, Target, TargetContent};
use longshore_core::stage::{Restore, Restored, Wanted};
use longshore_core::stream::ByteStream;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Pipes, Running};
use longshore_pg_client::client::Client;
use longshore_pg_client::money;
use longshore_pg_client::pooler;
use longshore_pg_client::server::{Server, databases};
use longshore_pg_client::tool::{Tool, Version};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use crate::archive::{Create, Ready};
use crate::landing::Landing;
use crate::patience::Taken;

/// Restores with PostgreSQL's own programs. It has no settings: all it needs is the target.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PgRestore {}

impl Plugin<dyn Restore> for PgRestore {
    const TYPE: &'static str = "pg_restore";

    fn build(self, target: &Target) -> Result<Box<dyn Restore>> {
        Ok(Box::new(Restorer {
            client: Client::new(&target.cluster)?.writing(),
            target: target.clone(),
            version: OnceCell::new(),
        }))
    }
}

/// A stage that restores into one target.
struct Restorer {
    client: Client,
    target: Target,
    /// The server's.
    version: OnceCell<Version>,
}

impl Restorer {
    /// The database that is restored into: the one that the connection names, else the one that was backed up.
    fn database<'a>(&'a self, backed_up: &'a str) -> &'a str {
        self.client.database().unwrap_or(backed_up)
    }

    /// The version of the target's server, which is asked once.
    async fn version(&self) -> Result<&Version> {
        let look = async || {
            let client = landing::maintenance(&self.client, "postgres");
            pooler::refuse(&client).await?;
            Server::look(&client).await?.version()
        };
        self.version.get_or_try_init(look).await
    }

    /// A program that reads what `manifest`'s tool wrote and works with the target's server.
    async fn tool(&self, name: &'static str, manifest: &Manifest) -> Result<Tool> {
        let server = self.version().await?;
        let written_by = Version::parse(&manifest.tool.version).filter(|version| version.major > server.major);
        self.client.tool(name, written_by.as_ref().unwrap_or(server)).await
    }

    /// Restores into a database that is there, or that is made for it.
    async fn fill(
        &self,
        wanted: Wanted<'_>,
        database: &str,
        landing: Landing,
        ready: Ready,
    ) -> Result<(Vec<String>, Vec<Phase>)> {
        let manifest = wanted.manifest;
        let schemas = schema::needed(&self.target, wanted);
        let made = landing != Landing::There;
        let plain = manifest.artifact.format == Format::Plain;
        // pg_restore makes a database of the same name with all its properties; another name is ours to make, and one that needs schemas
        // before.
        let by_archive = made && !plain && schemas.is_empty() && manifest.subject == Subject::database(database);
        if made && !by_archive {
            landing::make(&self.client, database, manifest.database.as_ref()).await?;
        }
        let mut notes = schema::make(&self.client.to_database(database), &schemas).await?;
        let begun = Instant::now();
        let phases = if plain {
            let client = landing::maintenance(&self.client, database);
            let client = money::as_dumped(&client, manifest.database.as_ref()).await?.to_database(database);
            script::restore_database(self, &client, manifest, ready.into_stream()).await?;
            vec![phase("restore", begun)]
        } else {
            let create = if by_archive { Create::Database } else { Create::Content };
            archive::restore(self, database, create, manifest, ready).await?
        };
        if by_archive || self.target.content == TargetContent::Append {
            return Ok((notes, phases));
        }
        notes.push(format!(
            "database \"{}\": its own owner, privileges and settings are not restored, only what is in it; they are where \
             pg_restore makes it anew under its own name",
            printable(database)
        ));
        Ok((notes, phases))
    }

    /// Gathers the planner's statistics, which no dump brings.
    async fn analyze(&self, database: &str) -> Result<Phase> {
        let begun = Instant::now();
        let client = self.client.to_database(database);
        let mut command = client.psql().await?;
        command.args(["--command", "analyze"]);
        let work = async { Running::start(command, "psql", Pipes::Neither)?.wait().await };
        let limit = self.target.stall_timeout;
        let ended = patience::wait(&client, database, limit, &Taken::default(), work).await?;
        if !ended.status.success() {
            return Err(client.failure(Stage::Restore, database, &ended));
        }
        Ok(phase("analyze", begun))
    }

    /// The databases that a restore has filled, whose statistics are to be gathered.
    async fn filled(&self, manifest: &Manifest) -> Result<Vec<String>> {
        Ok(match &manifest.subject {
            Subject::Database { name } => vec![self.database(name).to_owned()],
            Subject::All => {
                let all = databases(&landing::maintenance(&self.client, "")).await?;
                all.into_iter().filter(|database| !database.template).map(|database| database.name).collect()
            }
            _ => Vec::new(),
        })
    }

    /// Fills the database that a backup is restored into, or the whole cluster.
    async fn bring(&self, wanted: Wanted<'_>, plaintext: ByteStream) -> Result<Restored> {
        let manifest = wanted.manifest;
        let Subject::Database { name } = &manifest.subject else {
            let begun = Instant::now();
            let notes = script::restore_cluster(self, manifest, plaintext).await?;
            return Ok(Restored {
                notes,
                phases: vec![phase("restore", begun)],
                database: None,
                left_out: Vec::new(),
                warnings: Vec::new(),
            });
        };
        let database = self.database(name);
        // What cannot even be opened must not cost the target what it has.
        let begun = Instant::now();
        let ready = archive::make_ready(&self.target, manifest, plaintext).await?;
        let mut phases = Vec::new();
        if matches!(ready, Ready::Folder(_)) {
            phases.push(phase("decrypt", begun));
        }
        let landing = landing::look(&self.client, &self.target, database).await?;
        let aside = match landing {
            Landing::ToBeReplaced => Some(landing::set_aside(&self.client, database, manifest).await?),
            Landing::There | Landing::ToBeMade => None,
        };
        let guard = match landing {
            Landing::There => None,
            Landing::ToBeMade | Landing::ToBeReplaced => {
                Some(landing::Guard::over(&self.client, database, aside.as_deref()).await?)
            }
        };
        let filled = self.fill(wanted, database, landing, ready).await;
        if let Some(guard) = guard {
            guard.dismiss();
        }
        match filled {
            Ok((notes, took)) => {
                if let Some(aside) = aside {
                    landing::drop(&self.client, &aside).await?;
                }
                phases.extend(took);
                let database = Some(database.to_owned());
                Ok(Restored { notes, phases, database, ..Restored::default() })
            }
            Err(error) if landing == Landing::There => Err(unfinished(error, database)),
            Err(error) => {
                if landing::is_anothers(&error, database) {
                    // Somebody else made it meanwhile; what was set aside is named in the hint.
                    return Err(unfinished(error, aside.as_deref().unwrap_or(database)));
                }
                let undone = landing::undo(&self.client, database, aside.as_deref()).await;
                Err(if undone.is_ok() { error } else { unfinished(error, aside.as_deref().unwrap_or(database)) })
            }
        }
    }
}

/// What was done since `begun`, without which nothing is restored.
fn phase(name: &str, begun: Instant) -> Phase {
    Phase { name: name.to_owned(), seconds: begun.elapsed().as_secs_f64(), restores: true }
}

#[async_trait]
impl Restore for Restorer {
    async fn prepare(&self, wanted: &[Wanted<'_>]) -> Result<Vec<Finding>> {
        let databases = wanted.iter().filter(|wanted| wanted.manifest.subject.is_database()).count();
        if let (Some(database), 2..) = (self.client.database(), databases) {
            let message = format!("{databases} databases cannot all be restored into one");
            return Err(Error::new(Stage::Restore, Kind::Usage, database, message)
                .hint("leave dbname out of the target's connection: each is restored under its own name"));
        }
        prepare::look(self, wanted).await
    }

    async fn restore(&self, wanted: Wanted<'_>, plaintext: ByteStream) -> Result<Restored> {
        let mut restored = self.bring(wanted, plaintext).await?;
        if self.target.statistics == Statistics::Gathered {
            for database in self.filled(wanted.manifest).await? {
                match self.analyze(&database).await {
                    Ok(phase) => restored.phases.push(phase),
                    // The data is there; only queries are planned worse.
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
        contents::list(&self.client, &self.target, manifest, plaintext).await
    }

    fn brings(&self, details: &Map<String, Value>, left_out: &[LeftOut]) -> Option<Map<String, Value>> {
        selection::brings(&self.target, details, left_out)
    }
}

/// Says in what state a failed restore leaves a database.
fn unfinished(error: Error, database: &str) -> Error {
    if error.remedy().is_some() {
        return error;
    }
    let name = printable(database);
    error.hint(format!("look at database \"{name}\": it may hold a part of the backup, or what was there before"))
}
