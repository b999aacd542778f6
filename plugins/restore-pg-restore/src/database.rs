//! A database made as its archive describes it.

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::outline::{Item, Outline};

use crate::Restorer;
use crate::attempt::{Attempted, Failure, Session, attempt};
use crate::landing::maintenance;

/// Whether the archive describes its database.
pub(crate) fn is_described(outline: &Outline) -> bool {
    item(outline).is_some()
}

/// The entry of the database itself.
pub(crate) fn item(outline: &Outline) -> Option<&Item> {
    outline.items.iter().find(|item| item.kind == "DATABASE")
}

/// The entries that belong to the database itself, and that come before its content: its owner and its settings.
pub(crate) fn own(outline: &Outline) -> Vec<&Item> {
    outline.items.iter().filter(|item| matches!(item.kind.as_str(), "DATABASE" | "DATABASE PROPERTIES")).collect()
}

/// Makes a database as the archive describes it. Where that fails, there is none of ours.
pub(crate) async fn create(restorer: &Restorer, name: &str, subject: &str, outline: &Outline) -> Result<()> {
    let Some(item) = item(outline) else { return Ok(()) };
    let statement = outline.definition(item).to_vec();
    execute_create(restorer, name, subject, &outline.encoding, statement).await
}

/// Executes a CREATE DATABASE.
pub(crate) async fn execute_create(
    restorer: &Restorer,
    name: &str,
    subject: &str,
    encoding: &str,
    statement: Vec<u8>,
) -> Result<()> {
    let client = maintenance(&restorer.client, name);
    let attempted = attempt(restorer, &client, subject, Session::Own, encoding, &[statement]).await?;
    match attempted.into_iter().next() {
        Some(Attempted::Failed(failure)) => Err(unmade(name, failure)),
        _ => Ok(()),
    }
}

fn unmade(name: &str, failure: Failure) -> Error {
    let (kind, hint) = match failure.sqlstate.as_str() {
        "42P04" => (Kind::Refused, "another session made it in the meantime: look at it, then restore again"),
        "42501" => (
            Kind::Denied,
            "let the role make databases (alter role … createdb), or restore into an empty one that was made for it",
        ),
        "55006" => (Kind::Unavailable, "end the sessions that use template0, then restore again"),
        _ => (Kind::Failed, "restore into an empty database that was made for it"),
    };
    let because = format!("{} ({})", printable(&failure.message), failure.sqlstate);
    Error::new(Stage::Restore, kind, name, "the database cannot be made").because(because).hint(hint)
}
