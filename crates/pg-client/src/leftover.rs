//! Databases that a killed restore left on a server, found by their comments and their names.
//!
//! A restore sets a comment on the database that it creates, until the database is complete. The
//! replaced database is renamed: the new name ends with `_before_` and the time of the backup.

use longshore_core::Result;
use longshore_core::check::Finding;
use longshore_core::error::printable;
use longshore_core::key::Timestamp;
use serde::Deserialize;

use crate::client::Client;
use crate::server::identifier;

/// The beginning of the comment on a database during a restore.
const MARK_PREFIX: &str = "longshore: a restore is under way here";
/// The part of a name between the name of a database and the time of the backup that replaces it.
const ORIGINAL_SUFFIX: &str = "_before_";
/// The length of a time in a name, such as `2026-06-07_091500`.
const TIME_BYTES: usize = 17;
/// The maximum length of a name in PostgreSQL, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// Returns the comment on a database during the restore called `restore`.
pub fn mark(restore: &str) -> String {
    format!(
        "{MARK_PREFIX} ({restore}); if no restore is running, it was killed, and this database holds part of a backup"
    )
}

/// Returns the name under which a database is kept until the backup of `time` has replaced it.
pub fn name_before(database: &str, time: &str) -> String {
    let mut prefix = database.to_owned();
    while prefix.len() > MAX_NAME_BYTES - ORIGINAL_SUFFIX.len() - TIME_BYTES {
        prefix.pop();
    }
    format!("{prefix}{ORIGINAL_SUFFIX}{time}")
}

/// A database of a server.
#[derive(Debug, Clone, Default, Deserialize)]
struct Database {
    name: String,
    /// True if the database's comment marks a restore under way.
    is_marked: bool,
    /// True if another session of Longshore uses the database.
    is_in_use: bool,
}

/// The role of a leftover database in the restore that was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The database holds part of a backup. It replaces the database of the given name, if any.
    Incomplete(Option<String>),
    /// The database existed before the restore, under the given name if the whole name is known.
    /// The flag is true if another database has that name now.
    Original(Option<String>, bool),
}

/// A database that a killed restore left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The database's name.
    pub name: String,
    state: State,
}

/// Finds the databases that killed restores left on the server.
pub async fn find(client: &Client) -> Result<Vec<Leftover>> {
    let databases = format!(
        "select coalesce(json_agg(json_build_object('name', datname,
            'is_marked', coalesce(pg_catalog.shobj_description(oid, 'pg_database') like '{MARK_PREFIX}%', false),
            'is_in_use', exists (select from pg_catalog.pg_stat_activity a
                where a.datid = d.oid and application_name = 'longshore' and pid <> pg_backend_pid())
        ) order by datname), '[]') from pg_catalog.pg_database d"
    );
    Ok(leftovers(&client.query::<Vec<Database>>(&databases).await?))
}

fn leftovers(databases: &[Database]) -> Vec<Leftover> {
    let find = |name: &str| databases.iter().find(|database| database.name == name);
    let mut found = Vec::new();
    for database in databases {
        let name = database.name.clone();
        if database.is_marked && !database.is_in_use {
            let before = |other: &&Database| original_prefix(&other.name).is_some_and(|prefix| name == prefix);
            let before = databases.iter().find(before).map(|before| before.name.clone());
            found.push(Leftover { name, state: State::Incomplete(before) });
        } else if let Some(prefix) = original_prefix(&name) {
            // A longer name was truncated, at most one character short of the limit.
            let original = (name.len() + char::MAX.len_utf8() <= MAX_NAME_BYTES).then(|| prefix.to_owned());
            match find(prefix) {
                // The restore is running, or the mark identifies the new database.
                Some(new) if new.is_marked || new.is_in_use => {}
                new => found.push(Leftover { state: State::Original(original, new.is_some()), name: name.clone() }),
            }
        }
    }
    found
}

/// Returns the beginning of the name of a replaced database.
fn original_prefix(name: &str) -> Option<&str> {
    let (prefix, time) = name.rsplit_once(ORIGINAL_SUFFIX)?;
    (Timestamp::parse(time).is_some() && !prefix.is_empty()).then_some(prefix)
}

impl Leftover {
    /// Returns true if the database has this name, or had it before the restore.
    pub fn is_of(&self, database: &str) -> bool {
        let was = matches!(&self.state, State::Original(Some(original), _) if original == database);
        was || self.name == database
    }

