//! `longshore remove`.

use clap::Args as ClapArgs;

use super::Json;

/// The safety rules of `remove`.
pub(super) const REMOVE_HELP: &str = "Never removes the last good backups of a series (min_keep), its only verified or drilled backup, or a backup\n\
    that is held, locked by its store, younger than min_age, being restored, or needed by another backup.";

#[derive(Debug, ClapArgs)]
pub(crate) struct Remove {
    /// The backup, as `longshore list --all` prints it: its name, or "main/shop 2026-06-07 09:15".
    #[arg(value_name = "NAME")]
    pub(crate) backup: String,
    /// Record this reason in the run report.
    #[arg(long, value_name = "REASON")]
    pub(crate) why: String,
    /// Remove only from this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// Show whether the backup would be removed; remove nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Remove without a prompt.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}
