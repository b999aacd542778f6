//! Takes SQL apart as psql does, as far as it takes to know where statements and comments end.

mod inside;
mod mark;
mod word;

use crate::rows::Flaw;
use crate::script::body::Body;
use crate::script::lexer::word::Word;

/// How much is kept of a comment or a command, in bytes.
const MAX_LINE_BYTES: usize = 4096;
/// How much is kept of a statement: enough to know what it does.
const HEAD_BYTES: usize = 64;
/// How much is kept of a statement that is taken apart: no list of a table's columns, or of whom something is granted to, is longer.
const MAX_TAKEN_APART_BYTES: usize = 1 << 20;
/// How such statements begin; of others the beginning tells enough.
const TAKEN_APART: [&[u8]; 7] = [
    b"COPY ",
    b"GRANT ",
    b"REVOKE ",
    b"ALTER DEFAULT PRIVILEGES ",
    b"CREATE POLICY ",
    b"CREATE USER MAPPING ",
    b"SELECT pg_catalog.setval(",
];
/// How much is kept of a statement that ends with an owner, or is a name and little else.
const MAX_SHORT_BYTES: usize = 4096;
const SHORT: [&[u8]; 5] = [b"ALTER ", b"CREATE EXTENSION ", b"CREATE ROLE ", b"CREATE SCHEMA ", b"SET "];

const INSERT: &[u8] = b"INSERT INTO ";
const NEXT_INSERT: &[u8] = b"\nINSERT INTO ";

/// What pg_dump writes nowhere, and where in a piece it is.
#[derive(Debug)]
pub(crate) struct Snag {
    pub(crate) at: usize,
    pub(crate) flaw: Flaw,
}

/// What was taken off the front of a piece.
pub(crate) struct Step {
    pub(crate) bytes: usize,
    /// How many of them are blank, before anything begins.
    pub(crate) blank: usize,
    /// What has ended with these bytes; a statement may be the last of many INSERT statements, each on a line of its own.
    pub(crate) ended: Option<Token>,
    /// Whether they are of a comment outside of statements, and of nothing else.
    pub(crate) is_comment: bool,
}

/// What stands outside of any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// `-- …`, with its line feed.
    Comment,
    /// `\…`, with its line feed.
    Command,
    /// With its semicolon.
    Statement,
}

/// Where the last byte has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between statements.
    Between,
    /// Within a comment between statements.
    Comment,
    /// Within a command.
    Command,
    /// Within a statement, outside of anything that hides a semicolon.
    Statement,
    /// Behind a `-` or `/` that may begin a comment.
    Dash,
    Slash,
    /// Within a comment inside of a statement.
    Line,
    /// Within so many nested comments, behind a byte that may be half a mark of one.
    Block {
        depth: u64,
        last: u8,
    },
    /// Within quotes that end with this byte; a doubled one ends them, and begins others.
    Quoted(u8),
    /// Within a string with backslashes, of which one may hide the next byte.
    Escaped {
        hidden: bool,
    },
    /// Behind a quote that ended such a string, unless another follows.
    EscapedEnd,
    /// Within the tag that begins a dollar quote.
    Tag,
    /// Within a dollar quote, behind so many bytes that its end has.
    Dollar {
        matched: usize,
    },
}

/// Takes apart SQL that comes in pieces.
pub(crate) struct Lexer {
    state: State,
    /// Where what is open began: a comment, a command or a statement.
    began: u64,
    /// Where the quotes, or the comment inside of a statement, that are open began.
    hidden_since: u64,
    /// The beginning of what is open, or has just ended.
    text: Vec<u8>,
    /// Whether it stands, or stood, at the beginning of a line.
    at_line_start: bool,
    /// The last two bytes.
    last: [u8; 2],
    word: Word,
    /// How many parentheses are open.
    depth: u64,
    body: Body,
    /// `$tag$`.
    tag: Vec<u8>,
    /// Whether backslashes hide the next byte in all strings: `standard_conforming_strings = off`.
    pub(crate) all_strings_escape: bool,
    /// Whether a byte from 0x80 on hides the next one: in some encodings that may be a backslash.
    pub(crate) has_pairs: bool,
}

