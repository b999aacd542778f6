//! Restores one backup into its database: checks, creates and fills the database, and rolls back
//! after a failure.

use std::time::Instant;

use longshore_core::drill::Phase;
use longshore_core::error::printable;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::TargetContent;
use longshore_core::stage::{Restored, Wanted};
use longshore_core::stream::ByteStream;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result};
use longshore_pg_archive::outline::Outline;
use longshore_pg_client::money;

use crate::archive::Ready;
use crate::database::Create;
use crate::landing::Landing;
use crate::undo::Undo;
use crate::{Restorer, archive, database, landing, phase, schema, script};

/// The way to create a database for a restore.
enum Make {
    /// As described in the archive, with its owner and settings.
    AsArchived,
    /// With the recorded encoding and locale.
    AsRecorded,
}

impl Restorer {
    /// Restores a backup into its database, or into the whole cluster.
    pub(crate) async fn bring(&self, wanted: Wanted<'_>, plaintext: ByteStream) -> Result<Restored> {
        let manifest = wanted.manifest;
        let Subject::Database { name } = &manifest.subject else {
            let begun = Instant::now();
            let notes = script::restore_cluster(self, manifest, plaintext).await?;
            return Ok(Restored { notes, phases: vec![phase("restore", begun)], ..Restored::default() });
        };
        let database = self.database(name);
        // An unreadable backup must not cost the target its database.
        let begun = Instant::now();
        let ready = archive::make_ready(&self.target, manifest, plaintext).await?;
        let mut phases = Vec::new();
        if ready.is_in_files() {
            phases.push(phase("decrypt", begun));
        }
        let landing = landing::look(&self.client, &self.target, database).await?;
        if landing == Landing::There {
            let restored = self.fill(wanted, database, landing, ready).await;
            return match restored {
                Ok(mut restored) => {
                    phases.append(&mut restored.phases);
                    Ok(Restored { phases, database: Some(database.to_owned()), ..restored })
                }
                Err(error) => Err(unfinished(error, database)),
            };
        }
        let undo = Undo::new(&self.client, &self.target, database);
        let filled = async {
            if landing == Landing::ToBeReplaced {
                undo.set_aside(manifest.time).await?;
            }
            undo.make(self.create(wanted, database, ready.outline())).await?;
            self.fill(wanted, database, landing, ready).await
        };
        let mut restored = match filled.await {
            Ok(restored) => restored,
            Err(error) => return Err(undo.undo(error).await),
        };
        restored.warnings.extend(undo.finish().await?);
        phases.append(&mut restored.phases);
        Ok(Restored { phases, database: Some(database.to_owned()), ..restored })
    }

    /// Returns the way to create the database.
    fn make_as(&self, wanted: Wanted<'_>, database: &str, outline: Option<&Outline>) -> Make {
        // A database under another name, or one that needs schemas first, is created with our own
        // statement.
        let same = wanted.manifest.subject == Subject::database(database);
        match outline.is_some_and(database::is_described) && same && schema::needed(&self.target, wanted).is_empty() {
            true => Make::AsArchived,
            false => Make::AsRecorded,
        }
    }

    /// Returns the statement that creates the database.
    fn create(&self, wanted: Wanted<'_>, name: &str, outline: Option<&Outline>) -> Create {
        let subject = wanted.manifest.subject.to_string();
        let archived = match self.make_as(wanted, name, outline) {
            Make::AsArchived => outline.and_then(|outline| database::create(&subject, outline)),
            Make::AsRecorded => None,
        };
        archived.unwrap_or_else(|| {
            let statement = longshore_pg_client::database::create(name, wanted.manifest.database.as_ref());
            Create { subject, statement: statement.into_bytes(), encoding: "UTF8".to_owned() }
        })
    }

    /// Restores into a database that existed or was created for the restore.
    async fn fill(&self, wanted: Wanted<'_>, database: &str, landing: Landing, ready: Ready) -> Result<Restored> {
        let manifest = wanted.manifest;
        let schemas = schema::needed(&self.target, wanted);
        let as_archived =
            landing != Landing::There && matches!(self.make_as(wanted, database, ready.outline()), Make::AsArchived);
        let mut notes = schema::make(&self.client.to_database(database), &schemas).await?;
        let mut restored = if manifest.artifact.format == Format::Plain {
            self.run_script(database, manifest, ready).await?
        } else {
            archive::restore(self, database, as_archived, manifest, ready).await?
        };
        if !as_archived && self.target.content != TargetContent::Append {
            notes.push(format!(
                "database \"{}\": its own owner, privileges and settings are not restored, only its content; to restore them, \
                 let the restore create the database under its original name",
                printable(database)
            ));
        }
        notes.append(&mut restored.notes);
        Ok(Restored { notes, ..restored })
    }

    async fn run_script(&self, database: &str, manifest: &Manifest, ready: Ready) -> Result<Restored> {
        let begun = Instant::now();
        let client = landing::maintenance(&self.client, database);
        let client = money::as_dumped(&client, manifest.database.as_ref()).await?.to_database(database);
        let restored = script::restore_database(self, &client, manifest, ready.into_stream()).await;
        restored.map_err(|error| match error.remedy() {
            None if error.kind() == Kind::Failed => error.hint(
                "a script is restored completely or not at all: to restore the rest of it, write it to a file with --output, \
                 remove the failed statement, and run it with psql",
            ),
            _ => error,
        })?;
        let phases: Vec<Phase> = vec![phase("restore", begun)];
        Ok(Restored { phases, ..Restored::default() })
    }
}

/// Adds a hint about the state in which a failed restore leaves a database.
fn unfinished(error: Error, database: &str) -> Error {
    if error.remedy().is_some() {
        return error;
    }
    let name = printable(database);
    error.hint(format!("check database \"{name}\": it may contain a part of the backup"))
}
