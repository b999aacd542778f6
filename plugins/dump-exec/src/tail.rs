//! The last line of the output, which shows that a dump is complete.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};

/// The number of bytes at the end of the output that are kept.
const TAIL_BYTES: usize = 4096;
/// The number of characters of the last line that an error shows.
const SHOWN: usize = 80;

/// The end of the output so far, and its expected last line. Clones share the output.
#[derive(Clone)]
pub(crate) struct Tail {
    expected: Option<String>,
    subject: String,
    end: Arc<Mutex<Vec<u8>>>,
}

impl Tail {
    pub(crate) fn new(expected: Option<String>, subject: String) -> Self {
        Self { expected, subject, end: Arc::default() }
    }

    /// Records the next chunk.
    pub(crate) fn see(&self, chunk: &Result<Bytes>) {
        let (Ok(chunk), true) = (chunk, self.expected.is_some()) else { return };
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.extend_from_slice(&chunk[chunk.len().saturating_sub(TAIL_BYTES)..]);
        let surplus = end.len().saturating_sub(TAIL_BYTES);
        end.drain(..surplus);
    }

    /// Fails unless the last line that is not empty begins with the expected text.
    pub(crate) fn expect(&self) -> Result<()> {
        let Some(expected) = &self.expected else { return Ok(()) };
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let end = end.trim_ascii_end();
        let last = end.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        if last.trim_ascii_start().starts_with(expected.as_bytes()) {
            return Ok(());
        }
        let shown: String = String::from_utf8_lossy(last).chars().take(SHOWN).collect();
        let message =
            format!("the dump is incomplete: its last line is \"{}\", and not {expected:?}", printable(&shown));
        Err(Error::new(Stage::Dump, Kind::Failed, &self.subject, message)
            .hint("find out why the program ended early although it exited with 0, or correct expect_tail"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(chunks: &[&str], expected: &str) -> Result<()> {
        let tail = Tail::new(Some(expected.to_owned()), "wiki".to_owned());
        chunks.iter().for_each(|chunk| tail.see(&Ok(Bytes::copy_from_slice(chunk.as_bytes()))));
        tail.expect()
    }

    #[test]
    fn last_line_shows_a_complete_dump() {
        let long = "x\n".repeat(TAIL_BYTES);
        for chunks in [
            &["a;\n-- Dump completed on 2026-06-07\n"][..],
            &["a;\n-- Dump", " completed", "\n\n\n"],
            &[&long, "-- Dump completed"],
            &["-- Dump completed"],
        ] {
            expect(chunks, "-- Dump completed").unwrap();
        }
        for chunks in [
            &[][..],
            &["\n"],
            &["-- Dump completed on 2026-06-07\n", "insert into t values (1"],
            &["-- Dump complete"],
            &["insert into t values ('-- Dump completed');"],
            &[&long],
        ] {
            let error = expect(chunks, "-- Dump completed").unwrap_err();
            assert!(error.to_string().contains("is incomplete"), "{error}");
        }
    }
}
