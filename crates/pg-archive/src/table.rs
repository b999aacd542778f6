//! The data of one table, as rows or statements.

use crate::facts::Table;
use crate::rows::{Counted, Flaw, Rows};
use crate::statements::Statements;
use crate::text::Text;
use crate::toc::{Entry, Toc};

/// A checker of a table's data.
pub(crate) enum Content {
    /// COPY's text.
    Rows(Box<Rows>),
    /// INSERT statements.
    Statements(Box<Statements>),
}

impl Content {
    /// Creates a checker for the data of `entry`.
    pub(crate) fn of(entry: &Entry, toc: &Toc) -> Self {
        let text = Text::new(toc.encoding);
        match &entry.copy {
            Some(copy) => Self::Rows(Box::new(Rows::new(Some(copy.width()), text))),
            None => Self::Statements(Box::new(Statements::new(text))),
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        match self {
            Self::Rows(rows) => rows.push(piece),
            Self::Statements(statements) => statements.push(piece),
        }
    }

    /// Returns the counts, or fails if the data did not end correctly.
    pub(crate) fn counted(self) -> Result<Judged, Flaw> {
        match self {
            Self::Rows(rows) => rows.finish().map(Judged::Rows),
            Self::Statements(statements) => {
                statements.finish().map(|(bytes, digest)| Judged::Statements(bytes, digest))
            }
        }
    }

    /// Returns the facts of the table, or fails if the data did not end correctly.
    pub(crate) fn finish(self, entry: &Entry) -> Result<Table, Flaw> {
        Ok(self.counted()?.of(entry))
    }
}

/// The counts of intact table data.
pub(crate) enum Judged {
    /// COPY's text.
    Rows(Counted),
    /// INSERT statements: their size and digest.
    Statements(u64, String),
}

impl Judged {
    /// Returns the facts of the table. `entry` is the entry of its data.
    pub(crate) fn of(self, entry: &Entry) -> Table {
        let mut table = Table {
            database: None,
            schema: entry.schema().map(str::to_owned),
            name: entry.name.clone(),
            into: None,
            columns: None,
            rows: None,
            bytes: 0,
            xxh3: String::new(),
            rows_xxh3: None,
        };
        match self {
            Self::Statements(bytes, digest) => (table.bytes, table.xxh3) = (bytes, digest),
            Self::Rows(counted) => {
                table.rows = Some(counted.rows);
                table.bytes = counted.bytes;
                table.xxh3 = counted.digest;
                table.rows_xxh3 = Some(counted.rows_digest);
            }
        }
        if let Some(copy) = &entry.copy {
            table.columns = Some(copy.columns.clone());
            if copy.table != entry.name || copy.schema.as_deref().is_some_and(|schema| Some(schema) != entry.schema()) {
                table.into = Some(match &copy.schema {
                    Some(schema) => format!("{schema}.{}", copy.table),
                    None => copy.table.clone(),
                });
            }
        }
        table
    }
}
