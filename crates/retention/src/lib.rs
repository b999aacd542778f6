//! Retention: a pure decision about which backups to keep, with reasons, given a policy, the
//! backups and the current time.
//!
//! # Counting backups
//!
//! A series is all backups of one subject by one job. Each series at each destination is decided
//! independently. Only *good* backups count: the manifest and the artifact are complete, no damage
//! is known, and the backup is not dated in the future, which means more than [`CLOCK_TOLERANCE`]
//! ahead of this host's clock. If the host has reports of its own runs ([`OwnRuns`]), a backup
//! counts only if one of these runs made it, if it is older than the reports, or if it was
//! decrypted and decoded on this host; other backups do not displace any. All backups of a run have
//! the same time, so they fall into the same period. If two backups have the same time, which only
//! happens with adopted files, the one later by name counts as newer.
//!
//! # Rules
//!
//! A backup is kept if any rule keeps it.
//!
//! - `keep_last = N`: the newest N.
//! - `keep_hourly = N`, and `daily`, `weekly`, `monthly`, `quarterly`, `yearly`: the newest backup
//!   of each of the newest N periods with a backup. Periods without a backup do not count, so a
//!   host that was off for 60 days loses nothing.
//! - `keep_within = "30d"`: all backups later than this span before the newest one. The span ends
//!   at the newest backup and not today, so nothing is removed while no backups are made.
//! - `keep_within_daily = "30d"` and so on: the newest backup of each period within the span.
//!
//! # Calendar
//!
//! Periods are those of local time in the policy's `timezone` (default: UTC). Weeks are those of
//! ISO 8601, from Monday; a week that spans two years is one week. A day has 23 or 25 hours when
//! clocks change; the repeated hour counts as two hours. `"1mo"` before 31 March is the last day of
//! February, and `"1y"` before 29 February is 28 February. Months and days preserve the local time
//! of day; hours are elapsed hours. See [`CalendarSpan`] and [`CalendarUnit`].
//!
//! # Exemptions
//!
//! The following backups are never removed: the newest `min_keep` good backups of a series; the
//! newest verified and the newest drilled one at this destination; backups that a kept backup
//! needs; backups that are held, locked by the store, being restored, or younger than `min_age`;
//! and backups that are damaged, dated in the future or not made by a known run, which an operator
//! must examine. `max_total_size` overrides the rules, but no exemption: of the backups that only
//! rules keep and no kept backup needs, the oldest is removed, together with backups that only it
//! needs, until the rest is small enough. `max_delete` postpones further removals. Backups that
//! need each other in a cycle are kept, since no order of removal is safe. In a retired series,
//! only backups are kept that are needed, held, locked, being restored, too young or dated in the
//! future.
//!
//! Retention refuses a policy without rules. It refuses a series if this host's clock is behind the
//! newest good backup by more than [`CLOCK_TOLERANCE`], unless this host's newest run shows that
//! the clock is right: then the backups dated in the future are reported, and the rest of the
//! series is decided.
//!
//! # Single backups
//!
//! [`plan_single`] decides whether an operator may remove a certain backup: the rules do not apply,
//! and the exemptions do, except those for damaged backups and for backups dated in the future.
//!
//! # Comparison with restic
//!
//! Rules that restic's `forget` also has keep the same backups, with these exceptions. Newer
//! versions of restic also keep the oldest snapshot while a count is not used up ("oldest daily
//! snapshot"); here only the newest of a period counts. restic counts snapshots dated in the
//! future, for example for `--keep-last`. In a shorter month, restic's span overflows into the next
//! month (a month before 31 March is 3 March), which keeps less. restic can also forget every
//! snapshot of a group.

mod calendar;
mod candidate;
mod need;
mod own_runs;
mod plan;
mod policy;
mod reason;
mod removal_order;
mod single;
mod wal;

pub use calendar::{CalendarSpan, CalendarUnit, Period};
pub use candidate::Candidate;
pub use longshore_model::clock::CLOCK_TOLERANCE;
pub use longshore_model::mark::Hold;
pub use own_runs::OwnRuns;
pub use plan::{Action, Decision, History, Plan, PlanContext, SeriesMode, plan};
pub use policy::{Count, Policy, zone};
pub use reason::{Reason, RemoveReason, describe_reasons};
pub use single::plan_single;
pub use wal::{KeptBase, RecoveryWindow, WalPlan};
