//! Which backups to keep: a pure decision, with its reasons, from a policy, backups and a clock reading.
//!
//! # What counts
//!
//! A series is all backups of one subject by one job; each is decided for by itself, at each destination by itself. Its *good* backups
//! count: those whose manifest and artifact are there, whole, with nothing known against them, and that are not dated in the future,
//! which is: ahead of this host's clock by more than [`CLOCK_TOLERANCE`].
//! Where a host knows runs of its own ([`OwnRuns`]), a backup counts only if one of these made it, if it is older than their reports, or
//! if it was opened and decoded on that host: what others put there takes no place.
//! All that one run made carries one time, so that it falls into one period. Of two backups of one time, which only adopted files can
//! have, the one that is later by name counts as newer.
//!
//! # The rules
//!
//! They are a union: a backup is kept if any rule keeps it.
//!
//! - `keep_last = N`: the newest N.
//! - `keep_hourly = N`, and `daily`, `weekly`, `monthly`, `quarterly`, `yearly`: the newest of each of the newest N periods that have one.
//!   Periods without a backup use nothing up, so a host that was off for 60 days loses nothing by it.
//! - `keep_within = "30d"`: all whose time is later than so long before the newest one's: not before today's, so nothing goes while
//!   nothing comes.
//! - `keep_within_daily = "30d"` and the like: of those, the newest of each period.
//!
//! # The calendar
//!
//! Periods are of the wall clock in the policy's `timezone` (UTC without). Weeks are ISO 8601's, from Monday, and one that spans two
//! years is one week. A day is the wall clock's, of 23 or 25 hours where the clock is put forward or back; the hour that is repeated then
//! is two hours. `"1mo"` before 31 March is the last day of February, and `"1y"` before 29 February its 28th. Days and months back keep
//! the wall clock's time; hours are hours that have passed. See [`Ago`] and [`Every`].
//!
//! # What never goes
//!
//! The newest `min_keep` good backups of a series; the newest that was verified, and that was drilled, where it lies; what a kept backup
//! needs; what is held, locked by its store, being restored, or younger than `min_age`; and whatever is damaged, dated in the future, or
//! made by no run that this host knows, which a person should look at. `max_total_size` overrules the rules but none of these: of what only rules keep and nothing that stays
//! needs, the oldest goes, with what only it needs, until the rest is small enough. `max_delete` puts off what would go beyond it. Backups
//! that need each other in a circle stay, since there is no order to remove them in. A series that a person has retired keeps only what
//! is needed, held, locked, being restored, too young or dated in the future.
//!
//! Refused are a policy without rules, and, for a series, a clock that is behind its newest good backup by more than
//! [`CLOCK_TOLERANCE`], unless the newest run of this host shows that the clock is right: then backups dated in the future are named,
//! and the rest of the series is decided for.
//!
//! # By hand
//!
//! [`plan_one`] decides for one backup that a person names: the rules count for nothing, and what never goes stays, but for damaged
//! backups and those dated in the future, at which that person has looked.
//!
//! # Other tools
//!
//! Where restic's `forget` has a rule of the same name, the same backups are kept, with these exceptions. Newer versions of restic also
//! keep the oldest snapshot while a count is not used up ("oldest daily snapshot"); here only the newest of a period has a place. restic counts what is
//! dated in the future, by `--keep-last` and the others. Where a month is shorter, restic's span runs over into the next (a month before
//! 31 March is 3 March in it), which keeps less. And restic may forget every snapshot of a group if told so.

mod calendar;
mod need;
mod one;
mod order;
mod own_runs;
mod plan;
mod policy;
mod reason;

pub use calendar::{Ago, Every, Period};
pub use one::plan_one;
pub use own_runs::OwnRuns;
pub use plan::{CLOCK_TOLERANCE, Candidate, Circumstances, Decision, Fate, History, Hold, Plan, Regime, plan};
pub use policy::{Count, Policy, zone};
pub use reason::{Cause, Reason, in_words};
