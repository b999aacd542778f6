//! The database to restore into: whether it exists, is empty, or must be created.

use longshore_core::error::printable;
use longshore_core::key::Timestamp;
use longshore_core::manifest::DatabaseFacts;
use longshore_core::plugin::{DatabaseTarget, TargetContent, TargetDatabase};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::leftover;
use longshore_pg_client::server::{databases, identifier, literal};

/// The state of the database to restore into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatabaseState {
    /// The database exists and may be restored into.
    Ready,
    /// The database does not exist yet.
    ToCreate,
    /// The database is not empty, and must be dropped first.
    ToReplace,
}

/// The query that returns true if a database contains no user objects: relations, functions, types,
/// schemas, large objects, or extensions other than plpgsql.
pub(crate) const IS_EMPTY: &str = "select to_json(not (
    exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = relnamespace where c.oid >= 16384 and nspname !~ '^pg_(toast|temp)')
    or exists (select from pg_catalog.pg_proc where oid >= 16384)
    or exists (select from pg_catalog.pg_type where oid >= 16384)
    or exists (select from pg_catalog.pg_namespace where oid >= 16384 and nspname !~ '^pg_(toast|temp)')
    or exists (select from pg_catalog.pg_largeobject_metadata)
    or exists (select from pg_catalog.pg_extension where extname <> 'plpgsql')))";

/// Checks the database, and fails if it is not empty, unless the restore adds to it or replaces it.
/// `facts` describe the database of the backup.
pub(crate) async fn check(
    client: &Client,
    target: &DatabaseTarget,
    database: &str,
    facts: Option<&DatabaseFacts>,
) -> Result<DatabaseState> {
    let exists =
        format!("select to_json(exists (select from pg_catalog.pg_database where datname = {}))", literal(database));
    let is_existing: bool = maintenance(client, database).query(&exists).await?;
    let refused = |kind, message: &str, hint: &str| Err(Error::new(Stage::Restore, kind, database, message).hint(hint));
    // Queried only on failure, for a better message.
    let left = async || {
        let left = leftover::find(&maintenance(client, "postgres")).await?;
        Ok::<_, Error>(left.into_iter().find(|left| left.is_of(database)))
    };
    match (is_existing, target.database) {
        (false, TargetDatabase::Create) => return Ok(DatabaseState::ToCreate),
        (false, TargetDatabase::Existing) => {
            if let Some(left) = left().await? {
                let message = format!(
                    "the target has no such database, and \"{}\" {}",
                    printable(&left.name),
                    left.description()
                );
                return refused(Kind::NotFound, &message, &left.remedy());
            }
            return refused(Kind::NotFound, "the target has no such database", "create it, or add --create");
        }
        (true, _) => {}
    }
    if target.content == TargetContent::Append {
        return Ok(DatabaseState::Ready);
    }
    if client.to_database(database).query(IS_EMPTY).await? {
        let (TargetContent::Replace, Some(facts)) = (target.content, facts) else { return Ok(DatabaseState::Ready) };
        // The database of a new cluster, such as postgres, has the encoding of that cluster.
        let encoding = encoding_of(client, database).await?;
        let fits = encoding.is_none_or(|encoding| can_contain(&encoding, &facts.encoding));
        return Ok(if fits { DatabaseState::Ready } else { DatabaseState::ToReplace });
    }
    if target.content == TargetContent::Replace {
        return Ok(DatabaseState::ToReplace);
    }
    if let Some(left) = left().await?.filter(|left| left.name == database) {
        return refused(Kind::Refused, &format!("the database {}", left.description()), &left.remedy());
    }
    let hint =
        "restore into an empty database, or add --clean to drop and recreate it, or --append to add to its content";
    refused(Kind::Refused, "the database is not empty", hint)
}

/// Returns the encoding of a database.
async fn encoding_of(client: &Client, database: &str) -> Result<Option<String>> {
    let all = databases(&maintenance(client, "")).await?;
    Ok(all.into_iter().find(|existing| existing.name == database).map(|existing| existing.facts.encoding))
}

/// Returns true if a database with one encoding can contain text in another.
fn can_contain(target: &str, source: &str) -> bool {
    source == target || target == "UTF8" && source != "SQL_ASCII"
}

