//! The data of one table, as rows or statements.

use crate::copy_data::{CopyDataChecker, CopyDataStats, Flaw};
use crate::encoding::TextChecker;
use crate::facts::Table;
use crate::insert_data::InsertDataChecker;
use crate::toc::{Entry, Toc};

/// A checker of a table's data.
pub(crate) enum TableDataChecker {
    /// COPY's text.
    Rows(Box<CopyDataChecker>),
    /// INSERT statements.
    Statements(Box<InsertDataChecker>),
}

impl TableDataChecker {
    /// Creates a checker for the data of `entry`.
    pub(crate) fn of(entry: &Entry, toc: &Toc) -> Self {
        let text = TextChecker::new(toc.encoding);
        match &entry.copy {
            Some(copy) => Self::Rows(Box::new(CopyDataChecker::new(Some(copy.width()), text))),
            None => Self::Statements(Box::new(InsertDataChecker::new(text))),
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        match self {
            Self::Rows(rows) => rows.push(piece),
            Self::Statements(statements) => statements.push(piece),
        }
    }

    /// Returns the counts, or fails if the data did not end correctly.
    pub(crate) fn into_stats(self) -> Result<TableDataStats, Flaw> {
        match self {
            Self::Rows(rows) => rows.finish().map(TableDataStats::Rows),
            Self::Statements(statements) => {
                statements.finish().map(|(bytes, digest)| TableDataStats::Statements(bytes, digest))
            }
        }
    }

    /// Returns the facts of the table, or fails if the data did not end correctly.
    pub(crate) fn finish(self, entry: &Entry) -> Result<Table, Flaw> {
        Ok(self.into_stats()?.into_table(entry))
    }
}

/// The counts of intact table data.
pub(crate) enum TableDataStats {
    /// COPY's text.
    Rows(CopyDataStats),
    /// INSERT statements: their size and digest.
    Statements(u64, String),
}

impl TableDataStats {
    /// Returns the facts of the table. `entry` is the entry of its data.
    pub(crate) fn into_table(self, entry: &Entry) -> Table {
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
            Self::Rows(stats) => {
                table.rows = Some(stats.rows);
                table.bytes = stats.bytes;
                table.xxh3 = stats.digest;
                table.rows_xxh3 = Some(stats.rows_digest);
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
