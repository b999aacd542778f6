//! What stands around the SQL: how a script begins, which dumps it holds, and how it ends.

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

/// Follows the comments and commands that pg_dump and pg_dumpall put around what they write.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    /// Where the dump of a database began that is not complete yet.
    open: Option<u64>,
    /// The key of `\restrict`.
    key: Option<String>,
}

impl Frame {
    /// Reads the first lines, by which it is known who wrote the script.
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
                let message = "this is not a dump of pg_dump or pg_dumpall: it does not begin as those do";
                return Err(Error::unsupported(0, "beginning of the script", message));
            };
            let open = (kind == Kind::Script).then_some(0);
            return Ok(Self { kind, open, key: None });
        }
    }

    /// The comment that is to be at the end.
    pub(crate) fn mark(&self) -> &'static str {
        if self.kind == Kind::Script { DATABASE_COMPLETE } else { CLUSTER_COMPLETE }
    }

    /// Takes a comment that is a line of its own. With the completion mark, what is to follow it to the last byte.
    pub(crate) fn comment(&mut self, at: u64, line: &[u8]) -> Result<Option<String>, Flaw> {
        if line == CLUSTER.as_bytes() || (line == DATABASE.as_bytes() && self.kind == Kind::Script) {
            return Err("another dump begins here, where the first one is not complete".to_owned());
        }
        if line == DATABASE.as_bytes()
            && let Some(began) = self.open.replace(at)
        {
            return Err(format!(
                "the dump of a database begins here, where the one before it, which began at byte {began}, is not complete"
            ));
        }
        let is_cluster = line == CLUSTER_COMPLETE.as_bytes();
        if line == DATABASE_COMPLETE.as_bytes() {
            if self.open.take().is_none() {
                return Err("the dump of a database is complete here, where none had begun".to_owned());
            }
        } else if is_cluster && let Some(began) = self.open {
            return Err(format!("the dump is complete here, but not that of a database that began at byte {began}"));
        }
        if line != self.mark().as_bytes() {
            return Ok(None);
        }
        match self.key.take() {
            Some(key) if is_cluster => Err(format!("the dump is complete here, but \\restrict {key} is not undone")),
            Some(key) => Ok(Some(format!("--\n\n\\unrestrict {key}\n\n"))),
            None => Ok(Some("--\n\n".to_owned())),
        }
    }

    /// Takes `\restrict`.
    pub(crate) fn restrict(&mut self, key: String) -> Result<(), Flaw> {
        self.free("\\restrict")?;
        self.key = Some(key);
        Ok(())
    }

    /// Takes `\unrestrict`.
    pub(crate) fn unrestrict(&mut self, key: &str) -> Result<(), Flaw> {
        match self.key.take() {
            Some(expected) if expected == key => Ok(()),
            Some(expected) => Err(format!("\\unrestrict {key}, where the key {expected} was expected")),
            None => Err("\\unrestrict, where no \\restrict came before it".to_owned()),
        }
    }

    /// Judges whether another command may come now.
    pub(crate) fn free(&self, command: &str) -> Result<(), Flaw> {
        match &self.key {
            None => Ok(()),
            Some(key) => Err(format!("{command}, where \\unrestrict {key} was expected before any other command")),
        }
    }
}

/// Judges what comes behind the completion mark.
pub(crate) fn end<R: BufRead>(input: &mut Input<R>, tail: &str) -> Result<()> {
    const PLACE: &str = "end of the script";
    for expected in tail.bytes() {
        let at = input.offset();
        let byte = input.byte(PLACE, "the rest of its last lines")?;
        if byte == b'\r' {
            return Err(Conversion::CarriageReturns.error(at));
        }
        if byte != expected {
            let message = format!("behind its completion mark the script goes on otherwise than with {tail:?}");
            return Err(Error::damaged(at, PLACE, message));
        }
    }
    // psql passes over empty lines, which whoever joined files or edited them may have left.
    while !input.is_at_end()? {
        let at = input.offset();
        if !input.byte(PLACE, "its end")?.is_ascii_whitespace() {
            let message = "the script goes on behind its last line, where its end was expected";
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
