//! Entries that come after the data: one that fails is left out, and named with the SQL that makes it later.

use longshore_core::error::printable;
use longshore_core::left_out::LeftOut;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::Owners;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::outline::{Item, Outline};
use longshore_pg_client::client::Client;
use longshore_pg_client::script::statements;
use longshore_pg_client::server::identifier;

use crate::Restorer;
use crate::attempt::{Attempted, Failure, Session, attempt};
use crate::landing::maintenance;
use crate::plan::nature;

/// The longest SQL that is shown whole.
const MAX_COMMAND_BYTES: usize = 2000;
/// Kinds whose SQL may hold a password.
const SECRETIVE: [&str; 3] = ["SUBSCRIPTION", "USER MAPPING", "SERVER"];
/// The server's codes for what exists: an object, a relation, a function, a primary key.
const EXISTS: [&str; 4] = ["42710", "42P07", "42723", "42P16"];

/// A question that any session can answer.
const ADMISSION: &str = "select to_json(true)";
/// The setting that names libraries which each session of a database loads at its start.
const PRELOAD: &str = "session_preload_libraries";

/// What became of entries that came after the data.
#[derive(Debug, Default)]
pub(crate) struct Later {
    /// Deviations from pg_restore's own way.
    pub(crate) warnings: Vec<String>,
    pub(crate) left_out: Vec<LeftOut>,
}

impl Later {
    /// Adds what became of more entries.
    pub(crate) fn extend(&mut self, more: Self) {
        self.warnings.extend(more.warnings);
        self.left_out.extend(more.left_out);
    }
}

/// The entries of one archive on their way into a database.
pub(crate) struct Finish<'a> {
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

