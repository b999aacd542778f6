//! A task: a verb of a job that a schedule starts.

use std::fmt;

use chrono::TimeDelta;
use longshore_model::digest::Digest;
use longshore_model::unit::TimeSpan;
use serde::Serialize;

use crate::expression::Schedule;

/// A verb that can be scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// A backup.
    Run,
    /// A verification of stored backups.
    Verify,
    /// A restore drill.
    Drill,
    /// A copy of missing backups between destinations.
    Sync,
    /// A removal of backups that the retention policy does not keep.
    Prune,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 5] = [Self::Run, Self::Verify, Self::Drill, Self::Sync, Self::Prune];

    /// Returns the name of the verb on the command line and in run reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Verify => "verify",
            Self::Drill => "drill",
            Self::Sync => "sync",
            Self::Prune => "prune",
        }
    }

    /// Returns the verb of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A verb of a job, with its schedule.
#[derive(Debug, Clone)]
pub struct Task {
    /// The name of the job.
    pub job: String,
    /// The verb.
    pub verb: Verb,
    /// The times at which the task is due.
    pub schedule: Schedule,
    /// The delay of each start after its due time, in whole seconds. See [`delay`].
    pub delay: TimeDelta,
    /// True if the newest of the missed due times is caught up, once.
    pub catch_up: bool,
    /// The number of retries after a failure.
    pub retry: u32,
    /// The time between a failure and its retry.
    pub retry_wait: TimeDelta,
}

/// Returns the delay of a task: from 0 to less than `jitter`, in whole seconds, different between
/// hosts, jobs and verbs, but always the same for one of them.
pub fn delay(jitter: TimeSpan, host: &str, job: &str, verb: Verb) -> TimeDelta {
    let seconds = jitter.duration().as_secs();
    if seconds == 0 {
        return TimeDelta::zero();
    }
    let digest = Digest::of(format!("{host}\n{job}\n{verb}").as_bytes());
    let number = u64::from_str_radix(&digest.hex()[..15], 16).unwrap_or_default();
    i64::try_from(number % seconds).ok().and_then(TimeDelta::try_seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn delay_is_fixed_and_spread_over_the_jitter() {
        let jitter = TimeSpan::new(Duration::from_secs(600));
        let of = |host: usize| delay(jitter, &format!("db{host}"), "nightly", Verb::Run);
        let delays: BTreeSet<_> = (0..200).map(of).collect();
        assert!(delays.len() > 100, "{}", delays.len());
        assert!(delays.iter().all(|delay| (0..600).contains(&delay.num_seconds())));
        assert_eq!(of(1), of(1));
        assert_ne!(delay(jitter, "db1", "nightly", Verb::Drill), of(1));
        assert_eq!(delay(TimeSpan::new(Duration::ZERO), "db1", "nightly", Verb::Run), TimeDelta::zero());
    }

    #[test]
    fn verb_has_the_name_of_the_command() {
        for verb in Verb::ALL {
            assert_eq!(Verb::of_name(verb.name()), Some(verb));
        }
        assert_eq!(Verb::of_name("restore"), None);
    }
}
