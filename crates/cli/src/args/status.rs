//! The flags of `status`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};
use longshore_core::terms::MaxAge;

use super::{Identity, Json, Local, quantity};

/// The exit codes of `status`.
pub(super) const STATUS_HELP: &str = "Exit codes: 0 all backups are recent, 2 no destination can be read, 3 the last run of a job did not succeed, a\n\
    backup is stale or has no max_age, or a destination cannot be read, 4 the newest backup of a series is damaged.\n\
    With --nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.";

#[derive(Debug, ClapArgs)]
pub(crate) struct Status {
    /// Show only the series of this job; the job may belong to another host.
    pub(crate) job: Option<String>,
    /// Set the maximum age of the newest backup for jobs without max_age, such as 26h or "none".
    #[arg(long, value_name = "TIME", value_parser = quantity::<MaxAge>)]
    pub(crate) max_age: Option<MaxAge>,
    /// Print one line and exit like a Nagios plugin.
    #[arg(long, conflicts_with = "json")]
    pub(crate) nagios: bool,
    /// Write metrics for Prometheus to this file, such as one of node_exporter [default: stdout].
    ///
    /// The file is replaced as a whole. The exit code is 0 if the metrics were written.
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["json", "nagios"])]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) prometheus: Option<Option<PathBuf>>,
    /// Send notices about the problems to the configured channels, and print nothing else.
    ///
    /// The exit code is 0 if all notices that were due were sent, else 3.
    #[arg(long, conflicts_with_all = ["json", "nagios", "prometheus", "job"])]
    pub(crate) notify: bool,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) local: Local,
    #[command(flatten)]
    pub(crate) json: Json,
}