impl Finish<'_> {
    /// Finds out which of these entries pg_restore could not make, by executing each again: one that exists was made.
    pub(crate) async fn look_again(&self, items: &[&Item]) -> Result<Later> {
        let statements = items.iter().flat_map(|item| self.statements(item)).collect();
        self.execute(statements, &EXISTS).await
    }

    /// Makes these entries in their order.
    pub(crate) async fn make<'i>(&self, items: &[&'i Item]) -> Result<Later> {
        let whole = |item: &'i Item| {
            let statements = self.statements(item);
            // Of privileges and settings, those of other roles are made.
            if ["ACL", "DEFAULT ACL", "DATABASE PROPERTIES"].contains(&item.kind.as_str()) {
                return statements;
            }
            vec![Statement { item, sql: statements.into_iter().flat_map(|statement| statement.sql).collect() }]
        };
        self.execute(items.iter().copied().flat_map(whole).collect(), &[]).await
    }

    /// Gives a database that was made its owner and its settings; the settings of roles that are missing are left out.
    pub(crate) async fn dress(&self, items: &[&Item]) -> Result<Later> {
        let (database, settings): (Vec<_>, Vec<_>) = items.iter().copied().partition(|item| item.kind == "DATABASE");
        for item in database {
            let Some(sql) = self.owner(item) else { continue };
            if let Some((_, failure)) = self.attempt(Session::Own, vec![Statement { item, sql }]).await?.pop() {
                return Err(self.unowned(item, &failure));
            }
        }
        let mut later = self.make(&settings).await?;
        later.left_out.extend(self.readmit(&settings).await?);
        Ok(later)
    }

    /// Withdraws a setting of the database that keeps all sessions out: libraries to load at their start, which this server does not have.
    async fn readmit(&self, settings: &[&Item]) -> Result<Option<LeftOut>> {
        let Err(refused) = self.client.ask::<bool>(ADMISSION).await else { return Ok(None) };
        let all = settings.iter().flat_map(|item| self.statements(item));
        let is_preload = |statement: &Statement<'_>| String::from_utf8_lossy(&statement.sql).contains(PRELOAD);
        let Some(statement) = all.into_iter().find(is_preload) else { return Err(refused) };
        let database = self.client.database().unwrap_or_default();
        let reset = format!("alter database {} reset {PRELOAD}", identifier(database));
        maintenance(&self.client, database).execute(&reset).await?;
        self.client.ask::<bool>(ADMISSION).await?;
        let failure = Failure {
            sqlstate: refused.sqlstate().map(|sqlstate| sqlstate.to_string()).unwrap_or_default(),
            message: refused.chain(),
        };
        Ok(Some(self.left_out(&statement, &failure)))
    }

    fn unowned(&self, item: &Item, failure: &Failure) -> Error {
        let message = format!("its owner cannot be \"{}\"", printable(&item.owner));
        Error::new(Stage::Restore, Kind::Denied, self.manifest.subject.to_string(), message)
            .because(format!("{} ({})", printable(&failure.message), failure.sqlstate))
            .hint("restore as a role that may act for the owners, or leave them out: --no-owner --no-privileges")
    }

    /// The SQL of an entry, statement by statement where each stands for itself.
    fn statements<'i>(&self, item: &'i Item) -> Vec<Statement<'i>> {
        let definition = self.outline.definition(item);
        let mut all: Vec<Vec<u8>> = match (item.kind.as_str(), std::str::from_utf8(definition)) {
            ("ACL" | "DEFAULT ACL" | "DATABASE PROPERTIES", Ok(text)) => {
                let statements = statements(text).into_iter().map(str::trim).filter(|text| !text.is_empty());
                statements.map(|statement| statement.as_bytes().to_vec()).collect()
            }
            _ => vec![definition.to_vec()],
        };
        all.extend(self.owner(item));
        all.retain(|sql| !sql.is_empty());
        all.into_iter().map(|sql| Statement { item, sql }).collect()
    }

    /// The statement that gives an entry its owner, for kinds that pg_restore gives one.
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

    /// Executes statements; those that fail for want of a name are tried with the database's own search_path.
    async fn execute(&self, statements: Vec<Statement<'_>>, harmless: &[&str]) -> Result<Later> {
        let mut later = Later::default();
        let failed = self.attempt(Session::AsPgRestore, statements).await?;
        let failed = failed.into_iter().filter(|(_, failure)| !harmless.contains(&failure.sqlstate.as_str()));
        let (nameless, others): (Vec<_>, Vec<_>) = failed.partition(|(_, failure)| failure.is_of_names());
        later.left_out.extend(others.iter().map(|(statement, failure)| self.left_out(statement, failure)));
        let entries: Vec<_> = nameless.iter().map(|(statement, _)| statement.item).collect();
        let again = self.attempt(Session::Own, nameless.into_iter().map(|(statement, _)| statement).collect()).await?;
        for entry in entries {
            if !again.iter().any(|(statement, _)| statement.item.id == entry.id) {
                later.warnings.push(format!(
                    "{}: made with the database's own search_path: its functions name objects without their schema",
                    printable(&named(entry))
                ));
            }
        }
        later.left_out.extend(again.iter().map(|(statement, failure)| self.left_out(statement, failure)));
        Ok(later)
    }

    /// Executes statements in one session, and returns those that failed.
    async fn attempt<'s>(
        &self,
        session: Session,
        statements: Vec<Statement<'s>>,
    ) -> Result<Vec<(Statement<'s>, Failure)>> {
        let sql: Vec<_> = statements.iter().map(|statement| statement.sql.clone()).collect();
        let subject = self.manifest.subject.to_string();
        let encoding = &self.outline.encoding;
        let limit = self.restorer.target.stall_timeout;
        let attempted = attempt(limit, &self.client, &subject, session, encoding, &sql).await?;
        let failed = statements.into_iter().zip(attempted).filter_map(|(statement, attempted)| match attempted {
            Attempted::Done => None,
            Attempted::Failed(failure) => Some((statement, failure)),
        });
        Ok(failed.collect())
    }

    fn left_out(&self, statement: &Statement<'_>, failure: &Failure) -> LeftOut {
        let Statement { item, sql } = statement;
        LeftOut {
            line: item.line.clone(),
            nature: nature(item),
            why: match failure.is_of_names() && item.kind == "MATERIALIZED VIEW DATA" {
                true => format!("{} (its functions do not name the schema, nor set search_path)", failure.message),
                false => failure.message.clone(),
            },
            sqlstate: Some(failure.sqlstate.clone()),
            command: command(item, sql),
        }
    }
}

impl Failure {
    /// Whether something was not found by its name, which another search_path may find.
    fn is_of_names(&self) -> bool {
        ["42P01", "42883", "42704", "42703", "3F000"].contains(&self.sqlstate.as_str())
    }
}

/// An entry as its list has it, without the numbers.
fn named(item: &Item) -> String {
    item.line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned()
}

/// The way to make an entry later: its SQL, unless that is secret or long.
fn command(item: &Item, sql: &[u8]) -> String {
    let is_secretive = SECRETIVE.iter().any(|kind| item.kind.starts_with(kind));
    if is_secretive || sql.len() > MAX_COMMAND_BYTES {
        let line = printable(&item.line);
        return format!("write `{line}` into a file, and restore again with --append --list-file FILE");
    }
    format!("later: {}", String::from_utf8_lossy(sql).trim().replace('\n', " "))
}
