//! A program of the operator as the target of a restore.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Kind, Stage};

/// A program of the operator that reads the plaintext of a backup on standard input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgramTarget {
    /// The program's absolute path, and its arguments.
    pub argv: Vec<String>,
    /// The working directory; `/` without one.
    pub dir: Option<PathBuf>,
    /// Variables that are added to the environment.
    pub env: BTreeMap<String, String>,
    /// The longest time without progress of the program.
    pub stall_timeout: Duration,
}

impl ProgramTarget {
    /// Returns the error of a restore plugin that passes nothing to programs.
    pub(crate) fn unexpected(&self, plugin: &str) -> Error {
        let subject = self.argv.first().cloned().unwrap_or_default();
        let message = format!("{plugin} restores no backup by a program of the operator");
        Error::new(Stage::Restore, Kind::Usage, subject, message)
            .hint("--program is only for backups whose dump has type = \"exec\"; pass --to or --to-dir")
    }
}