impl Lexer {
    /// At the beginning of a line.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Between,
            began: 0,
            hidden_since: 0,
            text: Vec::new(),
            at_line_start: true,
            last: [b'\n'; 2],
            word: Word::default(),
            depth: 0,
            body: Body::New,
            tag: Vec::new(),
            all_strings_escape: false,
            has_pairs: false,
        }
    }

    /// Goes on at the beginning of another line, past what is not SQL.
    pub(crate) fn go_on(&mut self) {
        self.last = [b'\n'; 2];
    }

    /// Where what has just ended began.
    pub(crate) fn began(&self) -> u64 {
        self.began
    }

    /// The text of what has just ended, or the beginning of it if it is long.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether what has just ended stands at the beginning of a line.
    pub(crate) fn at_line_start(&self) -> bool {
        self.at_line_start
    }

    /// Returns whether a statement is open, rather than a comment between statements.
    pub(crate) fn is_in_statement(&self) -> bool {
        match self.state {
            State::Between | State::Comment | State::Command => false,
            State::Dash | State::Slash | State::Block { .. } => self.hidden_since != self.began,
            _ => true,
        }
    }

    /// What is open at the end of all pieces, and where it began.
    pub(crate) fn open(&self) -> Option<(u64, &'static str)> {
        match self.state {
            State::Between => None,
            State::Comment => Some((self.began, "comment")),
            State::Command => Some((self.began, "command")),
            State::Statement | State::Dash | State::Slash | State::Line | State::EscapedEnd | State::Tag => {
                Some((self.began, "statement"))
            }
            State::Block { .. } => Some((self.hidden_since, "comment")),
            State::Quoted(b'"') => Some((self.hidden_since, "quoted name")),
            State::Quoted(_) | State::Escaped { .. } => Some((self.hidden_since, "quoted string")),
            State::Dollar { .. } => Some((self.hidden_since, "dollar-quoted string")),
        }
    }

    /// Takes bytes off the front of a piece that begins at `offset`: to the next end of something, or all of them.
    pub(crate) fn step(&mut self, piece: &[u8], offset: u64) -> Result<Step, Snag> {
        let mut at = 0;
        let mut blank = 0;
        if self.state == State::Between {
            at = piece.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(piece.len());
            self.pass(&piece[..at]);
            blank = at;
            // A comment begins a step of its own.
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
                State::Comment => self.line(piece, at, Token::Comment),
                State::Command => self.line(piece, at, Token::Command),
                State::Statement => self.statement(piece, at, offset)?,
                _ => (self.hidden(piece, at)?, None),
            };
            if self.state == State::Between && ended.is_none() {
                break;
            }
            // Many INSERT statements are one step, for there may be nothing but them.
            if ended == Some(Token::Statement)
                && piece[first..].starts_with(INSERT)
                && piece[at..].starts_with(NEXT_INSERT)
            {
                at += 1;
                self.pass(b"\n");
                self.begin(piece[at], offset + at as u64);
                ended = None;
            }
        }
        self.keep(&piece[first..at]);
        self.pass(&piece[first..at]);
        let is_comment = ended == Some(Token::Comment)
            || self.state == State::Comment
            || (self.state == State::Dash && self.hidden_since == self.began);
        Ok(Step { bytes: at, blank, ended, is_comment })
    }

    /// Remembers the last bytes of these.
    fn pass(&mut self, bytes: &[u8]) {
        self.last = match bytes {
            [] => self.last,
            [last] => [self.last[1], *last],
            [.., one, last] => [*one, *last],
        };
    }

    /// Begins what this byte is the first of.
    fn begin(&mut self, byte: u8, offset: u64) {
        self.state = if byte == b'\\' { State::Command } else { State::Statement };
        self.began = offset;
        self.at_line_start = self.last[1] == b'\n';
        self.text.clear();
        self.word.clear();
        self.depth = 0;
        self.body = Body::New;
    }

    /// Keeps what is needed of what is open.
    fn keep(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES.saturating_sub(self.text.len())));
        self.text.extend_from_slice(head);
        let most = match self.text.as_slice() {
            [b'-', b'-', ..] | [b'\\', ..] => MAX_LINE_BYTES,
            text if TAKEN_APART.iter().any(|beginning| text.starts_with(beginning)) => MAX_TAKEN_APART_BYTES,
            text if SHORT.iter().any(|beginning| text.starts_with(beginning)) => MAX_SHORT_BYTES,
            _ => return,
        };
        let kept = rest.len().min(most.saturating_sub(self.text.len()));
        self.text.extend_from_slice(&rest[..kept]);
    }

    /// Goes to the end of a line that is something of its own.
    fn line(&mut self, piece: &[u8], at: usize, token: Token) -> (usize, Option<Token>) {
        match memchr::memchr(b'\n', &piece[at..]) {
            None => (piece.len(), None),
            Some(length) => {
                self.state = State::Between;
                (at + length + 1, Some(token))
            }
        }
    }
}

#[cfg(test)]
mod tests;
