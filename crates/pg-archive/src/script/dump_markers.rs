//! The frame around the SQL: the beginning of a script, its dumps, and its end.

use std::io::BufRead;

use crate::conversion::Conversion;
use crate::copy_data::Flaw;
use crate::error::{Error, Result};
use crate::facts::Format;
use crate::input::Input;

const DATABASE: &str = "-- PostgreSQL database dump";
const DATABASE_COMPLETE: &str = "-- PostgreSQL database dump complete";
const CLUSTER: &str = "-- PostgreSQL database cluster dump";
const CLUSTER_COMPLETE: &str = "-- PostgreSQL database cluster dump complete";

/// A checker of the comments and commands that pg_dump and pg_dumpall write around the SQL.
#[derive(Debug)]
pub(crate) struct DumpMarkers {
    pub(crate) format: Format,
    /// The offset of the dump of a database that is not complete yet.
    open_since: Option<u64>,
    /// The key of `\restrict`.
    restrict_key: Option<String>,
}

impl DumpMarkers {
    /// Reads the first lines, which identify the program that wrote the script.
    pub(crate) fn read_start<R: BufRead>(input: &mut Input<R>) -> Result<Self> {
        let [database, cluster] = [DATABASE, CLUSTER].map(|line| format!("--\n{line}\n--\n"));
        let mut lines = Vec::new();
        loop {
            let format = if lines == database.as_bytes() {
                Format::Script
            } else if lines == cluster.as_bytes() {
                Format::ClusterScript
            } else {
                lines.push(input.byte("beginning of the script", "its first lines")?);
                if database.as_bytes().starts_with(&lines) || cluster.as_bytes().starts_with(&lines) {
                    continue;
                }
                if lines.ends_with(b"\r") {
                    return Err(Conversion::CarriageReturns.error(input.offset() - 1));
                }
                let message = "this is not a dump of pg_dump or pg_dumpall: its first lines differ";
                return Err(Error::unsupported(0, "beginning of the script", message));
            };
            let open_since = (format == Format::Script).then_some(0);
            return Ok(Self { format, open_since, restrict_key: None });
        }
    }

    /// Returns the comment that must be at the end.
    pub(crate) fn completion_mark(&self) -> &'static str {
        if self.format == Format::Script { DATABASE_COMPLETE } else { CLUSTER_COMPLETE }
    }

    /// Processes a comment on its own line. For the completion mark, returns the text that must
    /// follow to the end.
    pub(crate) fn comment(&mut self, at: u64, line: &[u8]) -> Result<Option<String>, Flaw> {
        if line == CLUSTER.as_bytes() || (line == DATABASE.as_bytes() && self.format == Format::Script) {
            return Err("another dump begins here, but the first one is not complete".to_owned());
        }
        if line == DATABASE.as_bytes()
            && let Some(began) = self.open_since.replace(at)
        {
            return Err(format!(
                "the dump of a database begins here, but the one before, which began at byte {began}, is not complete"
            ));
        }
        let is_cluster = line == CLUSTER_COMPLETE.as_bytes();
        if line == DATABASE_COMPLETE.as_bytes() {
            if self.open_since.take().is_none() {
                return Err("the dump of a database is complete here, but none had begun".to_owned());
            }
        } else if is_cluster && let Some(began) = self.open_since {
            return Err(format!("the dump is complete here, but not that of a database that began at byte {began}"));
        }
        if line != self.completion_mark().as_bytes() {
            return Ok(None);
        }
        match self.restrict_key.take() {
            Some(restrict_key) if is_cluster => {
                Err(format!("the dump is complete here, but \\restrict {restrict_key} has no \\unrestrict"))
            }
            Some(restrict_key) => Ok(Some(format!("--\n\n\\unrestrict {restrict_key}\n\n"))),
            None => Ok(Some("--\n\n".to_owned())),
        }
    }

    /// Processes `\restrict`.
    pub(crate) fn restrict(&mut self, restrict_key: String) -> Result<(), Flaw> {
        self.require_unrestricted("\\restrict")?;
        self.restrict_key = Some(restrict_key);
        Ok(())
    }

    /// Processes `\unrestrict`.
    pub(crate) fn unrestrict(&mut self, restrict_key: &str) -> Result<(), Flaw> {
        match self.restrict_key.take() {
            Some(expected) if expected == restrict_key => Ok(()),
            Some(expected) => Err(format!("\\unrestrict {restrict_key}, where the key {expected} was expected")),
            None => Err("\\unrestrict without a preceding \\restrict".to_owned()),
        }
    }

    /// Fails if another command is not allowed now.
    pub(crate) fn require_unrestricted(&self, command: &str) -> Result<(), Flaw> {
        match &self.restrict_key {
            None => Ok(()),
            Some(restrict_key) => {
                Err(format!("{command}, where \\unrestrict {restrict_key} was expected before any other command"))
            }
        }
    }
}

