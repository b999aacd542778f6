//! The data of one table: what is said of it before it comes, and what it is when it has come.

use crate::copy::Copy;
use crate::digest::Digest;
use crate::facts::Table;
use crate::rows::Counted;

/// What every comment before data begins with, and what follows the name of its table.
const DATA: &str = "-- Data for Name: ";
const SCHEMA: &str = "; Type: TABLE DATA; Schema: ";
const OWNER: &str = "; Owner: ";
const ROOT: &[u8] = b"-- load via partition root ";

/// What comes between the comment that announces a table's data and the next comment: COPY, INSERT statements, or nothing.
pub(crate) struct Section {
    comment: String,
    state: State,
    /// How many times INSERT statements came.
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
    /// Within another one: triggers are switched off before data and on again behind it.
    Aside,
}

impl Section {
    /// The section that a comment announces.
    pub(crate) fn announced(comment: &[u8]) -> Option<Self> {
        let comment = String::from_utf8_lossy(comment).into_owned();
        names(&comment)?;
        Some(Self { comment, state: State::Announced, inserts: 0, bytes: 0, digest: Digest::new() })
    }

    /// Takes another comment; whether the section goes on behind it.
    pub(crate) fn comment(&mut self, line: &[u8]) -> bool {
        let is_own = self.state == State::Announced && line == b"--";
        self.state = State::Between;
        is_own || line.starts_with(ROOT)
    }

    /// Takes what is no comment, up to the end of statements or less.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        match self.state {
            State::Insert => self.count(piece),
            State::Aside => {}
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
                    Some(_) => self.state = State::Aside,
                }
            }
        }
    }

    /// Takes the end of statements; whether they are the first INSERT statements.
    pub(crate) fn statement(&mut self) -> bool {
        let was = std::mem::replace(&mut self.state, State::Between);
        was == State::Insert && self.inserts == 1
    }

    fn count(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// The table, as its comment has it.
    pub(crate) fn name(&self) -> String {
        match names(&self.comment) {
            Some((name, schema)) => format!("{schema}.{name}"),
            None => self.comment.clone(),
        }
    }

    /// The table whose data is INSERT statements. A line feed in its name is a space here, as it is in the comment.
    pub(crate) fn finish(mut self, database: Option<String>) -> Table {
        // As pg_dump ends it, and as it stands in an archive.
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

    /// The table that is announced, where COPY says another one or not all of it: the partition whose rows go to `copy`'s table, or the
    /// schema, which COPY did not say before 2018. Both as in an archive.
    fn table(&self, copy: &Copy) -> (Option<String>, String, Option<String>) {
        let (name, schema) = names(&self.comment).unwrap_or_default();
        let [table, said] = [&copy.table, copy.schema.as_deref().unwrap_or(schema)].map(on_one_line);
        // Compared as a whole, since a name may hold what follows names here.
        if self.comment.starts_with(&format!("{DATA}{table}{SCHEMA}{said}{OWNER}")) {
            return (Some(copy.schema.as_deref().unwrap_or(schema).to_owned()), copy.table.clone(), None);
        }
        let into = match &copy.schema {
            Some(schema) => format!("{schema}.{}", copy.table),
            None => copy.table.clone(),
        };
        (Some(schema.to_owned()), name.to_owned(), Some(into))
    }
}

/// The name and the schema in a comment that announces data.
fn names(comment: &str) -> Option<(&str, &str)> {
    let (name, rest) = comment.strip_prefix(DATA)?.split_once(SCHEMA)?;
    let (schema, _) = rest.split_once(OWNER)?;
    Some((name, schema))
}

/// A name as pg_dump writes it into comments.
fn on_one_line(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

/// The table whose data COPY is to take: nothing of its rows is known yet.
pub(crate) fn table(copy: Copy, section: Option<Section>, database: Option<String>) -> Table {
    let (schema, name, into) = match section {
        Some(section) => section.table(&copy),
        None => (copy.schema, copy.table, None),
    };
    let columns = Some(copy.columns);
    Table { database, schema, name, into, columns, rows: None, bytes: 0, xxh3: String::new(), rows_xxh3: None }
}

/// Adds what is known of a table's rows.
pub(crate) fn count(table: &mut Table, counted: Counted) {
    table.rows = Some(counted.rows);
    table.bytes = counted.bytes;
    table.xxh3 = counted.digest;
    table.rows_xxh3 = Some(counted.rows_digest);
}
