//! The database to restore into: whether it is there, empty, or to be made.

use std::process::Stdio;

use longshore_core::error::printable;
use longshore_core::manifest::{DatabaseFacts, Manifest};
use longshore_core::plugin::{Target, TargetContent, TargetDatabase};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::server::{databases, identifier, literal};

/// What there is to restore into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landing {
    /// A database that may be restored into.
    There,
    /// None yet.
    ToBeMade,
    /// One that holds something, and is to be dropped first.
    ToBeReplaced,
}

/// Whether a database holds anything that a person made: relations, functions, types, schemas, large objects, or extensions beyond plpgsql.
const IS_EMPTY: &str = "select to_json(not (
    exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = relnamespace where c.oid >= 16384 and nspname !~ '^pg_(toast|temp)')
    or exists (select from pg_catalog.pg_proc where oid >= 16384)
    or exists (select from pg_catalog.pg_type where oid >= 16384)
    or exists (select from pg_catalog.pg_namespace where oid >= 16384 and nspname !~ '^pg_(toast|temp)')
    or exists (select from pg_catalog.pg_largeobject_metadata)
    or exists (select from pg_catalog.pg_extension where extname <> 'plpgsql')))";

/// Looks at the database, and refuses one that holds something unless it is to be cleaned.
pub(crate) async fn look(client: &Client, target: &Target, database: &str) -> Result<Landing> {
    let exists =
        format!("select to_json(exists (select from pg_catalog.pg_database where datname = {}))", literal(database));
    let there: bool = maintenance(client, database).ask(&exists).await?;
    let refused = |kind, message: &str, hint: &str| Err(Error::new(Stage::Restore, kind, database, message).hint(hint));
    match (there, target.database) {
        (false, TargetDatabase::Create) => return Ok(Landing::ToBeMade),
        (false, TargetDatabase::Existing) => {
            return refused(Kind::NotFound, "the target has no such database", "make it, or give --create");
        }
        (true, _) => {}
    }
    if target.content == TargetContent::Append || client.to_database(database).ask(IS_EMPTY).await? {
        return Ok(Landing::There);
    }
    if target.content == TargetContent::Replace {
        return Ok(Landing::ToBeReplaced);
    }
    let hint =
        "restore into an empty database, give --clean to drop it and make it anew, or --append to add to what is there";
    refused(Kind::Refused, "the database is not empty", hint)
}

/// Why a database that is to be made cannot be made as it was, or one that is there cannot take what the backup holds.
pub(crate) async fn misfit(
    client: &Client,
    landing: Landing,
    database: &str,
    facts: &DatabaseFacts,
) -> Result<Option<Error>> {
    let refused =
        |message: String, hint: &str| Ok(Some(Error::new(Stage::Restore, Kind::Refused, database, message).hint(hint)));
    if landing == Landing::There {
        let all = databases(&maintenance(client, "")).await?;
        let Some(there) = all.iter().find(|there| there.name == database) else { return Ok(None) };
        let (source, target) = (facts.encoding.as_str(), there.facts.encoding.as_str());
        if source == target || target == "UTF8" && source != "SQL_ASCII" {
            return Ok(None);
        }
        let hint = "make the database anew: drop it, and give --create";
        return refused(format!("its encoding is {target}, and the backup's is {source}"), hint);
    }
    let (provider, locale) = (facts.locale_provider.as_str(), facts.locale.as_deref().unwrap_or(&facts.collate));
    if provider == "libc" && ["C", "POSIX", "C.UTF-8", "C.utf8", ""].contains(&facts.collate.as_str()) {
        return Ok(None);
    }
    let asked = format!(
        "select to_json({} exists (select from pg_catalog.pg_collation where collprovider = {} {}))",
        if provider == "libc" {
            format!("exists (select from pg_catalog.pg_database where datcollate = {0}) or", literal(locale))
        } else {
            String::new()
        },
        literal(&provider.chars().next().unwrap_or('c').to_string().replace('l', "c")),
        // Systems write the same locale in several ways, such as de_DE.utf8 and de_DE.UTF-8.
        if provider == "libc" {
            format!("and lower(replace(collcollate, '-', '')) = lower(replace({}, '-', ''))", literal(locale))
        } else {
            String::new()
        },
    );
    if maintenance(client, "").ask(&asked).await? {
        return Ok(None);
    }
    let message = format!("its locale is {locale} of {provider}, which the target does not have");
    refused(
        message,
        "install the locale there and restart PostgreSQL, or make the database with another, and leave --create out",
    )
}

