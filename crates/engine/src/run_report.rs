//! Run reports: the record that each run of a command leaves in `state_dir/runs/` and at each
//! destination of its job.
//!
//! | file | contents |
//! | --- | --- |
//! | `recorder.rs` | a run from its start to its report |
//! | `command_result.rs` | the result of a command, converted into a report |
//! | `upload.rs` | uploading reports to destinations |

mod command_result;
mod recorder;
#[cfg(test)]
mod tests;
mod upload;

pub use self::command_result::CommandResult;
pub use self::recorder::RunRecorder;
