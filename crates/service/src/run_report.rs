//! Run reports: what each run of a verb that acts leaves behind, in `state_dir/runs/` and at each
//! destination of its job.
//!
//! | file | holds |
//! | --- | --- |
//! | `under_way.rs` | a run from its begin to its report |
//! | `made.rs` | what a verb did, as its report tells it |
//! | `folder.rs` | the reports in `state_dir/runs/`, and the marks of runs under way |
//! | `delivery.rs` | shipping reports to destinations |
//! | `own.rs` | the runs of a job that this host knows, for retention |
//! | `surplus.rs` | which reports are too old or too many |
//! | `read.rs` | the last runs of each job, read from here and from destinations |

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
