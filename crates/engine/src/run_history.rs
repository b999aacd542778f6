//! The run reports that exist: the runs that this host knows, and the last runs of each job.
//!
//! | file | contents |
//! | --- | --- |
//! | `report_dir.rs` | the reports in `state_dir/runs/`, and the markers of runs in progress |
//! | `backup_times.rs` | the times of the backups that this host made |
//! | `host_history.rs` | the runs of a job that this host knows, for retention |
//! | `retention.rs` | the reports that are too old or too many |
//! | `last_run.rs` | the last runs of each job, read from this host and from destinations |
//! | `recent.rs` | the newest run reports of all jobs |

mod backup_times;
mod host_history;
mod last_run;
mod recent;
mod report_dir;
mod retention;

pub(crate) use self::backup_times::backup_times;
pub(crate) use self::host_history::HostHistory;
pub use self::last_run::LastRun;
pub(crate) use self::last_run::{JobKey, LastRuns, last_runs};
pub(crate) use self::recent::recent_runs;
pub(crate) use self::report_dir::{Marker, ReportDir};
pub(crate) use self::retention::prune;

/// The verb of a run that makes backups, in its reports.
pub(crate) const RUN: &str = "run";
/// The verb that makes backups of adopted files.
pub(crate) const TAKE: &str = "take";
