//! Table data before `toc.dat`, whose type and encoding are not known yet.

use crate::rows::{Counted, Flaw, Rows};
use crate::statements::Statements;
use crate::table::Judged;
use crate::text::{Encoding, Text};
use crate::toc::{Entry, Toc};

/// A checker that treats data as every type that it may be.
pub(crate) struct Early {
    rows: Result<Box<Rows>, Flaw>,
    statements: Result<Box<Statements>, Flaw>,
    utf8: Result<Text, Flaw>,
}

impl Early {
    pub(crate) fn new() -> Self {
        Self {
            rows: Ok(Box::new(Rows::new(None, Text::new(Encoding::Other)))),
            statements: Ok(Box::new(Statements::new(Text::new(Encoding::Other)))),
            utf8: Ok(Text::new(Encoding::Utf8)),
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
    pub(crate) fn finish(self) -> Result<Either, Flaw> {
        let rows = self.rows.and_then(|rows| rows.finish());
        let statements = self.statements.and_then(|statements| statements.finish());
        let utf8 = self.utf8.and_then(|text| text.finish().map_err(str::to_owned));
        match (rows, statements) {
            (Err(flaw), Err(_)) => Err(flaw),
            (rows, statements) => Ok(Either { rows, statements, utf8 }),
        }
    }
}

/// Data that is intact if its type matches `toc.dat`.
pub(crate) struct Either {
    rows: Result<Counted, Flaw>,
    statements: Result<(u64, String), Flaw>,
    utf8: Result<(), Flaw>,
}

impl Either {
    /// Returns the data's type, now that its entry is known.
    pub(crate) fn known(self, entry: &Entry, toc: &Toc) -> Result<Judged, Flaw> {
        if toc.encoding == Encoding::Utf8 {
            self.utf8?;
        }
        let Some(copy) = &entry.copy else {
            let (bytes, digest) = self.statements?;
            return Ok(Judged::Statements(bytes, digest));
        };
        let counted = self.rows?;
        match counted.columns {
            Some(columns) if columns != copy.width() => {
                Err(format!("its rows have {columns} columns, where {} were expected", copy.width()))
            }
            _ => Ok(Judged::Rows(counted)),
        }
    }
}
