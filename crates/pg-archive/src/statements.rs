//! Table data as INSERT statements, as `pg_dump --inserts` writes it.

use crate::digest::Digest;
use crate::rows::Flaw;
use crate::text::Text;

/// What pg_dump writes after the last statement.
const END: [u8; 2] = *b"\n\n";

/// Judges statements as they pass, and counts their bytes.
pub(crate) struct Statements {
    text: Text,
    bytes: u64,
    digest: Digest,
    last: [u8; 2],
}

impl Statements {
    pub(crate) fn new(text: Text) -> Self {
        Self { text, bytes: 0, digest: Digest::new(), last: [0; 2] }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        self.text.push(piece)?;
        self.bytes += piece.len() as u64;
        self.digest.update(piece);
        for byte in &piece[piece.len().saturating_sub(END.len())..] {
            self.last = [self.last[1], *byte];
        }
        Ok(())
    }

    /// The size and the digest, if the statements have ended as they must.
    pub(crate) fn finish(self) -> Result<(u64, String), Flaw> {
        self.text.finish()?;
        if self.last != END {
            return Err("its INSERT statements end without the empty line that is to end them: they are cut".to_owned());
        }
        Ok((self.bytes, self.digest.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Encoding;

    #[test]
    fn statements_end_with_an_empty_line() {
        let judged = |pieces: &[&str]| {
            let mut statements = Statements::new(Text::new(Encoding::Utf8));
            pieces.iter().try_for_each(|piece| statements.push(piece.as_bytes()))?;
            statements.finish()
        };
        assert_eq!(judged(&["INSERT INTO t VALUES (1);\n", "\n", "\n"]).unwrap().0, 28);
        assert!(judged(&["INSERT INTO t VALUES (1);\n"]).is_err());
        assert!(judged(&[]).is_err());
    }
}
