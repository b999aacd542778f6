//! `longshore mark`.

use clap::{Args as ClapArgs, ValueEnum};

use super::Json;

/// The marks to withdraw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Withdrawn {
    /// Damage found by a verification or a drill.
    Damaged,
    /// Successful verifications.
    Verified,
    /// Successful drills.
    Drilled,
    /// All marks above.
    All,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Mark {
    /// The backup, or the subject whose newest backup is marked.
    pub(crate) backup: String,
    /// Withdraw these marks [default: damaged].
    ///
    /// Deletes nothing: a new mark names the marks that no longer count.
    #[arg(long, value_name = "MARKS", value_enum, num_args = 0..=1, require_equals = true,
          default_missing_value = "damaged", required = true)]
    pub(crate) withdraw: Option<Withdrawn>,
    /// Record this reason.
    #[arg(long, value_name = "REASON", default_value = "")]
    pub(crate) why: String,
    /// Choose the job, if several have backups of the subject.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Withdraw only in this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}