/// Returns the reason why a database cannot be created as it was, or why an existing one cannot
/// contain the backup.
pub(crate) async fn incompatibility(
    client: &Client,
    state: DatabaseState,
    database: &str,
    facts: &DatabaseFacts,
) -> Result<Option<Error>> {
    let refused =
        |message: String, hint: &str| Ok(Some(Error::new(Stage::Restore, Kind::Refused, database, message).hint(hint)));
    if state == DatabaseState::Ready {
        let Some(target) = encoding_of(client, database).await? else { return Ok(None) };
        let source = facts.encoding.as_str();
        if can_contain(&target, source) {
            return Ok(None);
        }
        let hint = "add --clean, which drops the database and creates it as it was";
        return refused(format!("its encoding is {target}, but the backup's is {source}"), hint);
    }
    let (provider, locale) = (facts.locale_provider.as_str(), facts.locale.as_deref().unwrap_or(&facts.collate));
    if provider == "libc" && ["C", "POSIX", "C.UTF-8", "C.utf8", ""].contains(&facts.collate.as_str()) {
        return Ok(None);
    }
    let locale_exists = format!(
        "select to_json({} exists (select from pg_catalog.pg_collation where collprovider = {} {}))",
        if provider == "libc" {
            format!("exists (select from pg_catalog.pg_database where datcollate = {0}) or", literal(locale))
        } else {
            String::new()
        },
        literal(&provider.chars().next().unwrap_or('c').to_string().replace('l', "c")),
        // Systems spell the same locale in several ways, such as de_DE.utf8 and de_DE.UTF-8.
        if provider == "libc" {
            format!("and lower(replace(collcollate, '-', '')) = lower(replace({}, '-', ''))", literal(locale))
        } else {
            String::new()
        },
    );
    if maintenance(client, "").query(&locale_exists).await? {
        return Ok(None);
    }
    let message = format!("its locale is {locale} of {provider}, which the target does not have");
    refused(
        message,
        "install the locale there and restart PostgreSQL, or create the database with another, and remove --create",
    )
}

/// Fails for the script of a whole cluster if any database is not empty: the restore cannot clean a
/// cluster.
pub(crate) async fn expect_empty_cluster(client: &Client, target: &DatabaseTarget, subject: &str) -> Result<()> {
    if target.content == TargetContent::Append {
        return Ok(());
    }
    for database in databases(&maintenance(client, "")).await?.iter().filter(|database| database.allows_connections) {
        if !client.to_database(&database.name).query::<bool>(IS_EMPTY).await? {
            let message = format!("database \"{}\" of the target is not empty", printable(&database.name));
            return Err(Error::new(Stage::Restore, Kind::Refused, subject, message)
                .hint("restore a whole cluster into a new one, or add --append"));
        }
    }
    Ok(())
}

/// Returns the name for a database that is renamed during its replacement. Fails if a killed
/// restore left a database of that name.
pub(crate) async fn aside_name(client: &Client, database: &str, time: Timestamp) -> Result<String> {
    let aside = leftover::name_before(database, &time.to_string());
    let exists =
        format!("select to_json(exists (select from pg_catalog.pg_database where datname = {}))", literal(&aside));
    if maintenance(client, "postgres").query(&exists).await? {
        let message = format!(
            "the target has a database \"{}\": the previous content of \"{}\", left by a killed restore",
            printable(&aside),
            printable(database)
        );
        return Err(Error::new(Stage::Restore, Kind::Refused, database, message).hint(format!(
            "check both; then drop it, or restore its name: drop database {0}; alter database {1} rename to {0}",
            printable(&identifier(database)),
            printable(&identifier(&aside))
        )));
    }
    Ok(aside)
}

/// Renames a database.
pub(crate) async fn rename(client: &Client, from: &str, to: &str) -> Result<()> {
    let statement = format!("alter database {} rename to {}", identifier(from), identifier(to));
    // One of the two may be the database that `maintenance` would connect to.
    maintenance(client, "postgres").execute(&statement).await.map(std::mem::drop)
}

/// Drops a database without connections.
pub(crate) async fn drop(client: &Client, database: &str) -> Result<()> {
    let statement = format!("drop database if exists {}", identifier(database));
    maintenance(client, database).execute(&statement).await.map(std::mem::drop)
}

/// Returns a client of an existing database other than the one to restore into.
pub(crate) fn maintenance(client: &Client, database: &str) -> Client {
    client.to_maintenance_database(database)
}
