//! The setting `incremental` of a job: base backups between two full ones.

use chrono::TimeDelta;
use longshore_core::unit::TimeSpan;
use serde::Deserialize;

/// The most that a full backup may be early: a run that starts at the same time of each day may
/// start some minutes before or after it.
const MOST_EARLY: TimeDelta = TimeDelta::hours(1);

/// The settings of incremental base backups.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Incremental {
    /// The time between two full backups.
    full_every: TimeSpan,
    /// The maximum number of incremental backups after a full one.
    #[serde(default = "default_max_incrementals")]
    #[schemars(range(min = 1))]
    pub max_incrementals: u32,
    /// The kind of backup if a destination does not show the backup to continue.
    #[serde(default)]
    pub parent_unseen: ParentUnseen,
}

/// The kind of backup if a destination does not show the backup to continue, as with credentials
/// that may only write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParentUnseen {
    /// A full one.
    #[default]
    Full,
    /// An incremental one or a difference, in the trust that the destination still has what this
    /// host sent.
    Trust,
}

fn default_max_incrementals() -> u32 {
    7
}

impl Incremental {
    /// Checks the settings. Returns a message about the first mistake.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.full_every.duration().is_zero() {
            return Err("full_every must be longer than zero, such as \"7d\"".to_owned());
        }
        if self.max_incrementals == 0 {
            return Err("max_incrementals must be at least 1; remove `incremental` for full backups only".to_owned());
        }
        Ok(())
    }

    /// Returns the age at which a full backup is due for its successor. A little less than
    /// `full_every`: the runs of a daily schedule do not start on the second.
    pub fn full_age(&self) -> TimeDelta {
        full_age(&self.full_every)
    }
}

/// Returns the age at which a full backup is due, a little less than `full_every`.
pub(crate) fn full_age(full_every: &TimeSpan) -> TimeDelta {
    let every = TimeDelta::from_std(full_every.duration()).unwrap_or(TimeDelta::MAX);
    every - MOST_EARLY.min(every / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Result<Incremental, toml::de::Error> {
        toml::from_str(toml)
    }

    #[test]
    fn defaults_limit_the_chain_and_trust_nothing() {
        let settings = parse("full_every = '7d'").unwrap();
        assert_eq!((settings.max_incrementals, settings.parent_unseen), (7, ParentUnseen::Full));
        assert_eq!(settings.full_age(), TimeDelta::days(7) - TimeDelta::hours(1));
        assert_eq!(parse("full_every = '1h'").unwrap().full_age(), TimeDelta::minutes(54));
        let trusting = parse("full_every = '7d'\nmax_incrementals = 30\nparent_unseen = 'trust'").unwrap();
        assert_eq!((trusting.max_incrementals, trusting.parent_unseen), (30, ParentUnseen::Trust));
    }

    #[test]
    fn mistakes_are_rejected() {
        for toml in ["", "full_every = 7", "full_every = '7d'\nparent_unseen = 'x'", "full_every = '7d'\nlength = 3"] {
            parse(toml).unwrap_err();
        }
        for (toml, word) in
            [("full_every = '0d'", "full_every"), ("full_every = '7d'\nmax_incrementals = 0", "at least 1")]
        {
            assert!(parse(toml).unwrap().check().unwrap_err().contains(word), "{toml}");
        }
    }
}
