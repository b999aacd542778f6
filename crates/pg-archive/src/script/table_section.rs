//! The data of one table: the comment that announces it, and the facts about the data.

use crate::copy_data::CopyDataStats;
use crate::copy_statement::CopyStatement;
use crate::digest::Digest;
use crate::facts::Table;

/// The beginning of every comment before data, and the labels after the name of the table.
const DATA: &str = "-- Data for Name: ";
const SCHEMA: &str = "; Type: TABLE DATA; Schema: ";
const OWNER: &str = "; Owner: ";
const ROOT: &[u8] = b"-- load via partition root ";

/// The statements between the comment that announces a table's data and the next comment: COPY,
/// INSERT statements, or none.
pub(crate) struct TableSection {
    comment: String,
    state: State,
    /// The number of runs of INSERT statements.
    inserts: u64,
    bytes: u64,
    digest: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Within the lines of its comment.
    Announced,
    /// Between statements.
    Between,
    /// Within an INSERT statement.
    Insert,
    /// Within another statement: triggers are disabled before the data and enabled after it.
    OtherStatement,
}

impl TableSection {
    /// Returns the section that a comment announces.
    pub(crate) fn from_comment(comment: &[u8]) -> Option<Self> {
        let comment = String::from_utf8_lossy(comment).into_owned();
        names(&comment)?;
        Some(Self { comment, state: State::Announced, inserts: 0, bytes: 0, digest: Digest::new() })
    }

    /// Processes another comment. Returns true if the section continues after it.
    pub(crate) fn comment(&mut self, line: &[u8]) -> bool {
        let is_own = self.state == State::Announced && line == b"--";
        self.state = State::Between;
        is_own || line.starts_with(ROOT)
    }

    /// Processes text other than comments, up to the end of statements or less.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        match self.state {
            State::Insert => self.count(piece),
            State::OtherStatement => {}
            State::Announced | State::Between => {
                let statement = piece.trim_ascii_start();
                match statement.first() {
                    None => {}
                    Some(b'I') => {
                        if self.inserts > 0 {
                            self.count(b"\n");
                        }
                        self.inserts += 1;
                        self.state = State::Insert;
                        self.count(statement);
                    }
                    Some(_) => self.state = State::OtherStatement,
                }
            }
        }
    }

    /// Processes the end of statements. Returns true if they are the first INSERT statements.
    pub(crate) fn statement(&mut self) -> bool {
        let was = std::mem::replace(&mut self.state, State::Between);
        was == State::Insert && self.inserts == 1
    }

    fn count(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// Returns the table's name, as in the comment.
    pub(crate) fn name(&self) -> String {
        match names(&self.comment) {
            Some((name, schema)) => format!("{schema}.{name}"),
            None => self.comment.clone(),
        }
    }

    /// Returns the table of INSERT statements. A line feed in its name is a space, as in the
    /// comment.
    pub(crate) fn finish(mut self, database: Option<String>) -> Table {
        // The line feeds that pg_dump writes at the end, as in an archive.
        self.count(if self.inserts > 0 { b"\n\n\n" } else { b"\n\n" });
        let (name, schema) = names(&self.comment).unwrap_or_default();
        Table {
            database,
            schema: Some(schema.to_owned()),
            name: name.to_owned(),
            into: None,
            columns: None,
            rows: None,
            bytes: self.bytes,
            xxh3: self.digest.to_string(),
            rows_xxh3: None,
        }
    }

    /// Returns the announced table, where COPY names another one or omits the schema: the partition
    /// whose rows are loaded into `copy`'s table, or the schema, which COPY did not contain before
    /// 2018. Both are as in an archive.
    fn table(&self, copy: &CopyStatement) -> (Option<String>, String, Option<String>) {
        let (name, schema) = names(&self.comment).unwrap_or_default();
        let [table, schema_label] = [&copy.table, copy.schema.as_deref().unwrap_or(schema)].map(on_one_line);
        // Compared as a whole, since a name may contain the labels after names.
        if self.comment.starts_with(&format!("{DATA}{table}{SCHEMA}{schema_label}{OWNER}")) {
            return (Some(copy.schema.as_deref().unwrap_or(schema).to_owned()), copy.table.clone(), None);
        }
        let into = match &copy.schema {
            Some(schema) => format!("{schema}.{}", copy.table),
            None => copy.table.clone(),
        };
        (Some(schema.to_owned()), name.to_owned(), Some(into))
    }
}

/// Returns the name and the schema in a comment that announces data.
fn names(comment: &str) -> Option<(&str, &str)> {
    let (name, rest) = comment.strip_prefix(DATA)?.split_once(SCHEMA)?;
    let (schema, _) = rest.split_once(OWNER)?;
    Some((name, schema))
}

/// Returns a name as pg_dump writes it in comments.
fn on_one_line(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

/// Returns the table that COPY fills, without facts about its rows.
pub(crate) fn table(copy: CopyStatement, section: Option<TableSection>, database: Option<String>) -> Table {
    let (schema, name, into) = match section {
        Some(section) => section.table(&copy),
        None => (copy.schema, copy.table, None),
    };
    let columns = Some(copy.columns);
    Table { database, schema, name, into, columns, rows: None, bytes: 0, xxh3: String::new(), rows_xxh3: None }
}

/// Adds the facts about a table's rows.
pub(crate) fn set_stats(table: &mut Table, stats: CopyDataStats) {
    table.rows = Some(stats.rows);
    table.bytes = stats.bytes;
    table.xxh3 = stats.digest;
    table.rows_xxh3 = Some(stats.rows_digest);
}
