//! Table data as INSERT statements, as `pg_dump --inserts` writes it.

use crate::digest::Digest;
use crate::rows::Flaw;
use crate::text::Text;

/// The bytes that pg_dump writes after the last statement and its line feed.
const END: &[u8] = b"\n\n";

/// A checker and byte counter of statements.
pub(crate) struct Statements {
    text: Text,
    bytes: u64,
    digest: Digest,
    /// The open quote of a value or a name. A doubled quote inside closes and reopens it.
    quote: Option<u8>,
    /// The number of consecutive line feeds outside of quotes.
    line_feeds: usize,
}

impl Statements {
    pub(crate) fn new(text: Text) -> Self {
        Self { text, bytes: 0, digest: Digest::new(), quote: None, line_feeds: 0 }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        self.text.push(piece)?;
        self.digest.update(piece);
        let mut rest = piece;
        while let Some(first) = rest.first() {
            let passed = match (self.quote, first) {
                (Some(quote), _) => match memchr::memchr(quote, rest) {
                    Some(end) => {
                        self.quote = None;
                        end + 1
                    }
                    None => rest.len(),
                },
                (None, b'\n') => {
                    self.line_feeds += 1;
                    1
                }
                // No statement follows an empty line: pg_dump writes one only at the end.
                (None, _) if self.line_feeds > 1 => {
                    return Err("there is more after the empty line that ends its INSERT statements".to_owned());
                }
                (None, quote @ (b'\'' | b'"')) => {
                    self.quote = Some(*quote);
                    1
                }
                (None, _) => memchr::memchr3(b'\'', b'"', b'\n', rest).unwrap_or(rest.len()),
            };
            if *first != b'\n' || passed > 1 {
                self.line_feeds = 0;
            }
            self.bytes += passed as u64;
            rest = &rest[passed..];
        }
        Ok(())
    }

    /// Returns the size and the digest, or fails if the statements did not end correctly.
    pub(crate) fn finish(self) -> Result<(u64, String), Flaw> {
        self.text.finish()?;
        // Without statements, the data has only the line feeds of the end.
        let of_statement = usize::from(self.bytes != END.len() as u64);
        if self.line_feeds == END.len() + of_statement {
            return Ok((self.bytes, self.digest.to_string()));
        }
        Err("its INSERT statements do not end with an empty line: they are cut".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Encoding;

    const DATA: &str =
        "INSERT INTO \"a\n\n\"\"b\" VALUES (1, 'it''s\n\n\n', E'\\\\');\nINSERT INTO t VALUES\n\t(1),\n\t(2);\n\n\n";

    fn judged(pieces: &[&str]) -> Result<(u64, String), Flaw> {
        let mut statements = Statements::new(Text::new(Encoding::Utf8));
        pieces.iter().try_for_each(|piece| statements.push(piece.as_bytes()))?;
        statements.finish()
    }

    #[test]
    fn statements_are_counted_however_they_are_cut() {
        let whole = judged(&[DATA]).unwrap();
        assert_eq!(whole.0, DATA.len() as u64);
        for cut in 0..DATA.len() {
            assert_eq!(judged(&[&DATA[..cut], &DATA[cut..]]).unwrap(), whole, "{cut}");
        }
        assert_eq!(judged(&["\n\n"]).unwrap().0, 2);
    }

    #[test]
    fn statements_that_end_anywhere_else_are_found() {
        for cut in 0..DATA.len() {
            assert!(judged(&[&DATA[..cut]]).is_err(), "{cut}");
        }
        assert!(judged(&[DATA, "\n"]).is_err());
    }

    #[test]
    fn statements_that_go_on_after_their_end_are_found() {
        let flaw = judged(&[DATA, DATA]).unwrap_err();
        assert!(flaw.contains("more after"), "{flaw}");
    }
}
