//! The inside of a statement, and its parts that may contain semicolons.

use crate::script::function_body::FunctionBody;
use crate::script::lexer::{Element, LexError, Lexer, State, special_bytes};
use crate::sql::word::{self, is_in_word};

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
    ) -> Result<(usize, Option<Element>), LexError> {
        while at < piece.len() {
            let passed = special_bytes::position(&piece[at..]);
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
                b'\'' if self.is_escaped(piece, at) => State::Escaped { after_backslash: false },
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
                    return Ok((at + 1, Some(Element::Statement)));
                }
                b'\\' => {
                    return Err(LexError { at, flaw: "a statement contains a backslash outside of quotes".to_owned() });
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
            self.inner_start = offset + at as u64;
            return Ok((at + 1, None));
        }
        Ok((at, None))
    }

    /// Passes complete words to the body parser, as long as a body is possible.
    fn words(&mut self, mut text: &[u8]) {
        while !text.is_empty() && self.body != FunctionBody::Other {
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
    pub(super) fn quoted_or_comment(&mut self, piece: &[u8], at: usize) -> Result<usize, LexError> {
        let rest = &piece[at..];
        let byte = piece[at];
        // True if the element begins here, between statements.
        let is_first = self.inner_start == self.element_start;
        let (length, state) = match self.state {
            State::Dash if byte == b'-' && is_first => (1, State::Comment),
            State::Dash if byte == b'-' => (1, State::LineComment),
            State::Slash if byte == b'*' => (1, State::BlockComment { depth: 1, last: 0 }),
            State::EscapedEnd if byte == b'\'' => (1, State::Escaped { after_backslash: false }),
            State::LineComment => match memchr::memchr(b'\n', rest) {
                Some(length) => (length, State::Statement),
                None => (rest.len(), State::LineComment),
            },
            State::BlockComment { depth, last } => match (last, byte) {
                (b'/', b'*') => (1, State::BlockComment { depth: depth + 1, last: 0 }),
                (b'*', b'/') if depth > 1 => (1, State::BlockComment { depth: depth - 1, last: 0 }),
                (b'*', b'/') if is_first => (1, State::Between),
                (b'*', b'/') => (1, State::Statement),
                (_, b'*' | b'/') => (1, State::BlockComment { depth, last: byte }),
                _ => (memchr::memchr2(b'*', b'/', rest).unwrap_or(rest.len()), State::BlockComment { depth, last: 0 }),
            },
            State::Quoted(quote) => match memchr::memchr(quote, rest) {
                Some(length) => (length + 1, State::Statement),
                None => (rest.len(), State::Quoted(quote)),
            },
            State::Escaped { after_backslash: true } => (1, State::Escaped { after_backslash: false }),
            State::Escaped { .. } => {
                let special = if self.is_double_byte {
                    rest.iter().position(|byte| matches!(byte, b'\'' | b'\\' | 0x80..))
                } else {
                    memchr::memchr2(b'\'', b'\\', rest)
                };
                match special {
                    Some(length) if rest[length] == b'\'' => (length + 1, State::EscapedEnd),
                    Some(length) => (length + 1, State::Escaped { after_backslash: true }),
                    None => (rest.len(), State::Escaped { after_backslash: false }),
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
    fn tag(&mut self, byte: u8, at: usize) -> Result<usize, LexError> {
        let may_begin = self.tag.len() > 1 || !byte.is_ascii_digit();
        if !is_in_word(byte) || !may_begin {
            self.state = State::Statement;
            return Ok(at);
        }
        if self.tag.len() > MAX_TAG_BYTES {
            let flaw = format!("the tag of a dollar quote is longer than {MAX_TAG_BYTES} bytes");
            return Err(LexError { at, flaw });
        }
        self.tag.push(byte);
        if byte == b'$' {
            self.state = State::Dollar { matched: 0 };
        }
        Ok(at + 1)
    }
}
