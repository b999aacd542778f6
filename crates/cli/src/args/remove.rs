//! `longshore remove`.

use clap::Args as ClapArgs;

use super::Json;

/// The limits of `remove`.
pub(super) const REMOVE_HELP: &str = "Never removed are the last good backups of a series (min_keep), its only verified or drilled one, and a backup\n\
    that is held, locked by its store, younger than min_age, being restored, or needed by another backup.\n\n\
    Example: longshore remove main/appdb/appdb-2026-06-07_091500 --why \"holds data of a customer who left\"";

#[derive(Debug, ClapArgs)]
pub(crate) struct Remove {
    /// The backup's name, as `longshore list --all` prints it.
    #[arg(value_name = "NAME")]
    pub(crate) backup: String,
    /// The reason, for the report.
    #[arg(long, value_name = "REASON")]
    pub(crate) why: String,
    /// Only from this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// Show whether it would be removed, without removing anything.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Remove it without asking on the terminal.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}
