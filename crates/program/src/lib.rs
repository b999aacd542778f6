//! Programs of the operator, such as hooks: run without a shell, in their own process group, with a
//! cleared environment and a time limit.
//!
//! | module | contents |
//! | --- | --- |
//! | `program` | the program, and its run |
//! | `group` | the process group of a child, and its end |
//! | `permissions` | the users who could replace the program |
//! | `last_lines` | the last lines of the output |
//! | `output` | the output of a program for an input |

mod group;
mod last_lines;
mod output;
mod permissions;
mod program;

pub use self::group::ProcessGroup;
pub use self::last_lines::read as read_last_lines;
pub use self::output::output;
pub use self::permissions::check as expect_protected;
pub use self::program::{Ending, Program, inherited_environment};
