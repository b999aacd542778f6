//! How a job is drilled: `[job.NAME.drill]`.

use std::path::PathBuf;

use longshore_core::quantity::Span;
use longshore_core::stage::Scratch;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::read;
use crate::fault::Fault;
use crate::registry::{Builder, Registry};

/// How a job is drilled.
#[derive(Default)]
pub struct Drilling {
    /// What makes the place to restore to; the default where the job names none.
    pub scratch: Option<Builder<dyn Scratch>>,
    /// The identity file that opens the job's backups.
    pub identity: Option<PathBuf>,
    /// The command whose output is such a file.
    pub identity_command: Option<String>,
    /// The owner's own questions.
    pub questions: Vec<Question>,
}

/// A question to a restored database.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The database, as it was backed up.
    pub database: String,
    /// The query.
    pub sql: String,
    /// What it must answer.
    pub expects: Expects,
}

/// What the first column of the first row must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Expects {
    /// This text.
    Answer(String),
    /// A number that is no less.
    AtLeast(f64),
    /// A time that is no earlier than so long before the backup was begun.
    NewerThan(Span),
}

/// The table as it is written, without its stage.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    identity: Option<PathBuf>,
    identity_command: Option<String>,
    #[serde(default)]
    query: Vec<WrittenQuestion>,
    #[serde(rename = "scratch")]
    _scratch: Option<serde::de::IgnoredAny>,
}

/// `[[job.NAME.drill.query]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuestion {
    database: String,
    sql: String,
    answer: Option<String>,
    at_least: Option<f64>,
    newer_than: Option<Span>,
}

impl WrittenQuestion {
    fn resolve(self) -> Result<Question, String> {
        let expects = match (self.answer, self.at_least, self.newer_than) {
            (Some(answer), None, None) => Expects::Answer(answer),
            (None, Some(least), None) => Expects::AtLeast(least),
            (None, None, Some(span)) => Expects::NewerThan(span),
            _ => return Err("a query has one of answer, at_least and newer_than".to_owned()),
        };
        Ok(Question { database: self.database, sql: self.sql, expects })
    }
}

/// Reads the table of job `name`.
pub(super) fn drilling(name: &str, value: Spanned<DeValue<'_>>, registry: &Registry) -> Result<Drilling, Fault> {
    let span = value.span();
    let wrong = |message: &str| Fault::at(span.clone(), format!("job \"{name}\": drill: {message}"));
    let DeValue::Table(mut table) = value.into_inner() else { return Err(wrong("must be a table")) };
    let scratch = table.remove("scratch").map(|scratch| registry.scratch.read(scratch)).transpose()?;
    let written: Written = read(Spanned::new(span.clone(), DeValue::Table(table)))?;
    if written.identity.is_some() && written.identity_command.is_some() {
        return Err(wrong("has both identity and identity_command: leave one out"));
    }
    let questions = written.query.into_iter().map(WrittenQuestion::resolve).collect::<Result<_, _>>();
    Ok(Drilling {
        scratch,
        identity: written.identity,
        identity_command: written.identity_command,
        questions: questions.map_err(|message| wrong(&message))?,
    })
}
