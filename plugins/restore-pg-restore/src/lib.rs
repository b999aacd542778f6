//! Brings backups back into a cluster: archives with `pg_restore`, scripts with `psql`.
//!
//! | file | holds |
//! | --- | --- |
//! | `landing.rs` | the database to restore into: whether it is there, empty, or to be made |
//! | `archive.rs` | pg_restore, from a pipe or from files |
//! | `script.rs` | psql, and the roles that are there already |
//! | `contents.rs` | what is in a backup |

mod archive;
mod contents;
mod landing;
mod script;

use async_trait::async_trait;
use longshore_core::check::Finding;
use longshore_core::error::printable;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{Plugin, Target};
use longshore_core::stage::{Restore, Restored, Wanted};
use longshore_core::stream::ByteStream;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::server::Server;
use longshore_pg_client::tool::{Tool, Version};
use serde::Deserialize;

use crate::archive::Ready;
use crate::landing::Landing;

/// Restores with PostgreSQL's own programs. It has no settings: all it needs is the target.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PgRestore {}

impl Plugin<dyn Restore> for PgRestore {
    const TYPE: &'static str = "pg_restore";

    fn build(self, target: &Target) -> Result<Box<dyn Restore>> {
        Ok(Box::new(Restorer { client: Client::new(&target.cluster)?, target: target.clone() }))
    }
}

/// A stage that restores into one target.
struct Restorer {
    client: Client,
    target: Target,
}

impl Restorer {
    /// The database that is restored into: the one that the connection names, else the one that was backed up.
    fn database<'a>(&'a self, backed_up: &'a str) -> &'a str {
        self.client.database().unwrap_or(backed_up)
    }

    /// A program that reads what `manifest`'s tool wrote and works with the target's server.
    async fn tool(&self, name: &'static str, manifest: &Manifest) -> Result<Tool> {
        let server = Server::look(&landing::maintenance(&self.client, "postgres")).await?.version()?;
        let written_by = Version::parse(&manifest.tool.version).filter(|version| version.major > server.major);
        self.client.tool(name, &written_by.unwrap_or(server)).await
    }

    /// Restores into a database that is there, or that is made for it.
    async fn fill(&self, manifest: &Manifest, database: &str, landing: Landing, ready: Ready) -> Result<Vec<String>> {
        let made = landing != Landing::There;
        let plain = manifest.artifact.format == Format::Plain;
        // pg_restore makes a database of the same name with all its properties; another name is ours to make.
        let by_archive = made && !plain && manifest.subject == Subject::database(database);
        if made && !by_archive {
            landing::make(&self.client, database, manifest.database.as_ref()).await?;
        }
        if plain {
            let client = self.client.to_database(database);
            script::restore(&client, &manifest.subject.to_string(), ready.into_stream()).await?;
        } else if by_archive {
            let client = landing::maintenance(&self.client, database);
            archive::restore(self, &client, archive::Create::Database, manifest, ready).await?;
        } else {
            let client = self.client.to_database(database);
            archive::restore(self, &client, archive::Create::Content, manifest, ready).await?;
        }
        if by_archive {
            return Ok(Vec::new());
        }
        Ok(vec![format!(
            "database \"{}\": its own owner, privileges and settings are not restored, only what is in it; they are where \
             pg_restore makes it anew under its own name",
            printable(database)
        )])
    }

    /// Refuses what cannot work or would harm the target, for one of several backups.
    async fn admit(&self, manifest: &Manifest) -> Result<()> {
        let label = manifest.subject.to_string();
        let target = Server::look(&landing::maintenance(&self.client, "postgres")).await?.version()?;
        let source = Version::parse(&manifest.cluster.server.server_version);
        if let Some(source) = source.filter(|source| source.major > target.major) {
            let message =
                format!("comes from PostgreSQL {source}, and the target is PostgreSQL {target}, which is older");
            return Err(Error::new(Stage::Restore, Kind::Refused, label, message)
                .hint("restore into a cluster of the same or a newer major version"));
        }
        match &manifest.subject {
            Subject::Database { name } => {
                if manifest.artifact.format != Format::Plain {
                    self.tool("pg_restore", manifest).await?;
                }
                archive::needs_scratch(&self.target, manifest)?;
                landing::look(&self.client, &self.target, self.database(name)).await.map(drop)
            }
            Subject::Schema | Subject::All => landing::expect_empty_cluster(&self.client, &self.target, &label).await,
            Subject::Globals | Subject::Roles | Subject::Tablespaces => Ok(()),
        }
    }
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
        for wanted in wanted {
            self.admit(wanted.manifest).await?;
        }
        Ok(Vec::new())
    }

    async fn restore(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<Restored> {
        let Subject::Database { name } = &manifest.subject else {
            let notes = script::restore_cluster(self, manifest, plaintext).await?;
            return Ok(Restored { notes, phases: Vec::new() });
        };
        let database = self.database(name);
        // What cannot even be opened must not cost the target what it has.
        let ready = archive::make_ready(&self.target, manifest, plaintext).await?;
        let landing = landing::look(&self.client, &self.target, database).await?;
        let aside = match landing {
            Landing::ToBeReplaced => Some(landing::set_aside(&self.client, database, manifest).await?),
            Landing::There | Landing::ToBeMade => None,
        };
        match self.fill(manifest, database, landing, ready).await {
            Ok(notes) => {
                if let Some(aside) = aside {
                    landing::drop(&self.client, &aside).await?;
                }
                Ok(Restored { notes, phases: Vec::new() })
            }
            Err(error) if landing == Landing::There => Err(unfinished(error, database)),
            Err(error) => {
                let undone = landing::undo(&self.client, database, aside.as_deref()).await;
                Err(if undone.is_ok() { error } else { unfinished(error, aside.as_deref().unwrap_or(database)) })
            }
        }
    }

    async fn contents(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<Vec<String>> {
        contents::list(&self.client, &self.target, manifest, plaintext).await
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
