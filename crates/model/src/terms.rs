//! The terms of a job: the maximum age of its backups, the schedule of its runs, and its
//! destinations.

use std::fmt;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::unit::TimeSpan;

/// The text form of [`MaxAge::Unlimited`].
const NONE: &str = "none";

/// The maximum age of the newest backup of a series, such as `"26h"`, or `"none"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^(none|[0-9]+\s*[smhdwy])$"))]
pub enum MaxAge {
    /// No limit.
    Unlimited,
    /// The maximum age.
    TimeSpan(TimeSpan),
}

impl MaxAge {
    /// Returns the age, if there is a limit. An unrepresentable age becomes the longest one.
    pub fn limit(self) -> Option<TimeDelta> {
        match self {
            Self::Unlimited => None,
            Self::TimeSpan(span) => Some(TimeDelta::from_std(span.duration()).unwrap_or(TimeDelta::MAX)),
        }
    }
}

impl TryFrom<String> for MaxAge {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == NONE {
            return Ok(Self::Unlimited);
        }
        let span = TimeSpan::try_from(text).map_err(|error| format!("{error}, or \"{NONE}\" for no limit"))?;
        Ok(Self::TimeSpan(span))
    }
}

impl fmt::Display for MaxAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str(NONE),
            Self::TimeSpan(span) => span.fmt(f),
        }
    }
}

impl From<MaxAge> for String {
    fn from(age: MaxAge) -> Self {
        age.to_string()
    }
}

/// The terms of a job as configured: enough to assess its backups without the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Terms {
    /// The maximum age of the newest backup, such as `26h`, or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<MaxAge>,
    /// The schedule of the runs: a cron expression of five fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The time zone of the schedule, by its name in the IANA database; UTC if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The names of the destinations that the job ships to.
    #[serde(default)]
    pub destinations: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_span_or_none() {
        for text in ["26h", "none", "7d"] {
            assert_eq!(MaxAge::try_from(text.to_owned()).unwrap().to_string(), if text == "7d" { "1w" } else { text });
        }
        assert_eq!(MaxAge::try_from("none".to_owned()).unwrap().limit(), None);
        assert_eq!(MaxAge::try_from("26h".to_owned()).unwrap().limit(), Some(TimeDelta::hours(26)));
        for bad in ["", "never", "None", "26"] {
            let error = MaxAge::try_from(bad.to_owned()).unwrap_err();
            assert!(error.contains("\"none\""), "{bad}: {error}");
        }
    }
}
