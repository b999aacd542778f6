//! The inside of a statement, and its parts that may contain semicolons.

use crate::script::body::Body;
use crate::script::lexer::word::{self, is_in_word};
use crate::script::lexer::{Lexer, Snag, State, Token, mark};

/// The maximum length of a dollar quote's tag. pg_dump uses a longer tag only for a body that
/// contains all shorter ones.
const MAX_TAG_BYTES: usize = 1024;

impl Lexer {
    /// Processes a statement up to a quote or comment, or to its end.
    pub(super) fn statement(
        &mut self,
        piece: &[u8],
        mut at: usize,
        offset: u64,
    ) -> Result<(usize, Option<Token>), Snag> {
        while at < piece.len() {
            let passed = mark::position(&piece[at..]);
            self.words(&piece[at..at + passed]);
            at += passed;
            let Some(&byte) = piece.get(at) else { break };
            if byte == b'$' && is_in_word(self.before(piece, at, 1)) {
                self.word.extend(b"$");
                at += 1;
                continue;
            }
            self.end_word();
            self.state = match byte {
                b'\'' if self.is_escaped(piece, at) => State::Escaped { hidden: false },
                b'\'' | b'"' => match memchr::memchr(byte, &piece[at + 1..]) {
                    Some(length) => {
                        at += length + 2;
                        continue;
                    }
                    None => State::Quoted(byte),
                },
                b'$' => {
                    self.tag.clear();
                    self.tag.push(b'$');
                    State::Tag
                }
                b'-' => State::Dash,
                b'/' => State::Slash,
                b';' if self.depth == 0 && !self.body.is_open() => {
                    self.state = State::Between;
                    return Ok((at + 1, Some(Token::Statement)));
                }
                b'\\' => {
                    return Err(Snag { at, flaw: "a statement contains a backslash outside of quotes".to_owned() });
                }
                _ => {
                    match byte {
                        b'(' => self.depth += 1,
                        b')' => self.depth = self.depth.saturating_sub(1),
                        _ => {}
                    }
                    at += 1;
                    continue;
                }
            };
            self.hidden_since = offset + at as u64;
            return Ok((at + 1, None));
        }
        Ok((at, None))
    }

    /// Passes complete words to the body parser, as long as a body is possible.
    fn words(&mut self, mut text: &[u8]) {
        while !text.is_empty() && self.body != Body::Other {
            let length = word::length(text);
            self.word.extend(&text[..length]);
            if length < text.len() {
                self.end_word();
            }
            text = text.get(length + 1..).unwrap_or_default();
        }
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            if self.depth == 0 {
                self.body.word(self.word.text());
            }
            self.word.clear();
        }
    }

    /// Returns true if backslashes escape the next byte in the string that begins here: after an
    /// `E` that is a separate word.
    fn is_escaped(&self, piece: &[u8], at: usize) -> bool {
        let is_e = || matches!(self.before(piece, at, 1), b'E' | b'e') && !is_in_word(self.before(piece, at, 2));
        self.all_strings_escape || is_e()
    }

    /// Returns one of the two bytes before this place.
    fn before(&self, piece: &[u8], at: usize, distance: usize) -> u8 {
        if at >= distance { piece[at - distance] } else { self.last[self.last.len() + at - distance] }
    }

    /// Processes bytes in which semicolons end no statement, and returns the offset reached.
    pub(super) fn hidden(&mut self, piece: &[u8], at: usize) -> Result<usize, Snag> {
        let rest = &piece[at..];
        let byte = piece[at];
        // True if the token begins here, between statements.
        let is_first = self.hidden_since == self.began;
        let (length, state) = match self.state {
            State::Dash if byte == b'-' && is_first => (1, State::Comment),
            State::Dash if byte == b'-' => (1, State::Line),
            State::Slash if byte == b'*' => (1, State::Block { depth: 1, last: 0 }),
            State::EscapedEnd if byte == b'\'' => (1, State::Escaped { hidden: false }),
            State::Line => match memchr::memchr(b'\n', rest) {
                Some(length) => (length, State::Statement),
                None => (rest.len(), State::Line),
            },
            State::Block { depth, last } => match (last, byte) {
                (b'/', b'*') => (1, State::Block { depth: depth + 1, last: 0 }),
                (b'*', b'/') if depth > 1 => (1, State::Block { depth: depth - 1, last: 0 }),
                (b'*', b'/') if is_first => (1, State::Between),
                (b'*', b'/') => (1, State::Statement),
                (_, b'*' | b'/') => (1, State::Block { depth, last: byte }),
                _ => (memchr::memchr2(b'*', b'/', rest).unwrap_or(rest.len()), State::Block { depth, last: 0 }),
            },
            State::Quoted(quote) => match memchr::memchr(quote, rest) {
                Some(length) => (length + 1, State::Statement),
                None => (rest.len(), State::Quoted(quote)),
            },
            State::Escaped { hidden: true } => (1, State::Escaped { hidden: false }),
            State::Escaped { .. } => {
                let special = if self.has_pairs {
                    rest.iter().position(|byte| matches!(byte, b'\'' | b'\\' | 0x80..))
                } else {
                    memchr::memchr2(b'\'', b'\\', rest)
                };
                match special {
                    Some(length) if rest[length] == b'\'' => (length + 1, State::EscapedEnd),
                    Some(length) => (length + 1, State::Escaped { hidden: true }),
                    None => (rest.len(), State::Escaped { hidden: false }),
                }
            }
            State::Tag => return self.tag(byte, at),
            State::Dollar { matched } if self.tag[matched] == byte => match matched + 1 {
                all if all == self.tag.len() => (1, State::Statement),
                matched => (1, State::Dollar { matched }),
            },
            // Only the first and last byte of a tag is a dollar, so no other byte of the tag can
            // begin another tag.
            State::Dollar { .. } => match memchr::memchr(b'$', rest) {
                Some(length) => (length + 1, State::Dollar { matched: 1 }),
                None => (rest.len(), State::Dollar { matched: 0 }),
            },
            _ => (0, State::Statement),
        };
        self.state = state;
        Ok(at + length)
    }

    /// Processes a byte of a possible tag of a dollar quote.
    fn tag(&mut self, byte: u8, at: usize) -> Result<usize, Snag> {
        let may_begin = self.tag.len() > 1 || !byte.is_ascii_digit();
        if !is_in_word(byte) || !may_begin {
            self.state = State::Statement;
            return Ok(at);
        }
        if self.tag.len() > MAX_TAG_BYTES {
            let flaw = format!("the tag of a dollar quote is longer than {MAX_TAG_BYTES} bytes");
            return Err(Snag { at, flaw });
        }
        self.tag.push(byte);
        if byte == b'$' {
            self.state = State::Dollar { matched: 0 };
        }
        Ok(at + 1)
    }
}
