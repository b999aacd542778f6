//! The scheduled tasks of this host: their runs so far, what starts them, and the timers of systemd
//! or lines of cron that start them.
//!
//! | file | contents |
//! | --- | --- |
//! | `history.rs` | the tasks of the configuration, with their runs so far |
//! | `host.rs` | the files of systemd and cron on a host, or below another root |
//! | `starter.rs` | what starts each task: timers, lines of cron, `serve` |
//! | `command_line.rs` | the tasks that a command line starts |
//! | `service_lock.rs` | the lock of the `serve` that starts the tasks |
//! | `status.rs` | when each task is due, ran and is started by what |
//! | `unit.rs` | the texts of systemd's units |
//! | `cron.rs` | the lines of cron |
//! | `install.rs` | the changes of a host that let systemd or cron start the tasks |
//! | `run_user.rs` | the user that runs the tasks |
//! | `change.rs` | one change of a host, shown or applied |

mod change;
mod command_line;
mod cron;
mod history;
mod host;
mod install;
mod run_user;
mod service_lock;
mod starter;
mod status;
mod unit;

pub use self::change::Change;
pub use self::history::{TaskHistory, arguments, histories, host_name, left_report, state_folder};
pub use self::host::Host;
pub use self::install::{Installation, Request, Scheduler, install, uninstall};
pub use self::service_lock::claim;
pub use self::starter::{Starter, StarterKind, starters};
pub use self::status::{TaskStatus, status};
