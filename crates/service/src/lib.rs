//! The commands of Longshore: builds stages from a configuration, and runs, verifies, restores and
//! prunes with the stages.
//!
//! | module | contents |
//! | --- | --- |
//! | [`config`] | the TOML file, as written and as resolved; errors with their position |
//! | [`registry`] | the known plugins |
//! | [`run`] | a run of a job: survey, globals first, databases in parallel, retention |
//! | [`run_report`] | the report that each run of a command leaves, on this host and at
//! destinations |
//! | `survey` | the survey of a server, before a run and in a check |
//! | `pause` | pausing a standby's replay while a run dumps |
//! | [`report`], [`problem`] | the result of a run, and its errors |
//! | [`check`] | tests of everything that the next run depends on |
//! | [`catalogs`] | the catalogs of all destinations, and finding a backup in them |
//! | [`verify`], [`restore`], [`prune`] | verifying, restoring and deleting backups |
//! | [`simulate`] | the backups that a retention policy would keep, without deleting any |
//! | [`status`] | the backups of every series, and problems that need attention |
//! | [`schedule`] | the times at which runs are due |
//! | `series` | detection of series that have ended |
//! | [`drill`] | test restores, which prove that backups can be restored |
//! | [`identity`] | the identities that decrypt backups, unless the command line names some |
//! | [`hold`] | holds, which exempt backups from retention |
//! | [`withdraw`] | withdrawing wrong marks |
//! | [`sync`] | copying backups between destinations |
//! | [`sweep`] | removing leftovers of interrupted writers |
//! | [`inspect`] | the contents of a dump file of any origin |
//! | `by_hand` | the page about restoring without Longshore |
//! | `record` | the record of a backup's dump |
//! | `lock` | the lock of a job: one run at a time |
//! | `memory` | the state kept between two prunes |
//! | `place` | the directories of Longshore's own files on this host |
//! | `fault` | a mistake in the configuration, and its position in the file |
//! | `suggestion` | the known name nearest to a mistyped one |
//! | [`watch`] | progress notifications |

mod by_hand;
pub mod catalogs;
pub mod check;
mod comparison;
pub mod config;
pub mod drill;
mod fault;
pub mod hold;
pub mod identity;
pub mod inspect;
mod lock;
mod memory;
mod mount;
mod opened;
mod origin;
mod pause;
mod place;
pub mod problem;
pub mod prune;
mod record;
pub mod registry;
pub mod report;
pub mod restore;
pub mod run;
pub mod run_report;
#[cfg(test)]
mod sample;
pub mod schedule;
mod series;
pub mod simulate;
pub mod status;
mod suggestion;
mod survey;
pub mod sweep;
pub mod sync;
pub mod unsealed;
pub mod verify;
pub mod watch;
pub mod withdraw;
