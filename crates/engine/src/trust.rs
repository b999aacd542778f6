//! The comparison of destinations with what this host saw there before, by signed records.
//!
//! | file | contents |
//! | --- | --- |
//! | `history.rs` | the comparison |
//! | `memory.rs` | what this host saw at a destination |
//! | `known_reports.rs` | the run reports among that |

mod history;
mod known_reports;
mod memory;
#[cfg(test)]
mod tests;

pub use self::history::HistoryProblem;
pub(crate) use self::history::compare;
pub(crate) use self::known_reports::{JobKey, report_name};
pub(crate) use self::memory::Memory;
