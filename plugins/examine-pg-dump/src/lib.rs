//! Asks a restored database whether it is what was dumped: `pg_dump` dumps it again, and what `longshore-pg-archive` finds in that dump is
//! held against what it found in the first.
//!
//! | file | holds |
//! | --- | --- |
//! | `dump.rs` | the second dump, read as it comes: nothing of it lands on disk |
//! | `tables.rs` | rows and their contents |
//! | `sequences.rs` | what sequences are set to |
//! | `objects.rs` | all that a dump lists: tables, indexes, views, functions, … |
//! | `ask.rs` | a query of the owner's, and its answer |

mod ask;
mod dump;
mod objects;
mod sequences;
mod tables;

use async_trait::async_trait;
use longshore_core::drill::{Compared, Comparison};
use longshore_core::left_out;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{Cluster, Plugin};
use longshore_core::stage::Examine;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::Facts;
use longshore_pg_client::client::Client;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Under which key of the details the facts of a dump stand.
const DETAILS: &str = "archive";

/// Examines with PostgreSQL's own programs. It has no settings: all it needs is the cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PgDump {}

impl Plugin<dyn Examine> for PgDump {
    const TYPE: &'static str = "pg_dump";

    fn build(self, cluster: &Cluster) -> Result<Box<dyn Examine>> {
        Ok(Box::new(Examiner { client: Client::new(cluster)? }))
    }
}

/// A stage that examines the databases of one cluster.
struct Examiner {
    client: Client,
}

#[async_trait]
impl Examine for Examiner {
    async fn compare(
        &self,
        database: &str,
        manifest: &Manifest,
        details: &Map<String, Value>,
    ) -> Result<Vec<Comparison>> {
        let Some(recorded) = details.get(DETAILS) else { return Ok(vec![unrecorded(database)]) };
        let recorded = Facts::deserialize(recorded).map_err(|error| {
            let message = "the record of what was in it is not one that this version reads";
            Error::new(Stage::Verify, Kind::Corrupt, manifest.subject.to_string(), message).because(error)
        })?;
        let recorded = of_database(recorded, database, manifest);
        let found = dump::again(&self.client.to_database(database), database, manifest, &recorded).await?;
        let mut all = tables::compare(&recorded, &found);
        all.extend(sequences::compare(&recorded, &found));
        let left_out = details.get(left_out::DETAILS).and_then(|lines| Vec::deserialize(lines).ok());
        all.extend(objects::compare(&recorded, &found, &left_out.unwrap_or_default(), manifest));
        if all.is_empty() {
            // That a database is as empty as it was is a result, too.
            let subject = format!("database {database}");
            all.push(compared(&subject, "tables", &recorded.tables.len(), &found.tables.len()));
        }
        Ok(all)
    }

    async fn ask(&self, database: &str, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        ask::ask(&self.client.to_database(database), database, query).await
    }
}

/// That there is nothing to hold a database against.
fn unrecorded(database: &str) -> Comparison {
    let why = "the backup has no record of what was in it: dump with verify = [{ type = \"pg_archive\" }], and drill with the identity";
    Comparison {
        subject: format!("database {database}"),
        aspect: "content".to_owned(),
        expected: None,
        found: None,
        outcome: Compared::Not(why.to_owned()),
    }
}

/// What was recorded of one database, where a script is of a whole cluster.
fn of_database(mut recorded: Facts, database: &str, manifest: &Manifest) -> Facts {
    if !manifest.subject.is_database() {
        recorded.tables.retain(|table| table.database.as_deref().is_none_or(|name| name == database));
        recorded.sequences.retain(|sequence| sequence.database.as_deref().is_none_or(|name| name == database));
    }
    recorded
}

/// A comparison of two numbers or texts, the same or not.
fn compared<T: ToString + PartialEq>(subject: &str, aspect: &str, expected: &T, found: &T) -> Comparison {
    Comparison {
        subject: subject.to_owned(),
        aspect: aspect.to_owned(),
        expected: Some(expected.to_string()),
        found: Some(found.to_string()),
        outcome: if expected == found { Compared::Same } else { Compared::Different },
    }
}
