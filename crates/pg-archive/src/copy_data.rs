//! The text that COPY writes: rows with the same number of columns, and an end mark.

use crate::copy_lines::{Line, Lines};
use crate::digest::{Digest, Multiset, digest};
use crate::encoding::TextChecker;

/// The row that ends the data.
const END: &[u8] = b"\\.";
/// The bytes that pg_dump writes after that row's line feed.
const AFTER_END: &[u8] = b"\n\n";

/// The description of a flaw in the data, without its place.
pub(crate) type Flaw = String;

/// A checker and counter of the data of one table.
pub(crate) struct CopyDataChecker {
    /// The number of columns of each row, once known.
    columns: Option<u64>,
    text: TextChecker,
    rows: u64,
    bytes: u64,
    digest: Digest,
    multiset: Multiset,
    /// The row that began in an earlier piece.
    partial_row: Option<PartialRow>,
    /// The number of bytes after the row that ends the data.
    after_end: Option<usize>,
    /// The number of bytes in earlier pieces.
    earlier_bytes: u64,
    carriage_return: CarriageReturn,
}

/// The first carriage return. COPY writes `\r` instead. A server refuses a carriage return in a
/// row, and treats one at its end as part of the line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CarriageReturn {
    None,
    /// The last byte of an earlier piece, in this row.
    Last {
        row: u64,
    },
    /// At this offset of the data, before a line feed.
    LineEnd {
        at: u64,
    },
}

/// An incomplete row.
struct PartialRow {
    digest: Digest,
    tabs: u64,
    bytes: usize,
    /// True if the row may still be the one that ends the data.
    may_be_end_mark: bool,
}

impl PartialRow {
    fn new() -> Self {
        Self { digest: Digest::new(), tabs: 0, bytes: 0, may_be_end_mark: true }
    }

    fn extend(&mut self, piece: &[u8], tabs: u64) {
        self.may_be_end_mark &= END.get(self.bytes..self.bytes + piece.len()) == Some(piece);
        self.bytes += piece.len();
        self.tabs += tabs;
        self.digest.update(piece);
    }
}

/// The counts.
pub(crate) struct CopyDataStats {
    /// The number of columns of each row. `None` without rows and without an expected number.
    pub(crate) columns: Option<u64>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) digest: String,
    pub(crate) rows_digest: String,
}

impl CopyDataChecker {
    /// Creates a checker for rows of `columns` columns, or of as many as the first row has.
    pub(crate) fn new(columns: Option<u64>, text: TextChecker) -> Self {
        Self {
            columns,
            text,
            rows: 0,
            bytes: 0,
            digest: Digest::new(),
            multiset: Multiset::default(),
            partial_row: None,
            after_end: None,
            earlier_bytes: 0,
            carriage_return: CarriageReturn::None,
        }
    }

    /// Returns the offset in the data of the first row that ends with a carriage return and a line
    /// feed, if that is the flaw.
    pub(crate) fn crlf_offset(&self) -> Option<u64> {
        match self.carriage_return {
            CarriageReturn::LineEnd { at } => Some(at),
            _ => None,
        }
    }

    /// Returns true if the end mark was read completely.
    pub(crate) fn has_ended(&self) -> bool {
        self.after_end.is_some()
    }

    /// Returns the number of the next row, counted from one.
    fn next_row(&self) -> u64 {
        self.rows + 1
    }

