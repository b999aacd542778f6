//! Table data before `toc.dat`, whose type and encoding are not known yet.

use crate::copy_data::{CopyDataChecker, CopyDataStats, Flaw};
use crate::encoding::{Encoding, TextChecker};
use crate::insert_data::InsertDataChecker;
use crate::table_data::TableDataStats;
use crate::toc::{Entry, Toc};

/// A checker that treats data as every type that it may be.
pub(crate) struct UntypedData {
    rows: Result<Box<CopyDataChecker>, Flaw>,
    statements: Result<Box<InsertDataChecker>, Flaw>,
    utf8: Result<TextChecker, Flaw>,
}

impl UntypedData {
    pub(crate) fn new() -> Self {
        Self {
            rows: Ok(Box::new(CopyDataChecker::new(None, TextChecker::new(Encoding::Other)))),
            statements: Ok(Box::new(InsertDataChecker::new(TextChecker::new(Encoding::Other)))),
            utf8: Ok(TextChecker::new(Encoding::Utf8)),
        }
    }

    /// Checks the next piece. Fails if no type is possible any more.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        if let Ok(rows) = &mut self.rows
            && let Err(flaw) = rows.push(piece)
        {
            self.rows = Err(flaw);
        }
        if let Ok(text) = &mut self.utf8
            && let Err(flaw) = text.push(piece)
        {
            self.utf8 = Err(flaw.into());
        }
        if let Ok(statements) = &mut self.statements
            && let Err(flaw) = statements.push(piece)
        {
            self.statements = Err(flaw);
        }
        match (&self.rows, &self.statements) {
            (Err(flaw), Err(_)) => Err(flaw.clone()),
            _ => Ok(()),
        }
    }

    /// Returns the types that are still possible.
    pub(crate) fn finish(self) -> Result<UntypedStats, Flaw> {
        let rows = self.rows.and_then(|rows| rows.finish());
        let statements = self.statements.and_then(|statements| statements.finish());
        let utf8 = self.utf8.and_then(|text| text.finish().map_err(str::to_owned));
        match (rows, statements) {
            (Err(flaw), Err(_)) => Err(flaw),
            (rows, statements) => Ok(UntypedStats { rows, statements, utf8 }),
        }
    }
}

/// Data that is intact if its type matches `toc.dat`.
pub(crate) struct UntypedStats {
    rows: Result<CopyDataStats, Flaw>,
    statements: Result<(u64, String), Flaw>,
    utf8: Result<(), Flaw>,
}

impl UntypedStats {
    /// Returns the data's type, now that its entry is known.
    pub(crate) fn into_stats(self, entry: &Entry, toc: &Toc) -> Result<TableDataStats, Flaw> {
        if toc.encoding == Encoding::Utf8 {
            self.utf8?;
        }
        let Some(copy) = &entry.copy else {
            let (bytes, digest) = self.statements?;
            return Ok(TableDataStats::Statements(bytes, digest));
        };
        let stats = self.rows?;
        match stats.columns {
            Some(columns) if columns != copy.width() => {
                Err(format!("its rows have {columns} columns, where {} were expected", copy.width()))
            }
            _ => Ok(TableDataStats::Rows(stats)),
        }
    }
}
