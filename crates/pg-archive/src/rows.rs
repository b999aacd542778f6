//! The text that COPY writes: rows with the same number of columns, and an end mark.

use crate::digest::{Digest, Multiset, digest};
use crate::lines::{Line, Lines};
use crate::text::Text;

/// The row that ends the data.
const END: &[u8] = b"\\.";
/// The bytes that pg_dump writes after that row's line feed.
const AFTER_END: &[u8] = b"\n\n";

/// The description of a flaw in the data, without its place.
pub(crate) type Flaw = String;

/// A checker and counter of the data of one table.
pub(crate) struct Rows {
    /// The number of columns of each row, once known.
    columns: Option<u64>,
    text: Text,
    rows: u64,
    bytes: u64,
    digest: Digest,
    multiset: Multiset,
    /// The row that began in an earlier piece.
    begun: Option<Begun>,
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
struct Begun {
    digest: Digest,
    tabs: u64,
    bytes: usize,
    /// True if the row may still be the one that ends the data.
    may_end: bool,
}

impl Begun {
    fn new() -> Self {
        Self { digest: Digest::new(), tabs: 0, bytes: 0, may_end: true }
    }

    fn extend(&mut self, piece: &[u8], tabs: u64) {
        self.may_end &= END.get(self.bytes..self.bytes + piece.len()) == Some(piece);
        self.bytes += piece.len();
        self.tabs += tabs;
        self.digest.update(piece);
    }
}

/// The counts.
pub(crate) struct Counted {
    /// The number of columns of each row. `None` without rows and without an expected number.
    pub(crate) columns: Option<u64>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) digest: String,
    pub(crate) rows_digest: String,
}

impl Rows {
    /// Creates a checker for rows of `columns` columns, or of as many as the first row has.
    pub(crate) fn new(columns: Option<u64>, text: Text) -> Self {
        Self {
            columns,
            text,
            rows: 0,
            bytes: 0,
            digest: Digest::new(),
            multiset: Multiset::default(),
            begun: None,
            after_end: None,
            earlier_bytes: 0,
            carriage_return: CarriageReturn::None,
        }
    }

    /// Returns the offset in the data of the first row that ends with a carriage return and a line
    /// feed, if that is the flaw.
    pub(crate) fn line_end(&self) -> Option<u64> {
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
        let rest = self.rows_of(piece)?;
        self.end(rest)
    }

