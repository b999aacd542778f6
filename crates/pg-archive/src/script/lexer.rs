//! A lexer of SQL that follows psql's rules as far as needed to find the ends of statements and
//! comments.
//!
//! `sql::Tokens` is a separate lexer, of a whole statement in memory. A script comes in pieces of
//! any size, and a statement may be larger than memory, so this lexer can stop after any byte; it
//! forms no tokens, and skips quoted text at the speed of memchr. Tokens that can stop after any
//! byte would slow the checker of scripts for the sake of the few statements that are parsed.

mod special_bytes;
mod statement;
mod word;

use crate::copy_data::Flaw;
use crate::script::function_body::FunctionBody;
use crate::script::lexer::word::Word;

/// The number of bytes kept of a comment or a command.
const MAX_LINE_BYTES: usize = 4096;
/// The number of bytes kept of a statement: enough to identify its kind.
const HEAD_BYTES: usize = 64;
/// The number of bytes kept of a statement that is parsed. No list of a table's columns or of
/// grantees is longer.
const MAX_PARSED_BYTES: usize = 1 << 20;
/// The beginnings of such statements. For other statements, the first bytes suffice.
const PARSED_STATEMENTS: [&[u8]; 7] = [
    b"COPY ",
    b"GRANT ",
    b"REVOKE ",
    b"ALTER DEFAULT PRIVILEGES ",
    b"CREATE POLICY ",
    b"CREATE USER MAPPING ",
    b"SELECT pg_catalog.setval(",
];
/// The number of bytes kept of a statement that ends with an owner, or consists of little more than
/// a name.
const MAX_SHORT_BYTES: usize = 4096;
const SHORT_STATEMENTS: [&[u8]; 5] = [b"ALTER ", b"CREATE EXTENSION ", b"CREATE ROLE ", b"CREATE SCHEMA ", b"SET "];

const INSERT: &[u8] = b"INSERT INTO ";
const NEXT_INSERT: &[u8] = b"\nINSERT INTO ";

/// Text that pg_dump never writes, with its offset in a piece.
#[derive(Debug)]
pub(crate) struct LexError {
    pub(crate) at: usize,
    pub(crate) flaw: Flaw,
}

/// The part of a piece that was processed in one step.
pub(crate) struct Step {
    pub(crate) bytes: usize,
    /// The number of leading white space bytes.
    pub(crate) blank: usize,
    /// The element that ended with these bytes. A statement may be the last of many INSERT
    /// statements, each on its own line.
    pub(crate) ended: Option<Element>,
    /// True if the bytes belong only to a comment outside of statements.
    pub(crate) is_comment: bool,
}

/// A top-level element of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    /// `-- …`, with its line feed.
    Comment,
    /// `\…`, with its line feed.
    Command,
    /// A statement, with its semicolon.
    Statement,
}

/// The state after the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between statements.
    Between,
    /// Within a comment between statements.
    Comment,
    /// Within a command.
    Command,
    /// Within a statement, outside of quotes and comments.
    Statement,
    /// After a `-` or `/` that may begin a comment.
    Dash,
    Slash,
    /// Within a line comment inside of a statement.
    LineComment,
    /// Within nested comments of this depth, after a byte that may be half a comment mark.
    BlockComment {
        depth: u64,
        last: u8,
    },
    /// Within quotes that end with this byte. A doubled quote ends them and begins others.
    Quoted(u8),
    /// Within a string with backslashes. `after_backslash` is true if one escapes the next byte.
    Escaped {
        after_backslash: bool,
    },
    /// After a quote that ends such a string unless another quote follows.
    EscapedEnd,
    /// Within the tag that begins a dollar quote.
    Tag,
    /// Within a dollar quote, after this many bytes of its end.
    Dollar {
        matched: usize,
    },
}

/// A lexer of SQL in pieces.
pub(crate) struct Lexer {
    state: State,
    /// The offset of the open element: a comment, a command or a statement.
    element_start: u64,
    /// The offset of the open quotes, or of the open comment inside of a statement.
    inner_start: u64,
    /// The beginning of the open element, or of the last one.
    text: Vec<u8>,
    /// True if the element is at the beginning of a line.
    at_line_start: bool,
    /// The last two bytes.
    last: [u8; 2],
    word: Word,
    /// The number of open parentheses.
    depth: u64,
    body: FunctionBody,
    /// `$tag$`.
    tag: Vec<u8>,
    /// True if backslashes escape the next byte in all strings:
    /// `standard_conforming_strings = off`.
    pub(crate) all_strings_escape: bool,
    /// True if a byte from 0x80 on forms a pair with the next byte, which may equal a backslash in
    /// some encodings.
    pub(crate) is_double_byte: bool,
}

