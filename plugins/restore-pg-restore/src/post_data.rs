//! Restores entries after the data: a failed entry is skipped, and reported with the SQL that
//! creates it later.

use longshore_core::error::printable;
use longshore_core::left_out::LeftOut;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::Owners;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::outline::{Item, Outline};
use longshore_pg_archive::statements::{self, PartKind};
use longshore_pg_client::client::Client;
use longshore_pg_client::server::identifier;

use crate::Restorer;
use crate::plan::nature;
use crate::statement::{Failure, Session, StatementResult, execute_each};
use crate::target_database::maintenance;

/// The maximum size of SQL that is shown completely.
const MAX_COMMAND_BYTES: usize = 2000;
/// Kinds of entries whose SQL may contain a password.
const CONFIDENTIAL: [&str; 3] = ["SUBSCRIPTION", "USER MAPPING", "SERVER"];
/// The server's error codes for existing objects: an object, a relation, a function, a primary key.
const DUPLICATE_OBJECT: [&str; 4] = ["42710", "42P07", "42723", "42P16"];

/// A query that any session can execute.
const CONNECTION_TEST: &str = "select to_json(true)";
/// The setting for libraries that each session of a database loads at its start.
const PRELOAD: &str = "session_preload_libraries";

/// The result of the entries after the data.
#[derive(Debug, Default)]
pub(crate) struct EntryResults {
    /// Deviations from pg_restore's behaviour.
    pub(crate) warnings: Vec<String>,
    pub(crate) left_out: Vec<LeftOut>,
}

impl EntryResults {
    /// Adds the result of further entries.
    pub(crate) fn extend(&mut self, more: Self) {
        self.warnings.extend(more.warnings);
        self.left_out.extend(more.left_out);
    }
}

/// The entries of one archive that are being restored into a database.
pub(crate) struct EntryRestorer<'a> {
    pub(crate) restorer: &'a Restorer,
    /// Connected to the database.
    pub(crate) client: Client,
    pub(crate) manifest: &'a Manifest,
    pub(crate) outline: &'a Outline,
}

/// A statement of an entry.
struct Statement<'a> {
    item: &'a Item,
    sql: Vec<u8>,
}

