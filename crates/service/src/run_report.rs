//! Run reports: the record that each run of a command leaves in `state_dir/runs/` and at each
//! destination of its job.
//!
//! | file | contents |
//! | --- | --- |
//! | `under_way.rs` | a run from its start to its report |
//! | `made.rs` | the result of a command, converted into a report |
//! | `folder.rs` | the reports in `state_dir/runs/`, and the marks of runs in progress |
//! | `delivery.rs` | uploading reports to destinations |
//! | `own.rs` | the runs of a job that this host knows, for retention |
//! | `surplus.rs` | the reports that are too old or too many |
//! | `read.rs` | the last runs of each job, read from this host and from destinations |

mod delivery;
mod folder;
mod made;
mod own;
mod read;
mod surplus;
#[cfg(test)]
mod tests;
mod under_way;

pub use self::made::Made;
pub(crate) use self::own::Known;
pub(crate) use self::read::{Found, JobKey, LastRuns, last_runs};
pub(crate) use self::surplus::prune;
pub(crate) use self::under_way::RUN;
pub use self::under_way::UnderWay;
