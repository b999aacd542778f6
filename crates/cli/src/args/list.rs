//! `longshore list`.

use clap::{Args as ClapArgs, ValueEnum};

use super::{Json, Local};

#[derive(Debug, ClapArgs)]
pub(crate) struct List {
    /// Only this subject (a database, globals, or CLUSTER/SUBJECT).
    pub(crate) subject: Option<String>,
    /// Show each backup, instead of a line for each series.
    #[arg(long)]
    pub(crate) all: bool,
    /// Show the newest N backups of each series.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) latest: Option<u32>,
    /// Show the backups since this time, in UTC (2026-06-07, "2026-06-07 12:00"), or no older than this (7d).
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Show the backups in this state. May be given more than once: then all must be true.
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Vec<State>,
    /// Only the backups of this job.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Only what lies in this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    #[command(flatten)]
    pub(crate) local: Local,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// The states of a backup that a list can be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// Nothing speaks against it, at any destination.
    Good,
    /// It is damaged at a destination.
    Damaged,
    /// It is exempt from retention.
    Held,
    /// It was read back whole.
    Verified,
    /// It was restored in a drill.
    Drilled,
    /// Another program made it.
    Adopted,
}
