//! What happens when: a configuration becomes stages, and stages become runs, read-backs, restores and prunes.
//!
//! | module | holds |
//! | --- | --- |
//! | [`config`] | the TOML file, as written and as resolved; errors that name their place in it |
//! | [`registry`] | which plugins there are |
//! | [`run`] | a job's run: survey, globals first, databases in parallel, retention |
//! | [`run_report`] | the record that each run of a verb leaves, here and at destinations |
//! | `survey` | the look at the server before a run and in a check |
//! | `pause` | a standby's replay, paused while a run dumps |
//! | [`report`], [`problem`] | what became of a run, and what went wrong in it |
//! | [`check`] | what would fail at 3 a.m. |
//! | [`catalogs`] | the catalogs of all destinations, and finding a backup in them |
//! | [`verify`], [`restore`], [`prune`] | reading back, bringing home, letting go |
//! | [`simulate`] | what a policy would keep, tried before it is trusted |
//! | [`status`] | what there is of every series, and what needs attention |
//! | [`schedule`] | when runs are due |
//! | `series` | which series no longer grow |
//! | [`drill`] | proving that backups can be restored, by restoring them |
//! | [`identity`] | what opens backups, where the command line names nothing |
//! | [`hold`] | exempting a backup from letting go |
//! | [`withdraw`] | withdrawing marks that are wrong |
//! | [`sync`] | from one destination to another |
//! | [`sweep`] | what interrupted writers left |
//! | [`inspect`] | what is in a dump, whoever made it |
//! | `by_hand` | the page that says how to restore without Longshore |
//! | `record` | what was recorded of a backup while it was dumped |
//! | `lock` | one run of a job at a time |
//! | `memory` | what is remembered from one prune to the next |
//! | `place` | where Longshore keeps its own files on this host |
//! | `fault` | a mistake in the configuration, and its place in the file |
//! | `suggestion` | the name that a person may have meant |
//! | [`watch`] | who is told how far the work is |

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