impl Lexer {
    /// Creates a lexer at the beginning of a line.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Between,
            element_start: 0,
            inner_start: 0,
            text: Vec::new(),
            at_line_start: true,
            last: [b'\n'; 2],
            word: Word::default(),
            depth: 0,
            body: FunctionBody::New,
            tag: Vec::new(),
            all_strings_escape: false,
            is_double_byte: false,
        }
    }

    /// Continues at the beginning of another line, after text that is not SQL.
    pub(crate) fn resume_at_line_start(&mut self) {
        self.last = [b'\n'; 2];
    }

    /// Returns the offset of the element that just ended.
    pub(crate) fn element_start(&self) -> u64 {
        self.element_start
    }

    /// Returns the text of the element that just ended, or its beginning if the element is long.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns true if the element that just ended was at the beginning of a line.
    pub(crate) fn at_line_start(&self) -> bool {
        self.at_line_start
    }

    /// Returns true if a statement is open, rather than a comment between statements.
    pub(crate) fn is_in_statement(&self) -> bool {
        match self.state {
            State::Between | State::Comment | State::Command => false,
            State::Dash | State::Slash | State::BlockComment { .. } => self.inner_start != self.element_start,
            _ => true,
        }
    }

    /// Returns the element that is open at the end of all pieces, and its offset.
    pub(crate) fn open(&self) -> Option<(u64, &'static str)> {
        match self.state {
            State::Between => None,
            State::Comment => Some((self.element_start, "comment")),
            State::Command => Some((self.element_start, "command")),
            State::Statement | State::Dash | State::Slash | State::LineComment | State::EscapedEnd | State::Tag => {
                Some((self.element_start, "statement"))
            }
            State::BlockComment { .. } => Some((self.inner_start, "comment")),
            State::Quoted(b'"') => Some((self.inner_start, "quoted name")),
            State::Quoted(_) | State::Escaped { .. } => Some((self.inner_start, "quoted string")),
            State::Dollar { .. } => Some((self.inner_start, "dollar-quoted string")),
        }
    }

    /// Processes the beginning of a piece at `offset`: up to the end of an element, or all of the
    /// piece.
    pub(crate) fn step(&mut self, piece: &[u8], offset: u64) -> Result<Step, LexError> {
        let mut at = 0;
        let mut blank = 0;
        if self.state == State::Between {
            at = piece.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(piece.len());
            self.record_last_bytes(&piece[..at]);
            blank = at;
            // A comment begins its own step.
            if at == piece.len() || (at > 0 && piece[at] == b'-') {
                return Ok(Step { bytes: at, blank, ended: None, is_comment: false });
            }
            self.begin(piece[at], offset + at as u64);
        }
        let first = at;
        let mut ended = None;
        while ended.is_none() && at < piece.len() {
            (at, ended) = match self.state {
                State::Between => (piece.len(), None),
                State::Comment => self.line(piece, at, Element::Comment),
                State::Command => self.line(piece, at, Element::Command),
                State::Statement => self.statement(piece, at, offset)?,
                _ => (self.quoted_or_comment(piece, at)?, None),
            };
            if self.state == State::Between && ended.is_none() {
                break;
            }
            // Consecutive INSERT statements form one step, since a script may consist of nothing
            // else.
            if ended == Some(Element::Statement)
                && piece[first..].starts_with(INSERT)
                && piece[at..].starts_with(NEXT_INSERT)
            {
                at += 1;
                self.record_last_bytes(b"\n");
                self.begin(piece[at], offset + at as u64);
                ended = None;
            }
        }
        self.keep(&piece[first..at]);
        self.record_last_bytes(&piece[first..at]);
        let is_comment = ended == Some(Element::Comment)
            || self.state == State::Comment
            || (self.state == State::Dash && self.inner_start == self.element_start);
        Ok(Step { bytes: at, blank, ended, is_comment })
    }

    /// Records the last bytes.
    fn record_last_bytes(&mut self, bytes: &[u8]) {
        self.last = match bytes {
            [] => self.last,
            [last] => [self.last[1], *last],
            [.., one, last] => [*one, *last],
        };
    }

    /// Begins the element of which `byte` is the first byte.
    fn begin(&mut self, byte: u8, offset: u64) {
        self.state = if byte == b'\\' { State::Command } else { State::Statement };
        self.element_start = offset;
        self.at_line_start = self.last[1] == b'\n';
        self.text.clear();
        self.word.clear();
        self.depth = 0;
        self.body = FunctionBody::New;
    }

    /// Keeps the required part of the open element.
    fn keep(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES.saturating_sub(self.text.len())));
        self.text.extend_from_slice(head);
        let max_bytes = match self.text.as_slice() {
            [b'-', b'-', ..] | [b'\\', ..] => MAX_LINE_BYTES,
            text if PARSED_STATEMENTS.iter().any(|beginning| text.starts_with(beginning)) => MAX_PARSED_BYTES,
            text if SHORT_STATEMENTS.iter().any(|beginning| text.starts_with(beginning)) => MAX_SHORT_BYTES,
            _ => return,
        };
        let kept = rest.len().min(max_bytes.saturating_sub(self.text.len()));
        self.text.extend_from_slice(&rest[..kept]);
    }

    /// Processes an element up to the end of its line.
    fn line(&mut self, piece: &[u8], at: usize, element: Element) -> (usize, Option<Element>) {
        match memchr::memchr(b'\n', &piece[at..]) {
            None => (piece.len(), None),
            Some(length) => {
                self.state = State::Between;
                (at + length + 1, Some(element))
            }
        }
    }
}

#[cfg(test)]
mod tests;
