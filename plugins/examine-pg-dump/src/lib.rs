//! Asks a restored database whether it is what was dumped: `pg_dump` dumps it again, and what `longshore-pg-archive` finds in that dump is
//! held against what it found in the first.
//!
//! | file | holds |
//! | --- | --- |
//! | `dump.rs` | the second dump, read as it comes: nothing of it lands on disk |
//! | `tables.rs` | rows and their contents |
//! | `sequences.rs` | what sequences are set to |
//! | `objects.rs` | all that a dump lists: tables, indexes, views, functions, … |
//! | `surroundings.rs` | what of the database may change its rows, and is no part of the backup |
//! | `roles.rs` | the roles of a cluster |
//! | `ask.rs` | a query of the owner's, and its answer |

mod ask;
mod dump;
mod objects;
mod roles;
mod sequences;
mod surroundings;
mod tables;

use async_trait::async_trait;
use longshore_core::Result;
use longshore_core::drill::{Compared, Comparison};
use longshore_core::left_out;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{Cluster, Plugin};
use longshore_core::stage::Examine;
use longshore_pg_archive::Facts;
use longshore_pg_client::client::Client;
use longshore_pg_client::server::Server;
use longshore_pg_client::tool::Version;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::surroundings::Surroundings;

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
        let Ok(recorded) = Facts::deserialize(recorded) else { return Ok(vec![unknown_record(database)]) };
        let recorded = of_database(recorded, database, manifest);
        let client = self.client.to_database(database);
        let server = Server::look(&client).await?.version()?;
        let surroundings = Surroundings::look(&client, details, releases(manifest, &server)).await?;
        let found = dump::again(&client, database, manifest, &recorded, &server).await?;
        let mut all = versions(&surroundings);
        all.extend(tables::compare(&recorded, &found, &surroundings));
        all.extend(sequences::compare(&recorded, &found, &surroundings));
        let left_out: Option<Vec<String>> =
            details.get(left_out::DETAILS).and_then(|lines| Vec::deserialize(lines).ok());
        all.extend(objects::compare(&recorded, &found, &left_out.unwrap_or_default(), manifest, &surroundings));
        if all.is_empty() {
            // That a database is as empty as it was is a result, too.
            let subject = format!("database {database}");
            all.push(compared(&subject, "tables", &recorded.tables.len(), &found.tables.len()));
        }
        Ok(all)
    }

    async fn compare_globals(&self, details: &Map<String, Value>) -> Result<Vec<Comparison>> {
        let facts = details.get(DETAILS).and_then(|recorded| Facts::deserialize(recorded).ok());
        match facts {
            Some(facts) => roles::compare(&self.client, &facts.made_roles).await,
            None => Ok(Vec::new()),
        }
    }

    fn roles(&self, details: &Map<String, Value>) -> Vec<String> {
        let facts = details.get(DETAILS).and_then(|recorded| Facts::deserialize(recorded).ok());
        facts.map(|facts| facts.roles.into_iter().collect()).unwrap_or_default()
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

/// That the record is one of a version that is not known here.
fn unknown_record(database: &str) -> Comparison {
    let why = "another version of Longshore wrote the record of what was in it, which this one cannot read";
    Comparison { outcome: Compared::Not(why.to_owned()), ..unrecorded(database) }
}

/// The major versions of the server that was dumped and of this one, where they differ.
fn releases(manifest: &Manifest, here: &Version) -> Option<(String, String)> {
    let there = Version::parse(&manifest.cluster.server.server_version)?;
    (there.major != here.major).then(|| (there.major.to_string(), here.major.to_string()))
}

/// Extensions whose versions differ, each named.
fn versions(surroundings: &Surroundings) -> Vec<Comparison> {
    let all = surroundings.versions().into_iter();
    all.map(|difference| Comparison {
        subject: "extensions".to_owned(),
        aspect: "version".to_owned(),
        expected: None,
        found: None,
        outcome: Compared::Not(difference),
    })
    .collect()
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

/// The same comparison where a difference has this reason, if it has one, which is not the backup's.
fn unless(reason: Option<String>, comparison: Comparison) -> Comparison {
    match (reason, &comparison.outcome) {
        (Some(reason), Compared::Different) => Comparison { outcome: Compared::Not(reason), ..comparison },
        _ => comparison,
    }
}
