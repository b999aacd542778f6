//! The server's log, read for the codes of failures.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use longshore_core::sqlstate::Failure;
use longshore_core::{SqlState, regular_file};

/// The log of one server.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    /// The number of bytes read so far.
    read: Mutex<u64>,
}

impl Log {
    /// Returns the log in this file.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, read: Mutex::new(0) }
    }

    /// Returns the commands that failed since the last call. An unreadable log contains no
    /// failures.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        let file = regular_file::open(&self.path, OpenOptions::new().read(true)).and_then(|mut file| {
            file.seek(SeekFrom::Start(*read))?;
            file.read_to_end(&mut bytes)
        });
        if file.is_err() {
            return Vec::new();
        }
        *read += bytes.len() as u64;
        failures(&String::from_utf8_lossy(&bytes))
    }
}

/// Returns the commands that failed according to the lines of a log. Each line begins with
/// [`LOG_LINE_PREFIX`](crate::configuration::LOG_LINE_PREFIX), except for continuations of a
/// message, which begin with a tab. The log contains errors, and notes, whose class is 00.
pub(crate) fn failures(text: &str) -> Vec<Failure> {
    let mut failures: Vec<Failure> = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(4, '\t');
        let (Some(state), Some(_application), Some(command), Some(_)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Some(sqlstate) = SqlState::parse(state).filter(|state| !matches!(state.class(), "00" | "01" | "02")) else {
            continue;
        };
        let command = command.strip_suffix(" waiting").unwrap_or(command).to_owned();
        let failure = Failure { sqlstate, command };
        // An error has several lines: its message, its context, its statement.
        if failures.last() != Some(&failure) {
            failures.push(failure);
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "00000\t\t\tLOG:  database system is ready to accept connections\n\
        22P02\tlongshore\tCOPY\tERROR:  invalid input syntax for type integer: \"one\"\n\
        22P02\tlongshore\tCOPY\tCONTEXT:  COPY owners, line 1, column id: \"a\n\
        \t23505\tb\tc\"\n\
        22P02\tlongshore\tCOPY\tSTATEMENT:  COPY public.owners (id, name) FROM stdin;\n\
        01000\tlongshore\tDO\tWARNING:  x\n\
        57P01\tlongshore\tCREATE INDEX waiting\tFATAL:  terminating connection\n\
        initdb: some line\n";

    #[test]
    fn failures_have_code_and_command() {
        let failed = |code: &str, command: &str| Failure {
            sqlstate: SqlState::parse(code).unwrap(),
            command: command.to_owned(),
        };
        assert_eq!(failures(LOG), [failed("22P02", "COPY"), failed("57P01", "CREATE INDEX")]);
    }

    #[test]
    fn failures_are_returned_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::new(path.clone());
        assert_eq!(log.failures(), [], "the log does not exist yet");
        std::fs::write(&path, LOG).unwrap();
        assert_eq!(log.failures().len(), 2);
        assert_eq!(log.failures(), []);
    }
}