impl EntryRestorer<'_> {
    /// Finds the entries that pg_restore could not create by executing each again: an entry that
    /// exists was created.
    pub(crate) async fn retry(&self, items: &[&Item]) -> Result<EntryResults> {
        let statements = items.iter().flat_map(|item| self.statements(item)).collect();
        self.execute(statements, &DUPLICATE_OBJECT).await
    }

    /// Creates these entries in order.
    pub(crate) async fn create<'i>(&self, items: &[&'i Item]) -> Result<EntryResults> {
        let whole = |item: &'i Item| {
            let statements = self.statements(item);
            // Privileges and settings are executed separately, so that one missing role does not
            // affect the others.
            if ["ACL", "DEFAULT ACL", "DATABASE PROPERTIES"].contains(&item.kind.as_str()) {
                return statements;
            }
            vec![Statement { item, sql: statements.into_iter().flat_map(|statement| statement.sql).collect() }]
        };
        self.execute(items.iter().copied().flat_map(whole).collect(), &[]).await
    }

    /// Sets the owner and the settings of a created database; the settings of missing roles are
    /// skipped.
    pub(crate) async fn set_properties(&self, items: &[&Item]) -> Result<EntryResults> {
        let (database, settings): (Vec<_>, Vec<_>) = items.iter().copied().partition(|item| item.kind == "DATABASE");
        for item in database {
            let Some(sql) = self.owner(item) else { continue };
            if let Some((_, failure)) = self.failed_statements(Session::Own, vec![Statement { item, sql }]).await?.pop()
            {
                return Err(self.owner_error(item, &failure));
            }
        }
        let mut results = self.create(&settings).await?;
        results.left_out.extend(self.reset_preload_libraries(&settings).await?);
        Ok(results)
    }

    /// Resets a setting of the database that makes every session fail: libraries to preload that
    /// this server lacks.
    async fn reset_preload_libraries(&self, settings: &[&Item]) -> Result<Option<LeftOut>> {
        let Err(refused) = self.client.query::<bool>(CONNECTION_TEST).await else { return Ok(None) };
        let all = settings.iter().flat_map(|item| self.statements(item));
        let is_preload = |statement: &Statement<'_>| String::from_utf8_lossy(&statement.sql).contains(PRELOAD);
        let Some(statement) = all.into_iter().find(is_preload) else { return Err(refused) };
        let database = self.client.database().unwrap_or_default();
        let reset = format!("alter database {} reset {PRELOAD}", identifier(database));
        maintenance(&self.client, database).execute(&reset).await?;
        self.client.query::<bool>(CONNECTION_TEST).await?;
        let failure = Failure {
            sqlstate: refused.sqlstate().map(|sqlstate| sqlstate.to_string()).unwrap_or_default(),
            message: refused.chain(),
        };
        Ok(Some(self.left_out(&statement, &failure)))
    }

    fn owner_error(&self, item: &Item, failure: &Failure) -> Error {
        let message = format!("the owner cannot be set to \"{}\"", printable(&item.owner));
        Error::new(Stage::Restore, Kind::Denied, self.manifest.subject.to_string(), message)
            .because(format!("{} ({})", printable(&failure.message), failure.sqlstate))
            .hint("restore as a role that may act for the owners, or skip them: --no-owner --no-privileges")
    }

    /// Returns the SQL of an entry, split into its statements if they are independent.
    fn statements<'i>(&self, item: &'i Item) -> Vec<Statement<'i>> {
        let definition = self.outline.definition(item);
        let mut all: Vec<Vec<u8>> = match (item.kind.as_str(), std::str::from_utf8(definition)) {
            ("ACL" | "DEFAULT ACL" | "DATABASE PROPERTIES", Ok(text)) => {
                let parts = statements::split(text).into_iter().filter(|part| part.kind != PartKind::Comment);
                parts.map(|part| part.text.trim().as_bytes().to_vec()).collect()
            }
            _ => vec![definition.to_vec()],
        };
        all.extend(self.owner(item));
        all.retain(|sql| !sql.is_empty());
        all.into_iter().map(|sql| Statement { item, sql }).collect()
    }

    /// Returns the statement that sets the owner of an entry, for kinds whose owner pg_restore
    /// sets.
    fn owner(&self, item: &Item) -> Option<Vec<u8>> {
        let owned = ["PUBLICATION", "SUBSCRIPTION", "EVENT TRIGGER", "STATISTICS", "MATERIALIZED VIEW", "DATABASE"];
        let kind = owned.into_iter().find(|kind| *kind == item.kind)?;
        if self.restorer.target.owners == Owners::Restorer || item.owner.is_empty() {
            return None;
        }
        let schema = item.schema.as_deref().map(|schema| format!("{}.", identifier(schema))).unwrap_or_default();
        let (name, owner) = (identifier(&item.name), identifier(&item.owner));
        Some(format!("ALTER {kind} {schema}{name} OWNER TO {owner};\n").into_bytes())
    }

    /// Executes statements; those that fail to find a name are repeated with the database's own
    /// search_path.
    async fn execute(&self, statements: Vec<Statement<'_>>, harmless: &[&str]) -> Result<EntryResults> {
        let mut results = EntryResults::default();
        let failed = self.failed_statements(Session::AsPgRestore, statements).await?;
        let failed = failed.into_iter().filter(|(_, failure)| !harmless.contains(&failure.sqlstate.as_str()));
        let (undefined, others): (Vec<_>, Vec<_>) = failed.partition(|(_, failure)| failure.is_undefined_name());
        results.left_out.extend(others.iter().map(|(statement, failure)| self.left_out(statement, failure)));
        let entries: Vec<_> = undefined.iter().map(|(statement, _)| statement.item).collect();
        let repeated = self
            .failed_statements(Session::Own, undefined.into_iter().map(|(statement, _)| statement).collect())
            .await?;
        for entry in entries {
            if !repeated.iter().any(|(statement, _)| statement.item.id == entry.id) {
                results.warnings.push(format!(
                    "{}: created with the database's own search_path: its functions name objects without their schema",
                    printable(&label(entry))
                ));
            }
        }
        results.left_out.extend(repeated.iter().map(|(statement, failure)| self.left_out(statement, failure)));
        Ok(results)
    }

    /// Executes statements in one session, and returns the failed ones.
    async fn failed_statements<'s>(
        &self,
        session: Session,
        statements: Vec<Statement<'s>>,
    ) -> Result<Vec<(Statement<'s>, Failure)>> {
        let sql: Vec<_> = statements.iter().map(|statement| statement.sql.clone()).collect();
        let subject = self.manifest.subject.to_string();
        let encoding = &self.outline.encoding;
        let limit = self.restorer.target.stall_timeout;
        let results = execute_each(limit, &self.client, &subject, session, encoding, &sql).await?;
        let failed = statements.into_iter().zip(results).filter_map(|(statement, result)| match result {
            StatementResult::Success => None,
            StatementResult::Failed(failure) => Some((statement, failure)),
        });
        Ok(failed.collect())
    }

    fn left_out(&self, statement: &Statement<'_>, failure: &Failure) -> LeftOut {
        let Statement { item, sql } = statement;
        LeftOut {
            line: item.line.clone(),
            nature: nature(item),
            why: match failure.is_undefined_name() && item.kind == "MATERIALIZED VIEW DATA" {
                true => format!("{} (its functions do not name the schema, nor set search_path)", failure.message),
                false => failure.message.clone(),
            },
            sqlstate: Some(failure.sqlstate.clone()),
            command: command(item, sql),
        }
    }
}

impl Failure {
    /// Returns true if a name was not found, which another search_path may resolve.
    fn is_undefined_name(&self) -> bool {
        ["42P01", "42883", "42704", "42703", "3F000"].contains(&self.sqlstate.as_str())
    }
}

/// Returns an entry as in its list, without the numbers.
fn label(item: &Item) -> String {
    item.line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned()
}

/// Returns the way to create an entry later: its SQL, unless it is confidential or long.
fn command(item: &Item, sql: &[u8]) -> String {
    let is_confidential = CONFIDENTIAL.iter().any(|kind| item.kind.starts_with(kind));
    if is_confidential || sql.len() > MAX_COMMAND_BYTES {
        let line = printable(&item.line);
        return format!("write `{line}` into a file, and restore again with --append --list-file FILE");
    }
    format!("later: {}", String::from_utf8_lossy(sql).trim().replace('\n', " "))
}
