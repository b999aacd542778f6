//! Server errors as psql prints them with `VERBOSITY=verbose`. The parser relies on the position of
//! their parts, which is the same in every language:
//!
//! ```text
//! psql:<stdin>:3: FEHLER:  42501: keine Berechtigung für Tabelle t
//! ORT:  aclcheck_error, aclchk.c:2843
//! ```
//!
//! The words before the colons are libpq's, in the language of its `LC_MESSAGES`, except the
//! severity, which is the server's.

use longshore_core::SqlState;

/// The number of lines of a message that are kept.
const MAX_LINES: usize = 20;

/// The labels of the parts after an error's message. Commands run with `LC_ALL=C`, so these are
/// libpq's own words.
const FIELDS: [&str; 11] = [
    "LINE ",
    "DETAIL:  ",
    "HINT:  ",
    "QUERY:  ",
    "CONTEXT:  ",
    "SCHEMA NAME:  ",
    "TABLE NAME:  ",
    "COLUMN NAME:  ",
    "DATATYPE NAME:  ",
    "CONSTRAINT NAME:  ",
    LOCATION,
];

/// The label of the location in the server's source, which ends a message.
const LOCATION: &str = "LOCATION:  ";

/// An error that a server reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The SQLSTATE.
    pub sqlstate: SqlState,
    /// The message in the server's language, one line or more, without the code.
    pub message: String,
    /// The server function that failed.
    pub routine: Option<String>,
}

/// A parser of lines that finds the last error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parser {
    last: Option<ServerError>,
    state: State,
}

/// The position of the next line within a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// After the end of a message.
    #[default]
    Outside,
    /// Within the message text.
    Message,
    /// Within the fields after the text.
    Fields,
}

impl Parser {
    /// Reads the next line.
    pub(crate) fn push_line(&mut self, line: &str) {
        // Each message of a script begins with the script's name. Without a name, a line of a
        // message is not mistaken for the next message.
        let is_start = self.state == State::Outside || line.starts_with("psql:");
        if is_start && let Some((message, sqlstate)) = split_code(line) {
            self.last = Some(ServerError { sqlstate, message, routine: None });
            self.state = State::Message;
            return;
        }
        let Some(error) = self.last.as_mut().filter(|_| self.state != State::Outside) else { return };
        if let Some(location) = line.strip_prefix(LOCATION) {
            error.routine = location.split_once(',').map(|(routine, _)| routine.to_owned());
            self.state = State::Outside;
        } else if FIELDS.iter().any(|field| line.starts_with(field)) {
            self.state = State::Fields;
        } else if self.state == State::Message && error.message.lines().count() < MAX_LINES {
            error.message.push('\n');
            error.message.push_str(line);
        }
    }

    /// Returns the last error.
    pub(crate) fn last(&self) -> Option<&ServerError> {
        self.last.as_ref()
    }
}

/// Returns a line without its code, and the code, if the line has one.
fn split_code(line: &str) -> Option<(String, SqlState)> {
    let (severity, rest) = line.split_once(":  ")?;
    let (code, message) = rest.split_once(": ")?;
    Some((format!("{severity}:  {message}"), SqlState::parse(code)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> Option<ServerError> {
        let mut parser = Parser::default();
        lines.lines().for_each(|line| parser.push_line(line));
        parser.last().cloned()
    }

    #[test]
    fn parser_reads_codes_in_every_language() {
        for (lines, message) in [
            (
                "ERROR:  42501: permission denied for table t\nLOCATION:  aclcheck_error, aclchk.c:2843\n",
                "ERROR:  permission denied for table t",
            ),
            (
                "FEHLER:  42501: keine Berechtigung für Tabelle t\nLOCATION:  aclcheck_error, aclchk.c:2843\n",
                "FEHLER:  keine Berechtigung für Tabelle t",
            ),
            (
                "psql:<stdin>:3: ОШИБКА:  42501: нет доступа\nLOCATION:  aclcheck_error, aclchk.c:2843\n",
                "psql:<stdin>:3: ОШИБКА:  нет доступа",
            ),
            (
                "psql:<stdin>:3: NOTICE:  42P07: x\nLOCATION:  f, g.c:1\npsql:<stdin>:4: ERROR:  42501: a\nb: c\nDETAIL:  d\nERROR:  22P02: forged\nLOCATION:  aclcheck_error, aclchk.c:1",
                "psql:<stdin>:4: ERROR:  a\nb: c",
            ),
        ] {
            let error = parse(lines).unwrap();
            assert_eq!(error.sqlstate, SqlState::INSUFFICIENT_PRIVILEGE, "{lines}");
            assert_eq!((error.message.as_str(), error.routine.as_deref()), (message, Some("aclcheck_error")));
        }
    }

    #[test]
    fn parser_ignores_lines_without_codes() {
        for lines in [
            "psql: error: connection to server at \"127.0.0.1\", port 1 failed: Connection refused",
            "FATAL:  database \"x\" does not exist",
            "ERROR:  syntax error: at or near",
            "",
        ] {
            assert_eq!(parse(lines), None, "{lines}");
        }
    }
}
