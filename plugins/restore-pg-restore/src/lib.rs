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
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{Plugin, Target};
use longshore_core::stage::Restore;
use longshore_core::stream::ByteStream;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::server::Server;
use longshore_pg_client::tool::{Tool, Version};
use serde::Deserialize;

use crate::landing::Landing;

/// Restores with PostgreSQL's own programs. It has no settings: all it needs is the target.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PgRestore {}

impl Plugin<dyn Restore> for PgRestore {
    const TYPE: &'static str = "pg_restore";

    fn build(self, target: &Target) -> Result<Box<dyn Restore>> {
        Ok(Box::new(Hoist { client: Client::new(&target.cluster)?, target: target.clone() }))
    }
}

/// A stage that restores into one target.
struct Hoist {
    client: Client,
    target: Target,
}

impl Hoist {
    /// The database that is restored into: the one that the connection names, else the one that was backed up.
    fn database<'a>(&'a self, backed_up: &'a str) -> &'a str {
        self.client.database().unwrap_or(backed_up)
    }

    /// A program that reads what `manifest`'s tool wrote and works with the target's server.
    async fn tool(&self, name: &'static str, manifest: &Manifest) -> Result<Tool> {
        let server = Server::look(&landing::maintenance(&self.client, "")).await?.version()?;
        let written_by = Version::parse(&manifest.tool.version).filter(|version| version.major > server.major);
        self.client.tool(name, &written_by.unwrap_or(server)).await
    }
}

#[async_trait]
impl Restore for Hoist {
    async fn prepare(&self, manifest: &Manifest) -> Result<()> {
        let label = manifest.subject.to_string();
        let target = Server::look(&landing::maintenance(&self.client, "")).await?.version()?;
        let source = Version::parse(&manifest.cluster.server.server_version);
        if let Some(source) = source.filter(|source| source.major > target.major) {
            let message =
                format!("comes from PostgreSQL {source}, and the target is PostgreSQL {target}, which is older");
            return Err(Error::new(Stage::Restore, Kind::Refused, label, message)
                .hint("restore into a cluster of the same or a newer major version"));
        }
        self.tool("pg_restore", manifest).await?;
        let Subject::Database { name } = &manifest.subject else {
            return Ok(());
        };
        landing::look(&self.client, &self.target, self.database(name)).await.map(drop)
    }

    async fn restore(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<Vec<String>> {
        let Subject::Database { name } = &manifest.subject else {
            return script::restore_cluster(self, manifest, plaintext).await;
        };
        let database = self.database(name);
        let landing = landing::look(&self.client, &self.target, database).await?;
        // pg_restore makes a database of the same name with all its properties; another name is ours to make.
        let by_archive = manifest.artifact.format != Format::Plain && database == name;
        if landing == Landing::ToBeReplaced {
            landing::drop(&self.client, database).await?;
        }
        let made = landing != Landing::There;
        let (client, create) = match (made, by_archive) {
            (true, true) => (landing::maintenance(&self.client, database), archive::Create::Database),
            (true, false) => {
                landing::make(&self.client, database, manifest.database.as_ref()).await?;
                (self.client.to_database(database), archive::Create::Content)
            }
            (false, _) => (self.client.to_database(database), archive::Create::Content),
        };
        let restored = match manifest.artifact.format {
            Format::Plain => script::restore(&client, &manifest.subject.to_string(), plaintext).await,
            _ => archive::restore(self, &client, create, manifest, plaintext).await,
        };
        restored.map_err(|error| if made { half_made(error, database) } else { error })?;
        let mut notes = Vec::new();
        if made && !by_archive {
            notes.push(format!("made database \"{database}\": owner, privileges and settings of the database itself are not restored under another name or from a script"));
        }
        Ok(notes)
    }

    async fn contents(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<Vec<String>> {
        contents::list(&self.client, &self.target, manifest, plaintext).await
    }
}

/// Says in what state a failed restore leaves a database that it had made.
fn half_made(error: Error, database: &str) -> Error {
    if error.remedy().is_some() {
        return error;
    }
    error.hint(format!(
        "database \"{database}\" may have been made and hold a part of the backup: drop it before you try again"
    ))
}
