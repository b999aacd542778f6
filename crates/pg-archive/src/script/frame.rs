//! The frame around the SQL: the beginning of a script, its dumps, and its end.

use std::io::BufRead;

use crate::conversion::Conversion;
use crate::error::{Error, Result};
use crate::facts::Kind;
use crate::input::Input;
use crate::rows::Flaw;

const DATABASE: &str = "-- PostgreSQL database dump";
const DATABASE_COMPLETE: &str = "-- PostgreSQL database dump complete";
const CLUSTER: &str = "-- PostgreSQL database cluster dump";
const CLUSTER_COMPLETE: &str = "-- PostgreSQL database cluster dump complete";

/// A checker of the comments and commands that pg_dump and pg_dumpall write around the SQL.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    /// The offset of the dump of a database that is not complete yet.
    open: Option<u64>,
    /// The key of `\restrict`.
    key: Option<String>,
}

impl Frame {
    /// Reads the first lines, which identify the program that wrote the script.
    pub(crate) fn begin<R: BufRead>(input: &mut Input<R>) -> Result<Self> {
        let [database, cluster] = [DATABASE, CLUSTER].map(|line| format!("--\n{line}\n--\n"));
        let mut found = Vec::new();
        loop {
            let kind = if found == database.as_bytes() {
                Kind::Script
            } else if found == cluster.as_bytes() {
                Kind::ClusterScript
            } else {
                found.push(input.byte("beginning of the script", "its first lines")?);
                if database.as_bytes().starts_with(&found) || cluster.as_bytes().starts_with(&found) {
                    continue;
                }
                if found.ends_with(b"\r") {
                    return Err(Conversion::CarriageReturns.error(input.offset() - 1));
                }
                let message = "this is not a dump of pg_dump or pg_dumpall: its first lines differ";
                return Err(Error::unsupported(0, "beginning of the script", message));
            };
            let open = (kind == Kind::Script).then_some(0);
            return Ok(Self { kind, open, key: None });
        }
    }

    /// Returns the comment that must be at the end.
    pub(crate) fn mark(&self) -> &'static str {
        if self.kind == Kind::Script { DATABASE_COMPLETE } else { CLUSTER_COMPLETE }
    }

    /// Processes a comment on its own line. For the completion mark, returns the text that must
    /// follow to the end.
    pub(crate) fn comment(&mut self, at: u64, line: &[u8]) -> Result<Option<String>, Flaw> {
        if line == CLUSTER.as_bytes() || (line == DATABASE.as_bytes() && self.kind == Kind::Script) {
            return Err("another dump begins here, but the first one is not complete".to_owned());
        }
        if line == DATABASE.as_bytes()
            && let Some(began) = self.open.replace(at)
        {
            return Err(format!(
                "the dump of a database begins here, but the one before, which began at byte {began}, is not complete"
            ));
        }
        let is_cluster = line == CLUSTER_COMPLETE.as_bytes();
        if line == DATABASE_COMPLETE.as_bytes() {
            if self.open.take().is_none() {
                return Err("the dump of a database is complete here, but none had begun".to_owned());
            }
        } else if is_cluster && let Some(began) = self.open {
            return Err(format!("the dump is complete here, but not that of a database that began at byte {began}"));
        }
        if line != self.mark().as_bytes() {
            return Ok(None);
        }
        match self.key.take() {
            Some(key) if is_cluster => {
                Err(format!("the dump is complete here, but \\restrict {key} has no \\unrestrict"))
            }
            Some(key) => Ok(Some(format!("--\n\n\\unrestrict {key}\n\n"))),
            None => Ok(Some("--\n\n".to_owned())),
        }
    }

    /// Processes `\restrict`.
    pub(crate) fn restrict(&mut self, key: String) -> Result<(), Flaw> {
        self.free("\\restrict")?;
        self.key = Some(key);
        Ok(())
    }

    /// Processes `\unrestrict`.
    pub(crate) fn unrestrict(&mut self, key: &str) -> Result<(), Flaw> {
        match self.key.take() {
            Some(expected) if expected == key => Ok(()),
            Some(expected) => Err(format!("\\unrestrict {key}, where the key {expected} was expected")),
            None => Err("\\unrestrict without a preceding \\restrict".to_owned()),
        }
    }

    /// Fails if another command is not allowed now.
    pub(crate) fn free(&self, command: &str) -> Result<(), Flaw> {
        match &self.key {
            None => Ok(()),
            Some(key) => Err(format!("{command}, where \\unrestrict {key} was expected before any other command")),
        }
    }
}

/// Checks the text after the completion mark.
pub(crate) fn end<R: BufRead>(input: &mut Input<R>, tail: &str) -> Result<()> {
    const PLACE: &str = "end of the script";
    for expected in tail.bytes() {
        let at = input.offset();
        let byte = input.byte(PLACE, "the rest of its last lines")?;
        if byte == b'\r' {
            return Err(Conversion::CarriageReturns.error(at));
        }
        if byte != expected {
            let message = format!("after its completion mark the script does not continue with {tail:?}");
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

    fn begun(kind: Kind) -> Frame {
        Frame { kind, open: None, key: None }
    }

    #[test]
    fn a_cluster_is_complete_when_all_of_its_databases_are() {
        let mut frame = begun(Kind::ClusterScript);
        for _ in 0..2 {
            assert_eq!(frame.comment(0, DATABASE.as_bytes()), Ok(None));
            assert!(frame.comment(9, CLUSTER_COMPLETE.as_bytes()).is_err());
            assert_eq!(frame.comment(9, DATABASE_COMPLETE.as_bytes()), Ok(None));
        }
        assert!(frame.comment(0, DATABASE_COMPLETE.as_bytes()).is_err());
        assert_eq!(frame.comment(9, CLUSTER_COMPLETE.as_bytes()), Ok(Some("--\n\n".to_owned())));
        assert_eq!(frame.comment(0, DATABASE.as_bytes()), Ok(None));
        assert!(frame.comment(9, DATABASE.as_bytes()).unwrap_err().contains("began at byte 0"));
    }

    #[test]
    fn what_is_restricted_is_to_be_undone_with_its_key() {
        let mut frame = begun(Kind::Script);
        assert!(frame.unrestrict("a").is_err());
        frame.restrict("a".to_owned()).unwrap();
        assert!(frame.restrict("b".to_owned()).is_err());
        assert!(frame.free("\\connect").is_err());
        frame.unrestrict("a").unwrap();
        frame.restrict("b".to_owned()).unwrap();
        assert!(frame.unrestrict("a").is_err());
    }

    #[test]
    fn what_begins_otherwise_is_of_somebody_else() {
        for script in
            ["-- a script of mine\n", "--\n-- PostgreSQL database dumb\n", "--\n--\n", "--\n-- PostgreSQL databas"]
        {
            let error = Frame::begin(&mut Input::new(script.as_bytes())).unwrap_err();
            let is_cut = script.ends_with("databas");
            assert_eq!(error.trouble == crate::Trouble::Unsupported, !is_cut, "{error}");
        }
    }
}
