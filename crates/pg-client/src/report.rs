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

/// The label of the place in the server's source, which ends a message.
const LOCATION: &str = "LOCATION:  ";

/// An error that a server reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The SQLSTATE.
    pub sqlstate: SqlState,
    /// The message in the server's language, one line or more, without the code.
    pub message: String,
    /// The server function that failed.
    pub routine: Option<String>,
}

/// A reader of lines that finds the last error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reader {
    last: Option<Report>,
    place: Place,
}

/// The position of the next line within a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// After the end of a message.
    #[default]
    Outside,
    /// Within the message text.
    Message,
    /// Within the fields after the text.
    Fields,
}

impl Reader {
    /// Reads the next line.
    pub(crate) fn read(&mut self, line: &str) {
        // Each message of a script begins with the script's name. Without a name, a line of a
        // message is not mistaken for the next message.
        let begins = self.place == Place::Outside || line.starts_with("psql:");
        if begins && let Some((shown, sqlstate)) = coded(line) {
            self.last = Some(Report { sqlstate, message: shown, routine: None });
            self.place = Place::Message;
            return;
        }
        let Some(report) = self.last.as_mut().filter(|_| self.place != Place::Outside) else { return };
        if let Some(location) = line.strip_prefix(LOCATION) {
            report.routine = location.split_once(',').map(|(routine, _)| routine.to_owned());
            self.place = Place::Outside;
        } else if FIELDS.iter().any(|field| line.starts_with(field)) {
            self.place = Place::Fields;
        } else if self.place == Place::Message && report.message.lines().count() < MAX_LINES {
            report.message.push('\n');
            report.message.push_str(line);
        }
    }

    /// Returns the last error.
    pub(crate) fn last(&self) -> Option<&Report> {
        self.last.as_ref()
    }
}

/// Returns a line without its code, and the code, if the line has one.
fn coded(line: &str) -> Option<(String, SqlState)> {
    let (severity, rest) = line.split_once(":  ")?;
    let (code, message) = rest.split_once(": ")?;
    Some((format!("{severity}:  {message}"), SqlState::parse(code)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Option<Report> {
        let mut reader = Reader::default();
        lines.lines().for_each(|line| reader.read(line));
        reader.last().cloned()
    }

    #[test]
    fn codes_are_read_in_every_language() {
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
            let report = read(lines).unwrap();
            assert_eq!(report.sqlstate, SqlState::INSUFFICIENT_PRIVILEGE, "{lines}");
            assert_eq!((report.message.as_str(), report.routine.as_deref()), (message, Some("aclcheck_error")));
        }
    }

    #[test]
    fn lines_without_codes_are_no_reports() {
        for lines in [
            "psql: error: connection to server at \"127.0.0.1\", port 1 failed: Connection refused",
            "FATAL:  database \"x\" does not exist",
            "ERROR:  syntax error: at or near",
            "",
        ] {
            assert_eq!(read(lines), None, "{lines}");
        }
    }
}
