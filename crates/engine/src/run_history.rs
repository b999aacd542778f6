//! The run reports that exist: the runs that this host knows, and the last runs of each job.
//!
//! | file | contents |
//! | --- | --- |
//! | `report_dir.rs` | the reports in `state_dir/runs/`, and the markers of runs in progress |
//! | `backup_times.rs` | the times of the backups that this host made |
//! | `host_history.rs` | the runs of a job that this host knows, for retention |
//! | `last_run.rs` | the last runs of each job, read from this host and from destinations |
//! | `known_backups.rs` | the backups that this host made and did not remove |
//! | `recent.rs` | the newest run reports of all jobs |
//! | `running.rs` | the runs in progress |

mod backup_times;
mod host_history;
mod known_backups;
mod last_run;
mod recent;
mod report_dir;
mod running;

pub(crate) use self::backup_times::backup_times;
pub(crate) use self::host_history::HostHistory;
pub use self::known_backups::known_backups;
pub use self::last_run::LastRun;
pub(crate) use self::last_run::{JobKey, LastRuns, last_runs};
pub(crate) use self::recent::recent_runs;
pub(crate) use self::report_dir::{Marker, ReportDir};
pub use self::running::RunningRuns;

/// The verb of a run that makes backups, in its reports.
pub(crate) const RUN: &str = "run";
/// The verb that makes backups of adopted files.
pub(crate) const TAKE: &str = "take";
