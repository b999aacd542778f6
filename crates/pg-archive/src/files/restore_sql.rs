//! `restore.sql`, which the tar format contains for manual restores. pg_restore ignores it.

use crate::copy_data::Flaw;
use crate::encoding::{Encoding, TextChecker};

/// The beginning of the script.
const BEGIN: &[u8] = b"--\n";
/// The end of the script, except for a line with a key that may follow.
const COMPLETE: &[u8] = b"--\n-- PostgreSQL database dump complete\n--\n\n";
/// The number of bytes at the end that are checked.
const END_BYTES: usize = 256;

/// A checker of the script.
pub(crate) struct RestoreSql {
    text: Result<TextChecker, Flaw>,
    begin: Vec<u8>,
    end: Vec<u8>,
}

impl RestoreSql {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { text: Ok(TextChecker::new(encoding)), begin: Vec::new(), end: Vec::new() }
    }

    /// Checks the next piece. A flaw is returned at the end, once it is known whether pg_dump wrote
    /// the script.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        if let Ok(text) = &mut self.text
            && let Err(flaw) = text.push(piece)
        {
            self.text = Err(flaw.into());
        }
        let missing_bytes = BEGIN.len() - self.begin.len();
        self.begin.extend_from_slice(&piece[..piece.len().min(missing_bytes)]);
        self.end.extend_from_slice(&piece[piece.len().saturating_sub(END_BYTES)..]);
        self.end.drain(..self.end.len().saturating_sub(END_BYTES));
    }

    pub(crate) fn finish(self) -> Result<(), Flaw> {
        self.text?.finish()?;
        if self.begin != BEGIN {
            return Err("does not begin like a script of pg_dump".to_owned());
        }
        let rest = memchr::memmem::rfind(&self.end, COMPLETE).map(|at| &self.end[at + COMPLETE.len()..]);
        match rest {
            Some(b"") => Ok(()),
            Some(key) if key.starts_with(b"\\unrestrict ") && key.ends_with(b"\n\n") => Ok(()),
            _ => Err("does not end like a script of pg_dump: it is cut".to_owned()),
        }
    }
}