    /// Returns the description of the database, without its name.
    pub fn description(&self) -> String {
        match &self.state {
            State::Incomplete(None) => "holds part of a backup: a restore into it was killed".to_owned(),
            State::Incomplete(Some(before)) => format!(
                "holds part of a backup: a restore into it was killed, and \"{}\" is the database that was there before",
                printable(before)
            ),
            State::Original(original, _) => {
                let original = original
                    .as_deref()
                    .map_or("another database".to_owned(), |name| format!("database \"{}\"", printable(name)));
                format!("is {original} as it was before a restore that was killed")
            }
        }
    }

    /// Returns the remedy, with its SQL statements.
    pub fn remedy(&self) -> String {
        let name = printable(&identifier(&self.name));
        match &self.state {
            State::Incomplete(None) => {
                format!("restore again with --clean, or drop it: drop database {name} with (force)")
            }
            State::Incomplete(Some(before)) => format!(
                "put back the database that was there: drop database {name} with (force); \
                 alter database {} rename to {name}",
                printable(&identifier(before))
            ),
            State::Original(Some(original), false) => {
                format!("put it back: alter database {name} rename to {}", printable(&identifier(original)))
            }
            State::Original(None, false) => format!("put it back: alter database {name} rename to …"),
            // The newer database may be complete or still empty: the mark is set after the database
            // is created, and removed before the older database is dropped.
            State::Original(Some(original), true) => {
                let original = printable(&identifier(original));
                format!(
                    "compare both, and put the older one back: drop database {original} with (force); \
                     alter database {name} rename to {original}; or, if the newer one is complete, drop the older one"
                )
            }
            State::Original(None, true) => {
                format!("compare both, and drop the newer one if it is incomplete, or else {name}")
            }
        }
    }

    /// Returns the leftover as a finding about `subject`.
    pub fn finding(&self, subject: &str) -> Finding {
        Finding::warning(
            subject,
            format!("database \"{}\" {}", printable(&self.name), self.description()),
            self.remedy(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(databases: &[(&str, bool, bool)]) -> Vec<String> {
        let database = |(name, is_marked, is_in_use): &(&str, bool, bool)| Database {
            name: (*name).to_owned(),
            is_marked: *is_marked,
            is_in_use: *is_in_use,
        };
        let databases: Vec<_> = databases.iter().map(database).collect();
        leftovers(&databases)
            .iter()
            .map(|left| format!("{} {}: {}", left.name, left.description(), left.remedy()))
            .collect()
    }

    const OLD: &str = "app_before_2026-06-07_091500";

    #[test]
    fn leftover_remedy_has_the_statements() {
        let both = found(&[("app", true, false), (OLD, false, false)]);
        assert_eq!(both.len(), 1);
        let remedy_sql = format!("drop database \"app\" with (force); alter database \"{OLD}\" rename to \"app\"");
        assert!(both[0].ends_with(&remedy_sql), "{both:?}");
        let gone = found(&[(OLD, false, false)]);
        assert!(gone[0].ends_with(&format!("alter database \"{OLD}\" rename to \"app\"")), "{gone:?}");
        let whole = found(&[("app", false, false), (OLD, false, false)]);
        // The newer database may be incomplete, so no remedy drops the older one unconditionally.
        assert!(whole[0].contains(&remedy_sql) && whole[0].ends_with("is complete, drop the older one"), "{whole:?}");
        let partial = found(&[("app", true, false)]);
        assert!(partial[0].ends_with("drop database \"app\" with (force)"), "{partial:?}");
    }

    #[test]
    fn find_ignores_running_restores_and_similar_names() {
        assert_eq!(found(&[("app", true, true), (OLD, false, false)]), [""; 0]);
        let names =
            ["app_before_", "_before_2026-06-07_091500", "app_before_2026-06-07", "app_before_2026-06-07_09150x"];
        for name in names {
            assert_eq!(found(&[(name, false, false)]), [""; 0], "{name}");
        }
    }

    #[test]
    fn long_name_is_truncated_and_recognised() {
        let name = name_before(&"é".repeat(31), "2026-06-07_091500");
        assert!(name.len() <= MAX_NAME_BYTES && original_prefix(&name).is_some(), "{name}");
        assert_eq!(name_before("app", "2026-06-07_091500"), OLD);
        let long = name_before(&"a".repeat(60), "2026-06-07_091500");
        assert!(found(&[(long.as_str(), false, false)])[0].ends_with("rename to …"));
    }
}
