//! `longshore mark`.

use clap::{Args as ClapArgs, ValueEnum};

use super::Json;

/// The marks of a backup that are withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Withdrawn {
    /// Damage that was found by reading the backup back, or by a drill.
    Damaged,
    /// That the backup was read back whole.
    Verified,
    /// That the backup was restored in a drill.
    Drilled,
    /// All of these.
    All,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  longshore mark shop --withdraw --why \"the memory of the host was faulty\"")]
pub(crate) struct Mark {
    /// The backup's name, or a subject, whose newest backup is meant.
    pub(crate) backup: String,
    /// Withdraw marks that are wrong [without a value: damaged]. Nothing is deleted: another mark says which no longer count.
    #[arg(long, value_name = "MARKS", value_enum, num_args = 0..=1, require_equals = true,
          default_missing_value = "damaged", required = true)]
    pub(crate) withdraw: Option<Withdrawn>,
    /// Why, for those who find it years later.
    #[arg(long, value_name = "REASON", default_value = "")]
    pub(crate) why: String,
    /// Only at this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}
