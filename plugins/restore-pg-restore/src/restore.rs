//! Restores one backup into its database: checks, creates and fills the database, and rolls back
//! after a failure.

use std::time::Instant;

use longshore_core::drill::Phase;
use longshore_core::error::printable;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::TargetContent;
use longshore_core::stage::{RestoreRequest, Restored};
use longshore_core::stream::ByteStream;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result};
use longshore_pg_archive::outline::Outline;
use longshore_pg_client::money;

use crate::archive::Input;
use crate::database::Create;
use crate::rollback::Rollback;
use crate::target_database::DatabaseState;
use crate::{Restorer, archive, database, phase, schema, script, target_database};

/// The way to create a database for a restore.
enum CreateMode {
    /// As described in the archive, with its owner and settings.
    AsArchived,
    /// With the recorded encoding and locale.
    AsRecorded,
}

impl Restorer {
    /// Restores a backup into its database, or into the whole cluster.
    pub(crate) async fn restore_backup(&self, wanted: RestoreRequest<'_>, plaintext: ByteStream) -> Result<Restored> {
        let manifest = wanted.manifest;
        let Subject::Database { name } = &manifest.subject else {
            let started = Instant::now();
            let notes = script::restore_cluster(self, manifest, plaintext).await?;
            return Ok(Restored { notes, phases: vec![phase("restore", started)], ..Restored::default() });
        };
        let database = self.database(name);
        // An unreadable backup must not cost the target its database.
        let started = Instant::now();
        let input = archive::open_input(&self.target, manifest, plaintext).await?;
        let mut phases = Vec::new();
        if input.is_in_files() {
            phases.push(phase("decrypt", started));
        }
        let facts = manifest.database.as_ref();
        let state = target_database::check(&self.client, &self.target, database, facts).await?;
        if state == DatabaseState::Ready {
            let restored = self.fill(wanted, database, state, input).await;
            return match restored {
                Ok(mut restored) => {
                    phases.append(&mut restored.phases);
                    Ok(Restored { phases, database: Some(database.to_owned()), ..restored })
                }
                Err(error) => Err(with_partial_content_hint(error, database)),
            };
        }
        let rollback = Rollback::new(&self.client, &self.target, database);
        let filled = async {
            if state == DatabaseState::ToReplace {
                rollback.set_aside(manifest.time).await?;
            }
            rollback.create(self.create_statement(wanted, database, input.outline())).await?;
            self.fill(wanted, database, state, input).await
        };
        let mut restored = match filled.await {
            Ok(restored) => restored,
            Err(error) => return Err(rollback.run(error).await),
        };
        restored.warnings.extend(rollback.finish().await?);
        phases.append(&mut restored.phases);
        Ok(Restored { phases, database: Some(database.to_owned()), ..restored })
    }

    /// Returns the way to create the database.
    fn create_mode(&self, wanted: RestoreRequest<'_>, database: &str, outline: Option<&Outline>) -> CreateMode {
        // A database under another name, or one that needs schemas first, is created with our own
        // statement.
        let same = wanted.manifest.subject == Subject::database(database);
        match outline.is_some_and(database::is_described) && same && schema::selected(&self.target, wanted).is_empty() {
            true => CreateMode::AsArchived,
            false => CreateMode::AsRecorded,
        }
    }

    /// Returns the statement that creates the database.
    fn create_statement(&self, wanted: RestoreRequest<'_>, name: &str, outline: Option<&Outline>) -> Create {
        let subject = wanted.manifest.subject.to_string();
        let archived = match self.create_mode(wanted, name, outline) {
            CreateMode::AsArchived => outline.and_then(|outline| database::create(&subject, outline)),
            CreateMode::AsRecorded => None,
        };
        archived.unwrap_or_else(|| {
            let statement = longshore_pg_client::database::create(name, wanted.manifest.database.as_ref());
            Create { subject, statement: statement.into_bytes(), encoding: "UTF8".to_owned() }
        })
    }

    /// Restores into a database that existed or was created for the restore.
    async fn fill(
        &self,
        wanted: RestoreRequest<'_>,
        database: &str,
        state: DatabaseState,
        input: Input,
    ) -> Result<Restored> {
        let manifest = wanted.manifest;
        let schemas = schema::selected(&self.target, wanted);
        let as_archived = state != DatabaseState::Ready
            && matches!(self.create_mode(wanted, database, input.outline()), CreateMode::AsArchived);
        let mut notes = schema::create(&self.client.to_database(database), &schemas).await?;
        let mut restored = if manifest.artifact.format == Format::Plain {
            self.run_script(database, manifest, input).await?
        } else {
            archive::restore(self, database, as_archived, manifest, input).await?
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

    async fn run_script(&self, database: &str, manifest: &Manifest, input: Input) -> Result<Restored> {
        let started = Instant::now();
        let client = target_database::maintenance(&self.client, database);
        let client = money::as_dumped(&client, manifest.database.as_ref()).await?.to_database(database);
        let restored = script::restore_database(self, &client, manifest, input.into_stream()).await;
        restored.map_err(|error| match error.remedy() {
            None if error.kind() == Kind::Failed => error.hint(
                "a script is restored completely or not at all: to restore the rest of it, write it to a file with --output, \
                 remove the failed statement, and run it with psql",
            ),
            _ => error,
        })?;
        let phases: Vec<Phase> = vec![phase("restore", started)];
        Ok(Restored { phases, ..Restored::default() })
    }
}

/// Adds a hint about the state in which a failed restore leaves a database.
fn with_partial_content_hint(error: Error, database: &str) -> Error {
    if error.remedy().is_some() {
        return error;
    }
    let name = printable(database);
    error.hint(format!("check database \"{name}\": it may contain a part of the backup"))
}
