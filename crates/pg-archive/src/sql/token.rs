//! The tokens of SQL in memory. `script::lexer` finds the ends of statements in a script of any
//! size.

use std::ops::Range;

use crate::sql::word::{self, is_in_word};

/// The meaning of a backslash in a string without a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strings {
    /// An ordinary character: `standard_conforming_strings = on`.
    Standard,
    /// An escape of the next byte.
    Escaped,
}

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A keyword, or an unquoted name.
    Word,
    /// A quoted name.
    Quoted,
    /// A string, in any kind of quotes.
    String,
    /// A number.
    Number,
    /// Any other byte.
    Symbol(u8),
}

/// A token and its range.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) range: Range<usize>,
    /// The number of open parentheses and brackets around the token.
    pub(crate) depth: u32,
}

/// An iterator over tokens, without white space and comments. It ends for any bytes.
#[derive(Clone)]
pub(crate) struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
    depth: u32,
    strings: Strings,
}

impl<'a> Tokens<'a> {
    /// Creates the tokens of `sql`.
    pub(crate) fn new(sql: &'a [u8], strings: Strings) -> Self {
        Self { sql, at: 0, depth: 0, strings }
    }

    /// Returns the bytes of a token.
    pub(crate) fn text(&self, token: &Token) -> &'a [u8] {
        &self.sql[token.range.clone()]
    }

    /// Returns true if a token is this keyword, unquoted.
    pub(crate) fn is(&self, token: &Token, keyword: &str) -> bool {
        token.kind == TokenKind::Word && self.text(token).eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// Returns the name that a token denotes: without quotes, or in lower case if unquoted.
    pub(crate) fn name(&self, token: &Token) -> Option<Vec<u8>> {
        match (token.kind, self.text(token)) {
            (TokenKind::Word, word) => Some(word.to_ascii_lowercase()),
            (TokenKind::Quoted, [b'"', inside @ .., b'"']) => Some(undouble(inside, b'"')),
            _ => None,
        }
    }

    /// Returns the content of a string without escapes.
    pub(crate) fn string(&self, token: &Token) -> Option<Vec<u8>> {
        match (token.kind, self.text(token)) {
            (TokenKind::String, [b'\'', inside @ .., b'\'']) => Some(undouble(inside, b'\'')),
            _ => None,
        }
    }

    fn rest(&self) -> &'a [u8] {
        &self.sql[self.at..]
    }

    /// Skips white space and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            match rest {
                [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0b => self.at += 1,
                [b'-', b'-', ..] => self.at += memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1),
                [b'/', b'*', ..] => self.block_comment(),
                _ => return,
            }
        }
    }

    /// Skips a comment, which may contain nested comments.
    fn block_comment(&mut self) {
        let mut open = 0_usize;
        loop {
            match self.rest() {
                [] => return,
                [b'/', b'*', ..] => (open, self.at) = (open + 1, self.at + 2),
                [b'*', b'/', ..] if open == 1 => {
                    self.at += 2;
                    return;
                }
                [b'*', b'/', ..] => (open, self.at) = (open - 1, self.at + 2),
                _ => self.at += 1,
            }
        }
    }

    /// Returns the length of the quoted text at the beginning of `rest`, or all of it if the quotes
    /// do not end.
    fn quoted(rest: &[u8], quote: u8, escapes: bool) -> usize {
        let mut at = 1;
        while let Some(byte) = rest.get(at) {
            match byte {
                b'\\' if escapes => at += 2,
                byte if *byte == quote && rest.get(at + 1) == Some(&quote) => at += 2,
                byte if *byte == quote => return at + 1,
                _ => at += 1,
            }
        }
        rest.len()
    }

    /// Returns the length of the dollar-quoted text at the beginning of `rest`, if any.
    fn dollar(rest: &[u8]) -> Option<usize> {
        let length = memchr::memchr(b'$', rest.get(1..)?)?;
        let tag = &rest[1..=length];
        let is_tag = tag.iter().all(|byte| is_in_word(*byte)) && !tag.first().is_some_and(u8::is_ascii_digit);
        if !is_tag {
            return None;
        }
        let mark = &rest[..length + 2];
        let inside = &rest[mark.len()..];
        Some(memchr::memmem::find(inside, mark).map_or(rest.len(), |end| end + 2 * mark.len()))
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip();
        let rest = self.rest();
        let first = *rest.first()?;
        let escapes = self.strings == Strings::Escaped;
        let mut depth = self.depth;
        let (kind, length) = match first {
            b'"' => (TokenKind::Quoted, Self::quoted(rest, b'"', false)),
            b'\'' => (TokenKind::String, Self::quoted(rest, b'\'', escapes)),
            b'e' | b'E' if rest.get(1) == Some(&b'\'') => {
                (TokenKind::String, 1 + Self::quoted(&rest[1..], b'\'', true))
            }
            b'b' | b'B' | b'x' | b'X' | b'n' | b'N' if rest.get(1) == Some(&b'\'') => {
                (TokenKind::String, 1 + Self::quoted(&rest[1..], b'\'', escapes))
            }
            b'$' => Self::dollar(rest).map_or((TokenKind::Symbol(b'$'), 1), |length| (TokenKind::String, length)),
            // A dollar may continue a word, but not a number.
            b'0'..=b'9' => {
                let word = &rest[..word::length(rest)];
                (TokenKind::Number, memchr::memchr(b'$', word).unwrap_or(word.len()))
            }
            byte if is_in_word(byte) => (TokenKind::Word, word::length(rest)),
            b'(' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                (TokenKind::Symbol(first), 1)
            }
            b')' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                depth = self.depth;
                (TokenKind::Symbol(first), 1)
            }
            byte => (TokenKind::Symbol(byte), 1),
        };
        let length = length.min(rest.len());
        let range = self.at..self.at + length;
        self.at = range.end;
        Some(Token { kind, range, depth })
    }
}

