//! Table data as INSERT statements, as `pg_dump --inserts` writes it.

use crate::copy_data::Flaw;
use crate::digest::Digest;
use crate::encoding::TextChecker;

/// The bytes that pg_dump writes after the last statement and its line feed.
const END: &[u8] = b"\n\n";

/// A checker and byte counter of statements.
pub(crate) struct InsertDataChecker {
    text: TextChecker,
    bytes: u64,
    digest: Digest,
    /// The open quote of a value or a name. A doubled quote inside closes and reopens it.
    quote: Option<u8>,
    /// The number of consecutive line feeds outside of quotes.
    line_feeds: usize,
}

impl InsertDataChecker {
    pub(crate) fn new(text: TextChecker) -> Self {
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
    use crate::encoding::Encoding;

    const DATA: &str =
        "INSERT INTO \"a\n\n\"\"b\" VALUES (1, 'it''s\n\n\n', E'\\\\');\nINSERT INTO t VALUES\n\t(1),\n\t(2);\n\n\n";

    fn check(pieces: &[&str]) -> Result<(u64, String), Flaw> {
        let mut statements = InsertDataChecker::new(TextChecker::new(Encoding::Utf8));
        pieces.iter().try_for_each(|piece| statements.push(piece.as_bytes()))?;
        statements.finish()
    }

    #[test]
    fn stats_do_not_depend_on_piece_sizes() {
        let whole = check(&[DATA]).unwrap();
        assert_eq!(whole.0, DATA.len() as u64);
        for cut in 0..DATA.len() {
            assert_eq!(check(&[&DATA[..cut], &DATA[cut..]]).unwrap(), whole, "{cut}");
        }
        assert_eq!(check(&["\n\n"]).unwrap().0, 2);
    }

    #[test]
    fn detects_truncation_at_every_byte() {
        for cut in 0..DATA.len() {
            assert!(check(&[&DATA[..cut]]).is_err(), "{cut}");
        }
        assert!(check(&[DATA, "\n"]).is_err());
    }

    #[test]
    fn detects_statements_after_end() {
        let flaw = check(&[DATA, DATA]).unwrap_err();
        assert!(flaw.contains("more after"), "{flaw}");
    }
}
