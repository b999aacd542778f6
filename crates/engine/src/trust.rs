//! The comparison of destinations with what this host saw there before, by signed records.
//!
//! | file | contents |
//! | --- | --- |
//! | `history.rs` | the comparison |
//! | `memory.rs` | what this host saw at a destination |

mod history;
mod memory;
#[cfg(test)]
mod tests;

pub use self::history::HistoryProblem;
pub(crate) use self::history::{compare, report_key};
pub(crate) use self::memory::{JobKey, KnownReport, Memory};
