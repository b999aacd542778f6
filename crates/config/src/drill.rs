//! `[job.NAME.drill]`: the settings of a job's drills.

use std::path::PathBuf;

use longshore_core::stage::Scratch;
use longshore_core::unit::TimeSpan;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use crate::error::ConfigError;
use crate::reference;
use crate::registry::{Builder, Registry};
use crate::table::read;

/// The settings of a job's drills.
#[derive(Clone, Default)]
pub struct DrillSettings {
    /// The scratch server to restore to; `None` means the default.
    pub scratch: Option<Builder<dyn Scratch>>,
    /// The identity file that decrypts the job's backups.
    pub identity: Option<PathBuf>,
    /// The command whose output is an identity file.
    pub identity_command: Option<String>,
    /// The operator's queries.
    pub queries: Vec<Query>,
}

/// A query on a restored database.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The name of the database in the backup.
    pub database: String,
    /// The SQL text.
    pub sql: String,
    /// The expected result.
    pub expects: Expectation,
}

/// The expected value in the first column of the first row.
#[derive(Debug, Clone, PartialEq)]
pub enum Expectation {
    /// Exactly this text.
    Answer(String),
    /// A number of at least this value.
    AtLeast(f64),
    /// A time at most this long before the start of the backup.
    NewerThan(TimeSpan),
}

/// `[job.NAME.drill]`: the drills that test whether the job's backups can be restored.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The identity file that decrypts the job's backups.
    identity: Option<PathBuf>,
    /// The command whose output is an identity file.
    identity_command: Option<String>,
    /// The queries on the restored databases.
    #[serde(default)]
    query: Vec<WrittenQuery>,
    /// The server to restore to. By default a temporary cluster.
    #[serde(rename = "scratch")]
    #[schemars(with = "Option<reference::Scratch>")]
    _scratch: Option<serde::de::IgnoredAny>,
}

/// `[[job.NAME.drill.query]]`: a query on a restored database, with exactly one of `answer`,
/// `at_least` and `newer_than`.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DrillQuery")]
struct WrittenQuery {
    /// The name of the database in the backup.
    database: String,
    /// The SQL text.
    sql: String,
    /// The expected first column of the first row.
    answer: Option<String>,
    /// The minimum of a number in the first column of the first row.
    at_least: Option<f64>,
    /// The maximum age of a time in the first column of the first row, at the start of the backup.
    newer_than: Option<TimeSpan>,
}

impl WrittenQuery {
    fn resolve(self) -> Result<Query, String> {
        let expects = match (self.answer, self.at_least, self.newer_than) {
            (Some(answer), None, None) => Expectation::Answer(answer),
            (None, Some(least), None) => Expectation::AtLeast(least),
            (None, None, Some(span)) => Expectation::NewerThan(span),
            _ => return Err("a query needs exactly one of answer, at_least and newer_than".to_owned()),
        };
        Ok(Query { database: self.database, sql: self.sql, expects })
    }
}

/// Reads the table of job `name`.
pub(crate) fn drill_settings(
    name: &str,
    value: Spanned<DeValue<'_>>,
    registry: &Registry,
) -> Result<DrillSettings, ConfigError> {
    let span = value.span();
    let invalid = |message: &str| ConfigError::at(span.clone(), format!("job \"{name}\": drill: {message}"));
    let DeValue::Table(mut table) = value.into_inner() else { return Err(invalid("must be a table")) };
    let scratch = table.remove("scratch").map(|scratch| registry.scratch.read(scratch, None)).transpose()?;
    let written: Written = read(Spanned::new(span.clone(), DeValue::Table(table)))?;
    if written.identity.is_some() && written.identity_command.is_some() {
        return Err(invalid("has both identity and identity_command: remove one"));
    }
    let queries = written.query.into_iter().map(WrittenQuery::resolve).collect::<Result<_, _>>();
    Ok(DrillSettings {
        scratch,
        identity: written.identity,
        identity_command: written.identity_command,
        queries: queries.map_err(|message| invalid(&message))?,
    })
}