/// Refuses to run a script of a whole cluster where any database holds something: it cannot be cleaned for it.
pub(crate) async fn expect_empty_cluster(client: &Client, target: &Target, subject: &str) -> Result<()> {
    if target.content == TargetContent::Append {
        return Ok(());
    }
    for database in databases(&maintenance(client, "")).await?.iter().filter(|database| database.allows_connections) {
        if !client.to_database(&database.name).ask::<bool>(IS_EMPTY).await? {
            let message = format!("database \"{}\" of the target is not empty", printable(&database.name));
            return Err(Error::new(Stage::Restore, Kind::Refused, subject, message)
                .hint("restore a whole cluster into a fresh one, or give --append"));
        }
    }
    Ok(())
}

/// Renames a database out of the way, so that nothing of it is lost until what replaces it is there. Returns its name from now on.
pub(crate) async fn set_aside(client: &Client, database: &str, manifest: &Manifest) -> Result<String> {
    let mut begins = database.to_owned();
    while begins.len() > MAX_NAME_BYTES - "_before_2026-06-07_091500".len() {
        begins.pop();
    }
    let aside = format!("{begins}_before_{}", manifest.time);
    let exists =
        format!("select to_json(exists (select from pg_catalog.pg_database where datname = {}))", literal(&aside));
    if maintenance(client, "postgres").ask(&exists).await? {
        let message = format!(
            "the target has a database \"{}\": a restore that was killed left it, and it is what \"{}\" was before",
            printable(&aside),
            printable(database)
        );
        return Err(Error::new(Stage::Restore, Kind::Refused, database, message).hint(format!(
            "look at both; then drop it, or have it back: drop database {0}; alter database {1} rename to {0}",
            printable(&identifier(database)),
            printable(&identifier(&aside))
        )));
    }
    rename(client, database, &aside).await?;
    Ok(aside)
}

/// The most bytes that a name may have in PostgreSQL.
const MAX_NAME_BYTES: usize = 63;

async fn rename(client: &Client, from: &str, to: &str) -> Result<()> {
    let statement = format!("alter database {} rename to {}", identifier(from), identifier(to));
    // One of the two may be the database that maintenance would use.
    maintenance(client, "postgres").execute(&statement).await.map(std::mem::drop)
}

/// Drops a database that nobody is connected to.
pub(crate) async fn drop(client: &Client, database: &str) -> Result<()> {
    let statement = format!("drop database {}", identifier(database));
    maintenance(client, database).execute(&statement).await.map(std::mem::drop)
}

/// Leaves the target as it was before a restore that failed: without the database that it made, and with the one that was there.
pub(crate) async fn undo(client: &Client, database: &str, aside: Option<&str>) -> Result<()> {
    // The session of a program that was ended may linger for a moment.
    let statement = format!("drop database if exists {} with (force)", identifier(database));
    maintenance(client, database).execute(&statement).await?;
    put_back(client, database, aside).await
}

/// Gives a database that was set aside its name again.
pub(crate) async fn put_back(client: &Client, database: &str, aside: Option<&str>) -> Result<()> {
    match aside {
        Some(aside) => rename(client, aside, database).await,
        None => Ok(()),
    }
}

/// Leaves the target as it was where a restore is dropped half way, as by an interruption, when nobody can wait for an answer.
pub(crate) struct Guard(Option<std::process::Command>);

impl Guard {
    /// Watches over a database that is made, and over the one that was set aside for it.
    pub(crate) async fn over(client: &Client, database: &str, aside: Option<&str>) -> Result<Self> {
        let mut command = maintenance(client, "postgres").psql().await?;
        command.args(["--command", &format!("drop database if exists {} with (force)", identifier(database))]);
        if let Some(aside) = aside {
            let rename = format!("alter database {} rename to {}", identifier(aside), identifier(database));
            command.args(["--command", &rename]);
        }
        let mut command = command.into_std();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(Some(command)))
    }

    /// Lets the restore have its end.
    pub(crate) fn dismiss(mut self) {
        self.0 = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut command) = self.0.take() {
            // What could not be undone is told by whoever was interrupted to have been under way.
            command.status().ok();
        }
    }
}

/// A client of a database that every cluster has, and that is not the one to restore into.
pub(crate) fn maintenance(client: &Client, database: &str) -> Client {
    client.to_database(if database == "postgres" { "template1" } else { "postgres" })
}
