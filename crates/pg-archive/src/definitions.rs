//! Digests of definitions: of each entry of an archive's table of contents, and of each object of a
//! script.

use serde::{Deserialize, Serialize};

use crate::sql::{Strings, TokenKind, Tokens};

/// The length of a digest in bytes: the first bytes of a BLAKE3 hash.
pub(crate) const DIGEST_BYTES: usize = 16;

/// Digests of all definitions in a dump, in the dump's order.
///
/// A digest is the first 16 bytes of a BLAKE3 hash, in hexadecimal digits. A definition may contain
/// a password that can be guessed, so its digest is as secret as the dump.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definitions {
    /// The digest of each line of [`Facts::toc`](crate::Facts::toc), in its order. Empty for a
    /// script.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<String>,
    /// The digests of the entries that `pg_restore --list` omits, and of all definitions in a
    /// script.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Definition>,
}

/// The digest of one definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The defined object: kind, schema, name and owner as in `pg_restore --list`, or the beginning
    /// of the statement.
    pub entry: String,
    /// The digest.
    pub digest: String,
}

/// A digest that fields are added to.
#[derive(Default)]
pub(crate) struct Hasher {
    inner: blake3::Hasher,
    bytes: u64,
}

impl Hasher {
    /// Adds a part of a field.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.inner.update(piece);
        self.bytes += piece.len() as u64;
    }

    /// Ends a field. Its length follows, so that two different lists of fields never yield the same
    /// bytes.
    pub(crate) fn end_field(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.inner.update(&bytes.to_le_bytes());
    }

    /// Adds a whole field.
    pub(crate) fn field(&mut self, field: &[u8]) {
        self.update(field);
        self.end_field();
    }

    pub(crate) fn finish(&self) -> [u8; DIGEST_BYTES] {
        let mut digest = [0; DIGEST_BYTES];
        self.inner.finalize_xof().fill(&mut digest);
        digest
    }
}

/// Formats a digest in hexadecimal digits.
pub(crate) fn hex(digest: [u8; DIGEST_BYTES]) -> String {
    format!("{:032x}", u128::from_be_bytes(digest))
}

/// Returns the beginning of a statement, up to the name of its object, without any string, since a
/// string may be a password.
pub(crate) fn statement_head(statement: &[u8], strings: Strings) -> String {
    /// `GRANT role TO role` has four words. In other statements the object is at most the third.
    const MAX_WORDS: usize = 4;
    let tokens = Tokens::new(statement, strings);
    let max_words = if statement.starts_with(b"GRANT ") { MAX_WORDS } else { MAX_WORDS - 1 };
    let source = tokens.clone();
    let is_name = |kind| matches!(kind, TokenKind::Word | TokenKind::Quoted);
    let words: Vec<String> = tokens
        .take_while(|token| is_name(token.kind))
        .take(max_words)
        .map(|token| String::from_utf8_lossy(source.text(&token)).into_owned())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_depends_on_field_boundaries() {
        let of = |fields: &[&str]| {
            let mut hasher = Hasher::default();
            fields.iter().for_each(|field| hasher.field(field.as_bytes()));
            hex(hasher.finish())
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", ""]), of(&["", "a"]));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_eq!(of(&["a"]).len(), 2 * DIGEST_BYTES);
    }

    #[test]
    fn statement_head_contains_no_string() {
        for (statement, expected) in [
            ("ALTER ROLE clerk WITH NOSUPERUSER PASSWORD 'SCRAM-SHA-256$4096:x';", "ALTER ROLE clerk"),
            ("CREATE ROLE \"a b\";", "CREATE ROLE \"a b\""),
            ("GRANT clerks TO clerk WITH INHERIT TRUE;", "GRANT clerks TO clerk"),
            ("SET PASSWORD 'x';", "SET PASSWORD"),
            ("ALTER SYSTEM 'secret' a", "ALTER SYSTEM"),
        ] {
            assert_eq!(statement_head(statement.as_bytes(), Strings::Standard), expected);
        }
    }
}