    /// Checks the rows of a piece, and returns the bytes after the row that ends the data.
    pub(crate) fn rows_of<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], Flaw> {
        if self.has_ended() {
            return Ok(piece);
        }
        if let (CarriageReturn::Last { row }, Some(next)) = (self.carriage_return, piece.first()) {
            self.earlier_bytes -= 1;
            self.carriage_return(row, 0, Some(next))?;
        }
        let before = self.rows;
        let judged = self.judge(piece);
        let passed = match &judged {
            Ok(rest) => piece.len() - rest.len(),
            // Invalid text in this row or before is reported first, independent of the sizes of the
            // pieces.
            Err(_) => {
                memchr::memchr_iter(b'\n', piece).nth((self.rows - before) as usize).map_or(piece.len(), |at| at + 1)
            }
        };
        let row = |at: usize| before + memchr::memchr_iter(b'\n', &piece[..at]).count() as u64 + 1;
        let flawless = memchr::memchr(b'\r', &piece[..passed]).unwrap_or(passed);
        self.text.push(&piece[..flawless]).map_err(|invalid| format!("{invalid} in row {}", row(invalid.at)))?;
        if flawless < passed {
            self.carriage_return(row(flawless), flawless, piece.get(flawless + 1))?;
        }
        self.earlier_bytes += piece.len() as u64;
        judged
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
    fn judge<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], Flaw> {
        let mut lines = Lines::new(piece);
        let mut begin = 0;
        if let Some(begun) = self.begun.take() {
            let Some(Line { end, tabs }) = lines.next() else {
                self.begin(begun, piece, lines.tabs_behind());
                return Ok(&[]);
            };
            begin = end + 1;
            self.end_begun(begun, &piece[..end], tabs)?;
            if self.has_ended() {
                return Ok(&piece[begin..]);
            }
        }
        let first = begin;
        for Line { end, tabs } in &mut lines {
            let row = &piece[begin..end];
            if row == END {
                self.after_end = Some(0);
                self.data(&piece[first..begin]);
                return Ok(&piece[end + 1..]);
            }
            self.row(tabs, digest(row))?;
            begin = end + 1;
        }
        self.data(&piece[first..begin]);
        if begin < piece.len() {
            self.begin(Begun::new(), &piece[begin..], lines.tabs_behind());
        }
        Ok(&[])
    }

    /// Keeps the state of an incomplete row. Bytes that may be the end mark do not count as data
    /// yet.
    fn begin(&mut self, mut begun: Begun, piece: &[u8], tabs: u64) {
        self.extend(&mut begun, piece, tabs);
        self.begun = Some(begun);
    }

    /// Checks a row that began in an earlier piece. `rest` is its part in this piece.
    fn end_begun(&mut self, mut begun: Begun, rest: &[u8], tabs: u64) -> Result<(), Flaw> {
        let held = self.extend(&mut begun, rest, tabs);
        if held == END {
            self.after_end = Some(0);
            return Ok(());
        }
        self.data(held);
        self.data(b"\n");
        self.row(begun.tabs, begun.digest.value())
    }

    /// Adds to an incomplete row, and returns the bytes of it that do not count as data yet.
    fn extend(&mut self, begun: &mut Begun, piece: &[u8], tabs: u64) -> &'static [u8] {
        let held = if begun.may_end { &END[..begun.bytes] } else { &[] };
        begun.extend(piece, tabs);
        if begun.may_end {
            return &END[..begun.bytes];
        }
        self.data(held);
        self.data(piece);
        &[]
    }

    /// Counts bytes of rows.
    fn data(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// Checks and counts a complete row.
    fn row(&mut self, tabs: u64, digest: u128) -> Result<(), Flaw> {
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
    fn end(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        let Some(seen) = self.after_end else { return Ok(()) };
        let expected = AFTER_END.get(seen..seen + piece.len());
        if expected != Some(piece) {
            return Err(format!("there is more after the mark \\. that ends its {} rows", self.rows));
        }
        self.after_end = Some(seen + piece.len());
        Ok(())
    }

    /// Returns the counts, or fails if the data did not end correctly.
    pub(crate) fn finish(self) -> Result<Counted, Flaw> {
        match self.after_end {
            Some(seen) if seen == AFTER_END.len() => Ok(self.counted()),
            Some(_) => Err(format!("it ends within the end mark \\. of its {} rows: it is cut", self.rows)),
            None => Err(format!("it ends after {} rows without the end mark \\.: it is cut", self.rows)),
        }
    }

    /// Returns the counts without checking the end.
    pub(crate) fn counted(self) -> Counted {
        Counted {
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
    use crate::text::Encoding;

    fn judged(pieces: &[&[u8]], columns: Option<u64>) -> Result<Counted, Flaw> {
        let mut rows = Rows::new(columns, Text::new(Encoding::Utf8));
        for piece in pieces {
            rows.push(piece)?;
        }
        rows.finish()
    }

    const DATA: &[u8] = "1\tone\n2\t\u{e9}\n\\N\t\\\\.\n\\.\n\n\n".as_bytes();

    #[test]
    fn rows_are_counted_however_they_are_cut() {
        let whole = judged(&[DATA], Some(2)).unwrap();
        assert_eq!((whole.rows, whole.bytes), (3, DATA.len() as u64 - 5));
        assert_eq!(whole.digest, format!("{:032x}", digest(&DATA[..DATA.len() - 5])));
        for first in 0..DATA.len() {
            for second in first..DATA.len() {
                let cut = judged(&[&DATA[..first], &DATA[first..second], &DATA[second..]], None).unwrap();
                assert_eq!((cut.rows, cut.bytes), (whole.rows, whole.bytes), "{first} {second}");
                assert_eq!((&cut.digest, &cut.rows_digest), (&whole.digest, &whole.rows_digest), "{first} {second}");
            }
        }
    }

    #[test]
    fn the_order_of_rows_does_not_change_their_digest() {
        let one = judged(&[b"a\nb\nc\n\\.\n\n\n"], None).unwrap();
        let other = judged(&[b"c\na\nb\n\\.\n\n\n"], None).unwrap();
        assert_eq!(one.rows_digest, other.rows_digest);
        assert_ne!(one.digest, other.digest);
        assert_ne!(one.rows_digest, judged(&[b"a\nb\nd\n\\.\n\n\n"], None).unwrap().rows_digest);
    }

    #[test]
    fn data_that_is_cut_anywhere_is_found() {
        for length in 0..DATA.len() {
            assert!(judged(&[&DATA[..length]], Some(2)).is_err(), "{length}");
        }
    }

    #[test]
    fn what_copy_does_not_write_is_found() {
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
                let found = judged(&[&data[..cut], &data[cut..]], Some(2)).err().unwrap();
                assert!(found.contains(flaw), "{cut}: {found}");
            }
        }
    }

    #[test]
    fn a_table_without_columns_has_empty_rows() {
        assert_eq!(judged(&[b"\n\n\\.\n\n\n"], Some(1)).unwrap().rows, 2);
    }
}
