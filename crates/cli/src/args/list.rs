//! `longshore list`.

use clap::{Args as ClapArgs, ValueEnum};

use super::{Json, Local};

#[derive(Debug, ClapArgs)]
pub(crate) struct List {
    /// List only this subject: a database, globals, or CLUSTER/SUBJECT.
    pub(crate) subject: Option<String>,
    /// Show each backup instead of one line per series.
    #[arg(long)]
    pub(crate) all: bool,
    /// Show the newest N backups of each series.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) latest: Option<u32>,
    /// Show backups since this UTC time (2026-06-07, "2026-06-07 12:00") or of this period (7d).
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Show the backups in this state. Can be repeated; all states must match.
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Vec<State>,
    /// List only backups of this job.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// List only backups in this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// List the snapshots that base backups were read from and that stay on this host.
    ///
    /// They are no backups: they are lost with the disk, and never count as copies.
    #[arg(long, conflicts_with_all = ["subject", "all", "latest", "since", "state", "destination"])]
    pub(crate) snapshots: bool,
    #[command(flatten)]
    pub(crate) local: Local,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// A state of a backup to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// Good at every destination.
    Good,
    /// Damaged at a destination.
    Damaged,
    /// Exempt from retention.
    Held,
    /// Verified after upload.
    Verified,
    /// Restored in a drill.
    Drilled,
    /// Created by another program.
    Adopted,
}