/// Checks the text after the completion mark.
pub(crate) fn read_end<R: BufRead>(input: &mut Input<R>, expected_tail: &str) -> Result<()> {
    const PLACE: &str = "end of the script";
    for expected in expected_tail.bytes() {
        let at = input.offset();
        let byte = input.byte(PLACE, "the rest of its last lines")?;
        if byte == b'\r' {
            return Err(Conversion::CarriageReturns.error(at));
        }
        if byte != expected {
            let message = format!("after its completion mark the script does not continue with {expected_tail:?}");
            return Err(Error::damaged(at, PLACE, message));
        }
    }
    // psql ignores empty lines, which joined or edited files may contain.
    while !input.is_at_end()? {
        let at = input.offset();
        if !input.byte(PLACE, "its end")?.is_ascii_whitespace() {
            let message = "the script continues after its last line, where its end was expected";
            return Err(Error::damaged(at, PLACE, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_markers(format: Format) -> DumpMarkers {
        DumpMarkers { format, open_since: None, restrict_key: None }
    }

    #[test]
    fn cluster_ends_after_all_databases() {
        let mut markers = new_markers(Format::ClusterScript);
        for _ in 0..2 {
            assert_eq!(markers.comment(0, DATABASE.as_bytes()), Ok(None));
            assert!(markers.comment(9, CLUSTER_COMPLETE.as_bytes()).is_err());
            assert_eq!(markers.comment(9, DATABASE_COMPLETE.as_bytes()), Ok(None));
        }
        assert!(markers.comment(0, DATABASE_COMPLETE.as_bytes()).is_err());
        assert_eq!(markers.comment(9, CLUSTER_COMPLETE.as_bytes()), Ok(Some("--\n\n".to_owned())));
        assert_eq!(markers.comment(0, DATABASE.as_bytes()), Ok(None));
        assert!(markers.comment(9, DATABASE.as_bytes()).unwrap_err().contains("began at byte 0"));
    }

    #[test]
    fn unrestrict_needs_matching_key() {
        let mut markers = new_markers(Format::Script);
        assert!(markers.unrestrict("a").is_err());
        markers.restrict("a".to_owned()).unwrap();
        assert!(markers.restrict("b".to_owned()).is_err());
        assert!(markers.require_unrestricted("\\connect").is_err());
        markers.unrestrict("a").unwrap();
        markers.restrict("b".to_owned()).unwrap();
        assert!(markers.unrestrict("a").is_err());
    }

    #[test]
    fn other_scripts_are_unsupported() {
        for script in
            ["-- a script of mine\n", "--\n-- PostgreSQL database dumb\n", "--\n--\n", "--\n-- PostgreSQL databas"]
        {
            let error = DumpMarkers::read_start(&mut Input::new(script.as_bytes())).unwrap_err();
            let is_cut = script.ends_with("databas");
            assert_eq!(error.kind == crate::ErrorKind::Unsupported, !is_cut, "{error}");
        }
    }
}