    /// Checks the next piece, of any length.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        let rest = self.check_until_end_mark(piece)?;
        self.check_tail(rest)
    }

    /// Checks the rows of a piece, and returns the bytes after the row that ends the data.
    pub(crate) fn check_until_end_mark<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], Flaw> {
        if self.has_ended() {
            return Ok(piece);
        }
        if let (CarriageReturn::Last { row }, Some(next)) = (self.carriage_return, piece.first()) {
            self.earlier_bytes -= 1;
            self.carriage_return(row, 0, Some(next))?;
        }
        let before = self.rows;
        let result = self.check_rows(piece);
        let passed = match &result {
            Ok(rest) => piece.len() - rest.len(),
            // Invalid text in this row or before is reported first, independent of the sizes of the
            // pieces.
            Err(_) => {
                memchr::memchr_iter(b'\n', piece).nth((self.rows - before) as usize).map_or(piece.len(), |at| at + 1)
            }
        };
        let row = |at: usize| before + memchr::memchr_iter(b'\n', &piece[..at]).count() as u64 + 1;
        let checked_bytes = memchr::memchr(b'\r', &piece[..passed]).unwrap_or(passed);
        self.text.push(&piece[..checked_bytes]).map_err(|invalid| format!("{invalid} in row {}", row(invalid.at)))?;
        if checked_bytes < passed {
            self.carriage_return(row(checked_bytes), checked_bytes, piece.get(checked_bytes + 1))?;
        }
        self.earlier_bytes += piece.len() as u64;
        result
    }

    /// Checks a carriage return in a row by the following byte, if known.
    fn carriage_return(&mut self, row: u64, at: usize, next: Option<&u8>) -> Result<(), Flaw> {
        match next {
            None => self.carriage_return = CarriageReturn::Last { row },
            Some(b'\n') => {
                self.carriage_return = CarriageReturn::LineEnd { at: self.earlier_bytes + at as u64 };
                return Err(format!("row {row} ends with a carriage return and a line feed (CRLF)"));
            }
            Some(_) => return Err(format!("row {row} contains a carriage return, which COPY writes as \\r")),
        }
        Ok(())
    }

    /// Checks the rows of a piece but not their text, and returns the bytes after the row that ends
    /// the data.
    fn check_rows<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], Flaw> {
        let mut lines = Lines::new(piece);
        let mut start = 0;
        if let Some(partial_row) = self.partial_row.take() {
            let Some(Line { end, tabs }) = lines.next() else {
                self.keep_partial_row(partial_row, piece, lines.trailing_tabs());
                return Ok(&[]);
            };
            start = end + 1;
            self.finish_partial_row(partial_row, &piece[..end], tabs)?;
            if self.has_ended() {
                return Ok(&piece[start..]);
            }
        }
        let first = start;
        for Line { end, tabs } in &mut lines {
            let row = &piece[start..end];
            if row == END {
                self.after_end = Some(0);
                self.add_data(&piece[first..start]);
                return Ok(&piece[end + 1..]);
            }
            self.add_row(tabs, digest(row))?;
            start = end + 1;
        }
        self.add_data(&piece[first..start]);
        if start < piece.len() {
            self.keep_partial_row(PartialRow::new(), &piece[start..], lines.trailing_tabs());
        }
        Ok(&[])
    }

    /// Keeps the state of an incomplete row. Bytes that may be the end mark do not count as data
    /// yet.
    fn keep_partial_row(&mut self, mut partial_row: PartialRow, piece: &[u8], tabs: u64) {
        self.extend(&mut partial_row, piece, tabs);
        self.partial_row = Some(partial_row);
    }

    /// Checks a row that began in an earlier piece. `rest` is its part in this piece.
    fn finish_partial_row(&mut self, mut partial_row: PartialRow, rest: &[u8], tabs: u64) -> Result<(), Flaw> {
        let withheld = self.extend(&mut partial_row, rest, tabs);
        if withheld == END {
            self.after_end = Some(0);
            return Ok(());
        }
        self.add_data(withheld);
        self.add_data(b"\n");
        self.add_row(partial_row.tabs, partial_row.digest.value())
    }

    /// Adds to an incomplete row, and returns the bytes of it that do not count as data yet.
    fn extend(&mut self, partial_row: &mut PartialRow, piece: &[u8], tabs: u64) -> &'static [u8] {
        let withheld = if partial_row.may_be_end_mark { &END[..partial_row.bytes] } else { &[] };
        partial_row.extend(piece, tabs);
        if partial_row.may_be_end_mark {
            return &END[..partial_row.bytes];
        }
        self.add_data(withheld);
        self.add_data(piece);
        &[]
    }

    /// Counts bytes of rows.
    fn add_data(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// Checks and counts a complete row.
    fn add_row(&mut self, tabs: u64, digest: u128) -> Result<(), Flaw> {
        // Tabs within values are escaped.
        let columns = tabs + 1;
        let expected = *self.columns.get_or_insert(columns);
        if expected != columns {
            let row = self.next_row();
            let words = if columns == 1 { "1 column".to_owned() } else { format!("{columns} columns") };
            return Err(format!("row {row} has {words}, where {expected} were expected"));
        }
        self.multiset.add(digest);
        self.rows += 1;
        Ok(())
    }

    /// Checks the bytes after the row that ends the data: two line feeds, and nothing more.
    fn check_tail(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        let Some(seen) = self.after_end else { return Ok(()) };
        let expected = AFTER_END.get(seen..seen + piece.len());
        if expected != Some(piece) {
            return Err(format!("there is more after the mark \\. that ends its {} rows", self.rows));
        }
        self.after_end = Some(seen + piece.len());
        Ok(())
    }

    /// Returns the counts, or fails if the data did not end correctly.
    pub(crate) fn finish(self) -> Result<CopyDataStats, Flaw> {
        match self.after_end {
            Some(seen) if seen == AFTER_END.len() => Ok(self.into_stats()),
            Some(_) => Err(format!("it ends within the end mark \\. of its {} rows: it is cut", self.rows)),
            None => Err(format!("it ends after {} rows without the end mark \\.: it is cut", self.rows)),
        }
    }

    /// Returns the counts without checking the end.
    pub(crate) fn into_stats(self) -> CopyDataStats {
        CopyDataStats {
            columns: self.columns,
            rows: self.rows,
            bytes: self.bytes,
            digest: self.digest.to_string(),
            rows_digest: self.multiset.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoding;

    fn check(pieces: &[&[u8]], columns: Option<u64>) -> Result<CopyDataStats, Flaw> {
        let mut rows = CopyDataChecker::new(columns, TextChecker::new(Encoding::Utf8));
        for piece in pieces {
            rows.push(piece)?;
        }
        rows.finish()
    }

    const DATA: &[u8] = "1\tone\n2\t\u{e9}\n\\N\t\\\\.\n\\.\n\n\n".as_bytes();

    #[test]
    fn stats_do_not_depend_on_piece_sizes() {
        let whole = check(&[DATA], Some(2)).unwrap();
        assert_eq!((whole.rows, whole.bytes), (3, DATA.len() as u64 - 5));
        assert_eq!(whole.digest, format!("{:032x}", digest(&DATA[..DATA.len() - 5])));
        for first in 0..DATA.len() {
            for second in first..DATA.len() {
                let cut = check(&[&DATA[..first], &DATA[first..second], &DATA[second..]], None).unwrap();
                assert_eq!((cut.rows, cut.bytes), (whole.rows, whole.bytes), "{first} {second}");
                assert_eq!((&cut.digest, &cut.rows_digest), (&whole.digest, &whole.rows_digest), "{first} {second}");
            }
        }
    }

    #[test]
    fn rows_digest_ignores_order() {
        let one = check(&[b"a\nb\nc\n\\.\n\n\n"], None).unwrap();
        let other = check(&[b"c\na\nb\n\\.\n\n\n"], None).unwrap();
        assert_eq!(one.rows_digest, other.rows_digest);
        assert_ne!(one.digest, other.digest);
        assert_ne!(one.rows_digest, check(&[b"a\nb\nd\n\\.\n\n\n"], None).unwrap().rows_digest);
    }

    #[test]
    fn detects_truncation_at_every_byte() {
        for length in 0..DATA.len() {
            assert!(check(&[&DATA[..length]], Some(2)).is_err(), "{length}");
        }
    }

    #[test]
    fn rejects_data_that_copy_never_writes() {
        for (data, flaw) in [
            (&b"1\t2\n1\n\\.\n\n\n"[..], "row 2 has 1 column,"),
            (b"1\t2\n\\.\n\n\nx", "more after the mark"),
            (b"1\t2\n\\.\n\n\n\n", "more after the mark"),
            (b"1\t2\n\\.\n1\t2\n\\.\n\n\n", "more after the mark"),
            (b"1\t\0\n\\.\n\n\n", "zero byte"),
            (b"1\t\xff\n\\.\n\n\n", "UTF-8"),
            (b"1\t2\n3\ta\rb\n\\.\n\n\n", "row 2 contains a carriage return"),
            (b"1\t2\n3\ta\r\n\\.\n\n\n", "row 2 ends with a carriage return and a line feed"),
            (b"1\t2\n\\.\r\n\n\n", "row 2 ends with a carriage return and a line feed"),
        ] {
            for cut in 0..data.len() {
                let found = check(&[&data[..cut], &data[cut..]], Some(2)).err().unwrap();
                assert!(found.contains(flaw), "{cut}: {found}");
            }
        }
    }

    #[test]
    fn counts_rows_of_table_without_columns() {
        assert_eq!(check(&[b"\n\n\\.\n\n\n"], Some(1)).unwrap().rows, 2);
    }
}
