//! The text that COPY writes: rows of one number of columns, and a mark at the end.

use crate::digest::{Digest, Multiset, digest};
use crate::lines::{Line, Lines};
use crate::text::Text;

/// The row that ends the data.
const END: &[u8] = b"\\.";
/// What pg_dump writes after that row's line feed.
const AFTER_END: &[u8] = b"\n\n";

/// What is wrong with data, in words; whoever reads it knows where.
pub(crate) type Flaw = String;

/// Judges the data of one table as it passes, and counts it.
pub(crate) struct Rows {
    /// The columns that each row must have, once that is known.
    columns: Option<u64>,
    text: Text,
    rows: u64,
    bytes: u64,
    digest: Digest,
    multiset: Multiset,
    /// The row that began in an earlier piece.
    begun: Option<Begun>,
    /// How many bytes came after the row that ends the data.
    after_end: Option<usize>,
    /// How many bytes came in earlier pieces.
    earlier_bytes: u64,
    carriage_return: CarriageReturn,
}

/// The first carriage return, which COPY writes as `\r`: a server refuses one in a row, and takes one at its end for a part of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CarriageReturn {
    None,
    /// The last byte of an earlier piece, in this row.
    Last {
        row: u64,
    },
    /// So many bytes into the data, before a line feed.
    LineEnd {
        at: u64,
    },
}

/// A row that is not whole yet.
struct Begun {
    digest: Digest,
    tabs: u64,
    bytes: usize,
    /// Whether it may still be the row that ends the data.
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

/// What was counted.
pub(crate) struct Counted {
    /// The columns of each row; nothing where there are no rows, and no number was expected.
    pub(crate) columns: Option<u64>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) digest: String,
    pub(crate) rows_digest: String,
}

impl Rows {
    /// Rows of `columns` columns, or of as many as the first has, in this kind of text.
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

    /// How far into the data the first row ends with a carriage return and a line feed, where that is what is wrong with it.
    pub(crate) fn line_end(&self) -> Option<u64> {
        match self.carriage_return {
            CarriageReturn::LineEnd { at } => Some(at),
            _ => None,
        }
    }

    /// Whether the mark at the end has come, all of it.
    pub(crate) fn has_ended(&self) -> bool {
        self.after_end.is_some()
    }

    /// The row that is next, counted from one.
    fn next_row(&self) -> u64 {
        self.rows + 1
    }

    /// Judges a piece as long as any.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        let rest = self.rows_of(piece)?;
        self.end(rest)
    }

    /// Judges the rows of a piece, and returns what comes after the one that ends the data.
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
            // What is no text in this row or before it comes first, however the data is cut into pieces.
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

    /// Judges a carriage return in a row by the byte that follows it, where that is known.
    fn carriage_return(&mut self, row: u64, at: usize, next: Option<&u8>) -> Result<(), Flaw> {
        match next {
            None => self.carriage_return = CarriageReturn::Last { row },
            Some(b'\n') => {
                self.carriage_return = CarriageReturn::LineEnd { at: self.earlier_bytes + at as u64 };
                return Err(format!("row {row} ends with a carriage return and a line feed (CRLF)"));
            }
            Some(_) => return Err(format!("row {row} holds a carriage return, which COPY writes as \\r")),
        }
        Ok(())
    }

    /// Judges the rows of a piece as rows, not as text, and returns what comes after the one that ends the data.
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

    /// Keeps what is known of a row whose end is not there yet. Bytes that may be the mark are no data yet.
    fn begin(&mut self, mut begun: Begun, piece: &[u8], tabs: u64) {
        self.extend(&mut begun, piece, tabs);
        self.begun = Some(begun);
    }

    /// Judges a row that began in an earlier piece, `rest` being what this one has of it.
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

    /// Adds to a row that was begun, and returns its bytes that are no data yet.
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

    /// Judges and counts a whole row.
    fn row(&mut self, tabs: u64, digest: u128) -> Result<(), Flaw> {
        // Tabs inside of values are escaped.
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

    /// Judges what comes after the row that ends the data: two line feeds, and nothing more.
    fn end(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        let Some(seen) = self.after_end else { return Ok(()) };
        let expected = AFTER_END.get(seen..seen + piece.len());
        if expected != Some(piece) {
            return Err(format!("there is more after the mark \\. that ends its {} rows", self.rows));
        }
        self.after_end = Some(seen + piece.len());
        Ok(())
    }

    /// The counts, if the data has ended as it must.
    pub(crate) fn finish(self) -> Result<Counted, Flaw> {
        match self.after_end {
            Some(seen) if seen == AFTER_END.len() => Ok(self.counted()),
            Some(_) => Err(format!("it ends within the mark \\. that is to end its {} rows: it is cut", self.rows)),
            None => {
                Err(format!("it ends after {} rows without the mark \\. that is to end them: it is cut", self.rows))
            }
        }
    }

    /// The counts, for whoever has seen the end.
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
            (b"1\t2\n3\ta\rb\n\\.\n\n\n", "row 2 holds a carriage return"),
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
