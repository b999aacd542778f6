//! `restore.sql`, which the tar format has for those who restore by hand: pg_restore does not look at it.

use crate::rows::Flaw;
use crate::text::{Encoding, Text};

/// What is its beginning.
const BEGIN: &[u8] = b"--\n";
/// What is its end, but for a line with a key that may follow.
const COMPLETE: &[u8] = b"--\n-- PostgreSQL database dump complete\n--\n\n";
/// How much of the end is looked at, in bytes.
const END_BYTES: usize = 256;

/// Judges the script as it passes.
pub(crate) struct Script {
    text: Result<Text, Flaw>,
    begin: Vec<u8>,
    end: Vec<u8>,
}

impl Script {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { text: Ok(Text::new(encoding)), begin: Vec::new(), end: Vec::new() }
    }

    /// Takes the next piece. What is wrong with it is said at the end, when it is known whose script it is.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        if let Ok(text) = &mut self.text
            && let Err(flaw) = text.push(piece)
        {
            self.text = Err(flaw.into());
        }
        let room = BEGIN.len() - self.begin.len();
        self.begin.extend_from_slice(&piece[..piece.len().min(room)]);
        self.end.extend_from_slice(&piece[piece.len().saturating_sub(END_BYTES)..]);
        self.end.drain(..self.end.len().saturating_sub(END_BYTES));
    }

    pub(crate) fn finish(self) -> Result<(), Flaw> {
        self.text?.finish()?;
        if self.begin != BEGIN {
            return Err("does not begin as pg_dump's scripts do".to_owned());
        }
        let behind = memchr::memmem::rfind(&self.end, COMPLETE).map(|at| &self.end[at + COMPLETE.len()..]);
        match behind {
            Some(b"") => Ok(()),
            Some(key) if key.starts_with(b"\\unrestrict ") && key.ends_with(b"\n\n") => Ok(()),
            _ => Err("does not end as pg_dump's scripts do: it is cut".to_owned()),
        }
    }
}
