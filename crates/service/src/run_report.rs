//! Run reports: the record that each run of a command leaves in `state_dir/runs/` and at each
//! destination of its job.
//!
//! | file | contents |
//! | --- | --- |
//! | `recorder.rs` | a run from its start to its report |
//! | `command_result.rs` | the result of a command, converted into a report |
//! | `report_dir.rs` | the reports in `state_dir/runs/`, and the markers of runs in progress |
//! | `upload.rs` | uploading reports to destinations |
//! | `host_history.rs` | the runs of a job that this host knows, for retention |
//! | `retention.rs` | the reports that are too old or too many |
//! | `last_run.rs` | the last runs of each job, read from this host and from destinations |

mod command_result;
mod host_history;
mod last_run;
mod recorder;
mod report_dir;
mod retention;
#[cfg(test)]
mod tests;
mod upload;

pub use self::command_result::CommandResult;
pub(crate) use self::host_history::HostHistory;
pub(crate) use self::last_run::{JobKey, LastRun, LastRuns, last_runs};
pub(crate) use self::recorder::RUN;
pub use self::recorder::RunRecorder;
pub(crate) use self::retention::prune;