/// Undoubles the quotes in quoted text.
fn undouble(inside: &[u8], quote: u8) -> Vec<u8> {
    let mut undoubled = Vec::with_capacity(inside.len());
    let mut was_quote = false;
    for byte in inside {
        was_quote = *byte == quote && !was_quote;
        if !was_quote {
            undoubled.push(*byte);
        }
    }
    undoubled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(sql: &str) -> Vec<(TokenKind, &str)> {
        let tokens = Tokens::new(sql.as_bytes(), Strings::Standard);
        tokens.map(|token| (token.kind, &sql[token.range])).collect()
    }

    #[test]
    fn classifies_tokens() {
        assert_eq!(
            texts("a1 \"b\"\"; c\"/* d /* e */ f */'g''; h'-- i\n$j$ k; $$ $j$ E'l\\'; m' 12.5 $$n$$;"),
            [
                (TokenKind::Word, "a1"),
                (TokenKind::Quoted, "\"b\"\"; c\""),
                (TokenKind::String, "'g''; h'"),
                (TokenKind::String, "$j$ k; $$ $j$"),
                (TokenKind::String, "E'l\\'; m'"),
                (TokenKind::Number, "12"),
                (TokenKind::Symbol(b'.'), "."),
                (TokenKind::Number, "5"),
                (TokenKind::String, "$$n$$"),
                (TokenKind::Symbol(b';'), ";"),
            ]
        );
        assert_eq!(texts("a$b$ c $b$")[..2], [(TokenKind::Word, "a$b$"), (TokenKind::Word, "c")]);
        assert_eq!(texts("1$$;$$"), [(TokenKind::Number, "1"), (TokenKind::String, "$$;$$")]);
        let escaped: Vec<_> = Tokens::new(b"'a\\'b' c", Strings::Escaped).map(|token| token.range).collect();
        assert_eq!(escaped, [0..6, 7..8]);
    }

    #[test]
    fn unquotes_and_folds_names() {
        let name = |sql: &str| {
            let mut tokens = Tokens::new(sql.as_bytes(), Strings::Standard);
            let token = tokens.next().unwrap();
            tokens.name(&token).map(|name| String::from_utf8(name).unwrap())
        };
        assert_eq!(name("Anna"), Some("anna".to_owned()));
        assert_eq!(name("\"An\"\"na\"\"\"\"\""), Some("An\"na\"\"".to_owned()));
        assert_eq!(name("'anna'"), None);
        assert_eq!(name("\"cut"), None);
    }

    proptest! {
        #[test]
        fn tokens_never_overlap_for_any_bytes(sql in proptest::collection::vec(prop_oneof![
            Just(b'\''), Just(b'"'), Just(b'$'), Just(b'\\'), Just(b'-'), Just(b'/'), Just(b'*'), Just(b'('), Just(b')'),
            Just(b'e'), Just(b'\n'), any::<u8>()
        ], 0..200)) {
            for strings in [Strings::Standard, Strings::Escaped] {
                let mut end = 0;
                let mut tokens = Tokens::new(&sql, strings);
                while let Some(token) = tokens.next() {
                    prop_assert!(token.range.start >= end && token.range.end > token.range.start);
                    prop_assert!(token.range.end <= sql.len());
                    end = token.range.end;
                    drop((tokens.name(&token), tokens.string(&token)));
                }
            }
        }
    }
}
