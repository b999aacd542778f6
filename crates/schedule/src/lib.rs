//! Schedules: which task of a job is due when, as a pure decision, given the runs so far and the
//! time. The same schedules for the timers of systemd and for cron.
//!
//! | module | contents |
//! | --- | --- |
//! | [`expression`] | a cron expression, and its times in a time zone |
//! | [`task`] | a verb of a job with its schedule, delay and retries |
//! | [`plan`](mod@plan) | the decision: start, wait or skip, and the next time |
//! | [`calendar`] | a schedule in the syntax of systemd's timers, and of cron |

pub mod calendar;
pub mod expression;
pub mod plan;
pub mod task;

pub use crate::expression::{Expression, Schedule};
pub use crate::plan::{Action, History, PastRun, Plan, Reason, plan};
pub use crate::task::{Task, Verb};
