//! Creates a database as described in its archive.

use std::time::Duration;

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::outline::{Item, Outline};
use longshore_pg_client::client::Client;

use crate::statement::{Failure, StatementResult, execute_then};
use crate::target_database::maintenance;

/// Returns true if the archive describes its database.
pub(crate) fn is_described(outline: &Outline) -> bool {
    item(outline).is_some()
}

/// Returns the entry of the database itself.
pub(crate) fn item(outline: &Outline) -> Option<&Item> {
    outline.items.iter().find(|item| item.kind == "DATABASE")
}

/// Returns the entries of the database itself that precede its content: its owner and its settings.
pub(crate) fn property_entries(outline: &Outline) -> Vec<&Item> {
    outline.items.iter().filter(|item| matches!(item.kind.as_str(), "DATABASE" | "DATABASE PROPERTIES")).collect()
}

/// A CREATE DATABASE statement.
#[derive(Debug, Clone)]
pub(crate) struct Create {
    /// The subject of errors.
    pub(crate) subject: String,
    pub(crate) statement: Vec<u8>,
    /// The encoding of the statement.
    pub(crate) encoding: String,
}

/// Returns the statement that creates a database as described in the archive, if it is described.
pub(crate) fn create(subject: &str, outline: &Outline) -> Option<Create> {
    let statement = outline.definition(item(outline)?).to_vec();
    Some(Create { subject: subject.to_owned(), statement, encoding: outline.encoding.clone() })
}

/// Executes a CREATE DATABASE and, in the same session, `then`. After an error the database may
/// have been created.
pub(crate) async fn execute_create(
    client: &Client,
    limit: Duration,
    name: &str,
    create: Create,
    then: Option<&str>,
) -> Result<StatementResult> {
    let client = maintenance(client, name);
    let Create { subject, statement, encoding } = create;
    execute_then(limit, &client, &subject, &encoding, statement, then.unwrap_or("select 1")).await
}

/// Returns the error for a database that the server did not create.
pub(crate) fn create_error(name: &str, failure: Failure) -> Error {
    let (kind, hint) = match failure.sqlstate.as_str() {
        "42P04" => (Kind::Refused, "another session created it in the meantime: check it, then restore again"),
        "42501" => (
            Kind::Denied,
            "let the role create databases (alter role … createdb), or restore into an existing empty database",
        ),
        "55006" => (Kind::Unavailable, "end the sessions that use template0, then restore again"),
        _ => (Kind::Failed, "restore into an existing empty database"),
    };
    let because = format!("{} ({})", printable(&failure.message), failure.sqlstate);
    Error::new(Stage::Restore, kind, name, "the database cannot be created").because(because).hint(hint)
}
