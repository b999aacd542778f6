//! `longshore init --from pg_back.conf`: the configuration of pg_back as one of Longshore.
//!
//! The keys are those of `internal/config/config.go` of orgrim/pg_back, of which every one becomes
//! a setting or is named with the reason why not. Secrets are not copied.

mod ini;
mod keys;
mod options;
mod retention;
mod translate;
mod upload;

use std::fs;
use std::path::{Path, PathBuf};

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};

use self::ini::Ini;
use self::keys::Note;
use super::destination::quoted;
use crate::output::Output;

/// The improvements over pg_back that need no setting.
const SAFER: &[&str] = &[
    "every dump is decoded to its last row while it is made; a damaged one never counts as a backup",
    "backups are encrypted for public keys, and this host need not be able to decrypt them",
    "retention keeps the newest good backup of each database, also with purge_min_keep = 0",
    "nothing is ever overwritten, and a failed run leaves no file that looks like a backup",
    "`longshore status` reports missing runs, and `longshore drill` restores backups as a test",
];

/// A translated configuration, ready to be written.
pub(super) struct FromPgBack {
    /// The text, with `{encrypt}` for the encryption.
    pub(super) config: String,
    /// The directory of the dumps, unless they are only uploaded.
    pub(super) folder: Option<PathBuf>,
    /// The public key that encrypts the dumps, if there is one.
    pub(super) recipient: Option<String>,
    /// The names of the jobs.
    pub(super) jobs: Vec<String>,
    notes: Vec<Note>,
}

/// Translates the configuration at `from` for a file in `folder`.
pub(super) fn translate(from: &Path, folder: &Path) -> Result<FromPgBack> {
    let name = from.display().to_string();
    let invalid = |message: String| Error::new(Stage::Config, Kind::Usage, &name, message);
    let text = fs::read_to_string(from)
        .map_err(|error| Error::io(Stage::Config, &name, "cannot read the configuration of pg_back", error))?;
    if text.lines().any(|line| line.trim_start().starts_with("PGBK_")) {
        let message = "is a configuration of pg_back 1, a shell script".to_owned();
        return Err(invalid(message).hint("convert it first: pg_back --convert-legacy-config FILE > pg_back.conf"));
    }
    let ini = Ini::parse(&text).map_err(|line| {
        invalid(format!("line {line} is neither a comment, a section, nor a key with a value"))
            .hint("pass the configuration of pg_back 2")
    })?;
    let folder = std::path::absolute(folder)
        .map_err(|error| Error::io(Stage::Config, folder.display().to_string(), "invalid path", error))?;
    let translated = translate::translate(ini, &folder).map_err(|message| {
        invalid(message).hint("correct the key: pg_back itself refuses this value, or cannot work with it")
    })?;
    let translate::Translation { config, notes, folder, recipient, jobs } = translated;
    let config = format!("# Translated from {} by `longshore init --from`.\n\n{config}", printable(&name));
    Ok(FromPgBack { config, folder, recipient, jobs, notes })
}

impl FromPgBack {
    /// Prints what became of each key, and what is safer now.
    pub(super) fn print_notes(&self, output: Output) {
        let taken: Vec<_> = self.notes.iter().filter_map(Note::as_taken).collect();
        let not_taken: Vec<_> = self.notes.iter().filter_map(Note::as_not_taken).collect();
        if !taken.is_empty() {
            output.line("\nTaken:");
            taken.iter().for_each(|(key, setting)| output.line(format_args!("  {}: {setting}", printable(key))));
        }
        if !not_taken.is_empty() {
            output.line("\nNot taken:");
            not_taken.iter().for_each(|(key, why)| output.line(format_args!("  {}: {why}", printable(key))));
        }
        output.line("\nSafer than before:");
        SAFER.iter().for_each(|line| output.line(format_args!("  {line}")));
    }
}
