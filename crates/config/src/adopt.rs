//! `[adopt.NAME]`: files of another program that count as backups, and their retention.

use std::collections::BTreeMap;

use longshore_catalog::adopt::{AdoptRule, Pattern};
use longshore_retention::Policy;
use toml::Spanned;
use toml::de::DeValue;

use crate::destination::Destination;
use crate::error::{ConfigError, quote_unless_secret};
use crate::job::Job;
use crate::table::{is_valid_name, look_up, read};
use crate::written;

/// A rule for adopting files of another program as backups.
#[derive(Debug, Clone, PartialEq)]
pub struct Adoption {
    /// The pattern that recognizes the files.
    pub adopt: AdoptRule,
    /// The destination that contains the files.
    pub destination: String,
    /// The retention policy of the files.
    pub policy: Policy,
}

/// Reads an adoption.
pub(crate) fn adoption(
    name: &str,
    value: Spanned<DeValue<'_>>,
    destinations: &BTreeMap<String, Destination>,
    policies: &BTreeMap<String, Policy>,
) -> Result<Adoption, ConfigError> {
    let span = value.span();
    let invalid = |message: String| ConfigError::at(span.clone(), format!("adopt \"{name}\": {message}"));
    let written::Adopt { destination, pattern, retention, timezone, cluster, database } = read(value)?;
    look_up(destinations, &destination, "destination").map_err(&invalid)?;
    let policy = look_up(policies, &retention, "retention").map_err(&invalid)?.clone();
    let cluster = cluster.unwrap_or_else(|| name.to_owned());
    if !is_valid_name(&cluster) {
        return Err(invalid(format!("{} is not a valid cluster name", quote_unless_secret(&cluster))));
    }
    let pattern = Pattern::parse(&pattern).map_err(&invalid)?;
    match (pattern.names_database(), &database) {
        (true, None) | (false, Some(_)) => {}
        (false, None) => return Err(invalid("the pattern must contain {database}, or set database".to_owned())),
        (true, Some(_)) => return Err(invalid("set database only for a pattern without {database}".to_owned())),
    }
    let adopt = AdoptRule { name: name.to_owned(), cluster, pattern, timezone, database };
    Ok(Adoption { adopt, destination, policy })
}

/// Fails if two rules claim the same files, or if a rule has the name of a job.
pub(crate) fn check(
    adoptions: &BTreeMap<String, Adoption>,
    jobs: &BTreeMap<String, Job>,
    whole: std::ops::Range<usize>,
) -> Result<(), ConfigError> {
    for (name, adoption) in adoptions {
        if jobs.contains_key(name) {
            let message = format!("\"{name}\" names both a job and an adopt: rename the adopt");
            return Err(ConfigError::at(whole, message));
        }
        let same = |other: &&Adoption| {
            other.adopt.name < *name
                && other.destination == adoption.destination
                && other.adopt.pattern.as_str() == adoption.adopt.pattern.as_str()
        };
        if let Some(other) = adoptions.values().find(same) {
            let message = format!("adopt \"{}\" and adopt \"{name}\" claim the same files", other.adopt.name);
            return Err(ConfigError::at(whole, message));
        }
    }
    Ok(())
}
