//! The commands of Longshore: builds stages from a configuration, and runs, verifies, restores and
//! prunes with the stages.
//!
//! | module | contents |
//! | --- | --- |
//! | [`run`] | a run of a job: survey, globals first, databases in parallel, retention |
//! | [`run_report`] | the report that each run of a command leaves, on this host and elsewhere |
//! | `run_history` | the reports of earlier runs |
//! | [`rekey`], `headers` | headers for other recipients; decryption by these headers |
//! | `stages`, `mode` | building stages; acting or only showing the plan |
//! | `survey` | the survey of a server, before a run and in a check |
//! | `replay_pause` | pausing a standby's replay while a run dumps |
//! | [`report`], [`error_report`] | the result of a run, and its errors |
//! | [`check`] | tests of everything that the next run depends on |
//! | [`catalogs`] | the catalogs of all destinations, and finding a backup in them |
//! | `chains` | the chains of backups that continue others |
//! | [`verify`], [`restore`], [`prune`] | verifying, restoring and deleting backups |
//! | [`simulate`] | the backups that a retention policy would keep, without deleting any |
//! | [`status`] | the backups of every series, and problems that need attention |
//! | [`overview`] | status, backups, retention and runs together, for a view that is refreshed |
//! | [`listing`] | the backups of all destinations as a list |
//! | `series_end` | detection of series that have ended |
//! | [`schedule`] | scheduled tasks: when they are due, and what starts them |
//! | [`drill`] | test restores, which prove that backups can be restored |
//! | [`identity`] | the identities that decrypt backups, unless the command line names some |
//! | [`snapshots`] | the snapshots that stay on this host after their backups |
//! | [`hold`] | holds, which exempt backups from retention |
//! | [`adoption`] | files of other programs |
//! | [`hook`] | programs of the operator before and after a run |
//! | [`notices`] | notices of problems, and their channels |
//! | `lease` | leases, which exempt backups from retention during a restore |
//! | `link`, `local_file` | the backups of a chain as one stream; files of this host as streams |
//! | [`wal`] | the archive of a cluster's WAL |
//! | [`withdraw`] | withdrawing wrong marks |
//! | [`sync`] | copying backups between destinations |
//! | `report_retention` | the run reports that are too old or too many |
//! | [`trust`] | the comparison of destinations with what this host saw before |
//! | [`untrusted`] | records that this host refuses by their signatures |
//! | `removal` | statements of removals, written before backups are deleted |
//! | [`sign_existing`] | signing the backups of before, once |
//! | [`accept_chain`] | accepting the present state of a host's run reports |
//! | [`sweep`] | removing leftovers of interrupted writers |
//! | [`inspect`] | the contents of a dump file of any origin |
//! | `restore_page` | the page about restoring without Longshore |
//! | [`encryption_policy`] | which backups must be encrypted |
//! | `details` | the encrypted details of a backup: the record of its dump |
//! | [`counters`] | counts of events on this host, for metrics |
//! | `lock` | the lock of a job: one run at a time |
//! | `destination_state` | the state of a destination, kept on this host between two prunes |
//! | `state_file` | files of a host's state, replaced as a whole |
//! | `dirs` | the default directories for locks and state |
//! | `decrypted` | the record of backups that were decrypted on this host |

pub mod accept_chain;
pub mod adoption;
pub mod catalogs;
mod chains;
pub mod check;
mod comparison;
pub mod counters;
mod decrypted;
mod destination_state;
mod details;
mod dirs;
pub mod drill;
pub mod encryption_policy;
pub mod error_report;
#[cfg(test)]
mod fixture;
mod headers;
pub mod hold;
pub mod hook;
pub mod identity;
pub mod inspect;
mod lease;
mod link;
pub mod listing;
mod local_file;
mod lock;
mod mode;
mod mount;
pub mod notices;
mod origin;
pub mod overview;
pub mod prune;
pub mod rekey;
mod removal;
mod replay_pause;
pub mod report;
mod report_retention;
pub mod restore;
mod restore_page;
pub mod run;
pub mod run_history;
pub mod run_report;
pub mod schedule;
mod series_end;
pub mod sign_existing;
pub mod simulate;
pub mod snapshots;
mod stages;
mod state_file;
pub mod status;
mod survey;
pub mod sweep;
pub mod sync;
pub mod trust;
pub mod untrusted;
pub mod verify;
pub mod wal;
pub mod withdraw;
