//! Holds, which exempt backups from retention, and the holds remembered from a destination, for
//! detecting deleted ones.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::summary::outlasts;
use super::{MarkKind, Marks};
use crate::key::Timestamp;

/// A mark that exempts a backup from retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The end of the hold; unlimited if absent.
    pub until: Option<DateTime<Utc>>,
    /// The reason.
    pub why: String,
}

/// A hold that was found beside a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedHold {
    /// The time of the latest mark of the hold.
    pub made: Timestamp,
    /// The end of the hold; unlimited if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// The reason stated in the mark.
    #[serde(default)]
    pub why: String,
}

impl RememberedHold {
    /// Returns the hold stated by the marks, if any.
    pub fn of(marks: &Marks) -> Option<Self> {
        let Hold { until, why } = marks.held.clone()?;
        Some(Self { made: marks.holds().map(|mark| mark.time).max()?, until, why })
    }

    /// Returns true until the hold expires.
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// Returns true if the marks beside the backup state no hold or a shorter one, without a
    /// release.
    pub fn is_lost(&self, marks: &Marks, now: DateTime<Utc>) -> bool {
        let is_released = marks.latest(MarkKind::Released).is_some_and(|released| released > self.made);
        let is_there = marks.held.as_ref().is_some_and(|held| outlasts(held, &self.hold()));
        self.is_active(now) && !is_released && !is_there
    }

    /// Returns the hold for retention.
    pub fn hold(&self) -> Hold {
        Hold { until: self.until, why: self.why.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::BackupName;
    use crate::mark::MarkName;

    fn timestamp(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn marks(held: Option<Hold>, released: Option<&str>) -> Marks {
        let backup = BackupName::new("main", "app", timestamp("2026-05-01_030000")).unwrap();
        let mark = |time| MarkName { backup: backup.clone(), kind: MarkKind::Released, time: timestamp(time) };
        let mut marks = Marks::with_hold(held);
        marks.names = released.map(mark).into_iter().collect();
        marks
    }

    #[test]
    fn hold_without_release_is_lost() {
        let now = timestamp("2026-05-03_000000").time();
        let until = |day: u32| Some(timestamp(&format!("2026-05-{day:02}_000000")).time());
        let hold = |until| Some(Hold { until, why: "an audit".to_owned() });
        let seen = |until| RememberedHold { made: timestamp("2026-05-02_000000"), until, why: "an audit".to_owned() };
        for (remembered, marks, expected) in [
            (seen(None), marks(None, None), true),
            (seen(None), marks(hold(None), None), false),
            (seen(None), marks(hold(until(9)), None), true),
            (seen(until(9)), marks(hold(until(8)), None), true),
            (seen(until(9)), marks(hold(until(9)), None), false),
            (seen(None), marks(None, Some("2026-05-02_120000")), false),
            (seen(None), marks(None, Some("2026-05-01_120000")), true),
            (seen(until(3)), marks(None, None), false),
        ] {
            assert_eq!(remembered.is_lost(&marks, now), expected, "{remembered:?} {marks:?}");
        }
    }
}
