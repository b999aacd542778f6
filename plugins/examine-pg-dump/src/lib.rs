//! Compares a restored database with its dump: `pg_dump` dumps the database again, and the facts
//! that `longshore-pg-archive` reads from the second dump are compared with those of the first.
//!
//! | file | contents |
//! | --- | --- |
//! | `dump.rs` | the dump of the restored database, read as a stream without writing to disk |
//! | `amcheck.rs` | the structure of tables and indexes, for a cluster restored as files |
//! | `tables.rs` | rows and their contents |
//! | `sequences.rs` | the values of sequences |
//! | `objects.rs` | the objects that a dump lists: tables, indexes, views, functions, … |
//! | `environment.rs` | extensions and triggers, which may change rows |
//! | `roles.rs` | the roles of a cluster |
//! | `query.rs` | a user's query and its result |

mod amcheck;
mod dump;
mod environment;
mod objects;
mod query;
mod roles;
mod sequences;
mod tables;

use async_trait::async_trait;
use longshore_core::Result;
use longshore_core::drill::{Comparison, ComparisonOutcome};
use longshore_core::left_out;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{Cluster, Plugin};
use longshore_core::stage::{Examine, StructurePart};
use longshore_core::subject::SubjectKind;
use longshore_pg_archive::Facts;
use longshore_pg_client::client::Client;
use longshore_pg_client::server::Server;
use longshore_pg_client::tool::Version;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::environment::Environment;

/// The key of a dump's facts in the details.
const DETAILS: &str = "archive";

/// Examines with PostgreSQL's own programs. The stage has no settings and needs only the cluster.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
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
        let Ok(recorded) = Facts::deserialize(recorded) else { return Ok(vec![unknown_record(database)]) };
        let recorded = of_database(recorded, database, manifest);
        let client = self.client.to_database(database);
        let server = Server::query(&client).await?.version()?;
        let environment = Environment::query(&client, details, major_versions(manifest, &server)).await?;
        let found = dump::repeat(&client, database, manifest, &recorded, &server).await?;
        let mut all = versions(&environment);
        all.extend(tables::compare(&recorded, &found, &environment));
        all.extend(sequences::compare(&recorded, &found, &environment));
        let left_out: Option<Vec<String>> =
            details.get(left_out::DETAILS).and_then(|lines| Vec::deserialize(lines).ok());
        all.extend(objects::compare(&recorded, &found, &left_out.unwrap_or_default(), manifest, &environment));
        if all.is_empty() {
            // An empty database that is still empty is a result as well.
            let subject = format!("database {database}");
            all.push(compared(&subject, "tables", &recorded.tables.len(), &found.tables.len()));
        }
        Ok(all)
    }

    async fn compare_globals(&self, details: &Map<String, Value>) -> Result<Vec<Comparison>> {
        let facts = details.get(DETAILS).and_then(|recorded| Facts::deserialize(recorded).ok());
        match facts {
            Some(facts) => roles::compare(&self.client, &facts.created_roles).await,
            None => Ok(Vec::new()),
        }
    }

    fn roles(&self, details: &Map<String, Value>) -> Vec<String> {
        let facts = details.get(DETAILS).and_then(|recorded| Facts::deserialize(recorded).ok());
        facts.map(|facts| facts.roles.into_iter().collect()).unwrap_or_default()
    }

    async fn check_structure(&self, database: &str, part: StructurePart) -> Result<Vec<Comparison>> {
        let client = self.client.to_database(database);
        let server = Server::query(&client).await?.version()?;
        amcheck::check(&client, database, &server, part).await
    }

    async fn read(&self, database: &str) -> Result<Vec<Comparison>> {
        let client = self.client.to_database(database);
        let server = Server::query(&client).await?.version()?;
        let found = dump::first(&client, database, &server).await?;
        Ok(vec![all_read(database, &found)])
    }

    async fn ask(&self, database: &str, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        query::rows(&self.client.to_database(database), database, query).await
    }
}

/// Returns the comparison for a database whose rows were all read. No record has their number.
fn all_read(database: &str, found: &Facts) -> Comparison {
    let rows: u64 = found.tables.iter().filter_map(|table| table.rows).sum();
    let (tables, objects) = (found.tables.len(), found.large_objects.count);
    Comparison {
        subject: format!("database {database}"),
        aspect: "reading".to_owned(),
        expected: Some("readable".to_owned()),
        found: Some(format!("readable: {rows} rows of {tables} tables, {objects} large objects")),
        outcome: ComparisonOutcome::Same,
    }
}

/// Returns the comparison for a backup without a record of its content.
fn unrecorded(database: &str) -> Comparison {
    let reason = "the backup has no record of its content: dump with verify = [{ type = \"pg_archive\" }], and drill with the identity";
    Comparison {
        subject: format!("database {database}"),
        aspect: "content".to_owned(),
        expected: None,
        found: None,
        outcome: ComparisonOutcome::Not(reason.to_owned()),
    }
}

/// Returns the comparison for a record in an unknown version.
fn unknown_record(database: &str) -> Comparison {
    let reason = "the record of its content was written by another version of Longshore and cannot be read";
    Comparison { outcome: ComparisonOutcome::Not(reason.to_owned()), ..unrecorded(database) }
}

/// Returns the major versions of the dumped server and of this one, if they differ.
fn major_versions(manifest: &Manifest, here: &Version) -> Option<(String, String)> {
    let source = Version::parse(&manifest.cluster.server.server_version)?;
    (source.major != here.major).then(|| (source.major.to_string(), here.major.to_string()))
}

/// Returns one comparison per extension whose version differs.
fn versions(environment: &Environment) -> Vec<Comparison> {
    let all = environment.versions().into_iter();
    all.map(|difference| Comparison {
        subject: "extensions".to_owned(),
        aspect: "version".to_owned(),
        expected: None,
        found: None,
        outcome: ComparisonOutcome::Not(difference),
    })
    .collect()
}

/// Returns the record of one database, also from the script of a whole cluster.
fn of_database(mut recorded: Facts, database: &str, manifest: &Manifest) -> Facts {
    if manifest.subject.kind() == SubjectKind::ClusterSql {
        recorded.tables.retain(|table| table.database.as_deref().is_none_or(|name| name == database));
        recorded.sequences.retain(|sequence| sequence.database.as_deref().is_none_or(|name| name == database));
    }
    recorded
}

/// Compares two numbers or texts.
fn compared<T: ToString + PartialEq>(subject: &str, aspect: &str, expected: &T, found: &T) -> Comparison {
    Comparison {
        subject: subject.to_owned(),
        aspect: aspect.to_owned(),
        expected: Some(expected.to_string()),
        found: Some(found.to_string()),
        outcome: if expected == found { ComparisonOutcome::Same } else { ComparisonOutcome::Different },
    }
}

/// Returns the comparison, with a difference replaced by a reason outside the backup, if there is
/// one.
fn unless_explained(reason: Option<String>, comparison: Comparison) -> Comparison {
    match (reason, &comparison.outcome) {
        (Some(reason), ComparisonOutcome::Different) => {
            Comparison { outcome: ComparisonOutcome::Not(reason), ..comparison }
        }
        _ => comparison,
    }
}
