//! The names of run reports.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, Stage};
use crate::key::{Key, Timestamp, encode_name, encode_reserved_name};

/// The folder, within the cluster's folder, of the reports of all jobs.
const FOLDER: &str = "runs";
/// The suffix of a report's key.
const REPORT: &str = ".json";
/// The suffix of the key of a report's details, before the suffix of the encryption.
const DETAILS: &str = ".details.json";
/// The number of digits that distinguish the runs of one second.
const DIGITS: usize = 8;

/// The id of a run's report: its time, the verb, and digits that distinguish the runs of one
/// second.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "String"))]
pub struct Id {
    /// The beginning of the run.
    pub time: Timestamp,
    /// The verb.
    pub verb: String,
    digits: String,
}

impl Id {
    /// Creates the id of a run. `seed` is a unique hexadecimal number. Ids of one verb are in the
    /// order of their times, to the millisecond.
    pub fn new(time: DateTime<Utc>, verb: &str, seed: &str) -> Self {
        let millis = format!("{:03x}", time.timestamp_subsec_millis().min(999));
        let digits = millis.chars().chain(seed.chars()).chain(std::iter::repeat('0'));
        Self { time: Timestamp::new(time), verb: verb.to_owned(), digits: digits.take(DIGITS).collect() }
    }

    /// Parses an id as used in names, such as `2026-06-07_091500-run-1f0c9a7e`.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, digits) = text.rsplit_once('-')?;
        let (time, verb) = rest.rsplit_once('-')?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_valid = digits.len() == DIGITS
            && digits.bytes().all(is_hex)
            && !verb.is_empty()
            && verb.bytes().all(|byte| byte.is_ascii_lowercase());
        is_valid.then_some(Self { time: Timestamp::parse(time)?, verb: verb.to_owned(), digits: digits.to_owned() })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.time, self.verb, self.digits)
    }
}

impl TryFrom<String> for Id {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let wrong = || Error::new(Stage::Catalog, Kind::Corrupt, &text, "invalid id of a run report");
        Self::parse(&text).ok_or_else(wrong)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

/// The name of a run report in a destination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportName {
    /// The cluster, as used in keys.
    pub cluster: String,
    /// The job, as used in keys.
    pub job: String,
    /// The id.
    pub id: Id,
}

impl ReportName {
    /// Creates the name of the report of a job's run.
    pub fn new(cluster: &str, job: &str, id: Id) -> Self {
        Self { cluster: encode_name(cluster), job: encode_job(job), id }
    }

    /// Returns the name of the report that a key belongs to, as the report or its details. Returns
    /// `None` for other keys.
    pub fn from_key(key: &Key) -> Option<Self> {
        let [cluster, FOLDER, job, file] = <[&str; 4]>::try_from(key.as_str().split('/').collect::<Vec<_>>()).ok()?
        else {
            return None;
        };
        let (id, end) = file.split_at_checked(file.find('.')?)?;
        let is_details = end
            .strip_prefix(DETAILS)
            .is_some_and(|encryption_suffix| encryption_suffix.is_empty() || encryption_suffix.starts_with('.'));
        let id = Id::parse(id).filter(|_| end == REPORT || is_details)?;
        Some(Self { cluster: cluster.to_owned(), job: job.to_owned(), id })
    }

    /// Returns true for the key of a report's details.
    pub fn is_details(key: &Key) -> bool {
        Self::from_key(key).is_some() && key.file_name().contains(DETAILS)
    }

    /// Returns true for a report of this job.
    pub fn belongs_to(&self, cluster: &str, job: &str) -> bool {
        self.cluster == encode_name(cluster) && self.job == encode_job(job)
    }

    /// Returns true for a report of a job of this name in any cluster.
    pub fn belongs_to_job(&self, job: &str) -> bool {
        self.job == encode_job(job)
    }

    /// Returns the report's key.
    pub fn key(&self) -> Result<Key> {
        Key::parse(&format!("{self}{REPORT}"))
    }

    /// Returns the key of the details, given the suffix of the encryption.
    pub fn details(&self, extension: &str) -> Result<Key> {
        Key::parse(&format!("{self}{DETAILS}{extension}"))
    }
}

impl fmt::Display for ReportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{FOLDER}/{}/{}", self.cluster, self.job, self.id)
    }
}

/// Returns a job's name as used in keys: the name of the folder of the job's reports. The parent
/// folder also contains the files of a database with the name of the parent folder, so the result
/// differs from the names of these files.
pub fn encode_job(job: &str) -> String {
    match job.strip_prefix(FOLDER) {
        Some(rest) if rest.starts_with('-') => encode_reserved_name(job),
        _ => encode_name(job),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::BackupName;
    use crate::mark::MarkName;

    fn id(verb: &str) -> Id {
        Id::new("2026-06-07T09:15:00Z".parse().unwrap(), verb, "1f0c9a7e55")
    }

    #[test]
    fn id_has_exactly_one_text_form() {
        assert_eq!(id("run").to_string(), "2026-06-07_091500-run-0001f0c9");
        let later = Id::new("2026-06-07T09:15:00.999Z".parse().unwrap(), "run", "0");
        assert_eq!(later.to_string(), "2026-06-07_091500-run-3e700000");
        assert!(id("run") < later);
        for verb in ["run", "drill", "unhold"] {
            assert_eq!(Id::parse(&id(verb).to_string()), Some(id(verb)));
        }
        for bad in [
            "2026-06-07_091500",
            "2026-06-07_091500-1f0c9a7e",
            "2026-06-07_091500--1f0c9a7e",
            "2026-06-07_091500-Run-1f0c9a7e",
            "2026-06-07_091500-run-1f0c9a7",
            "2026-06-07_091500-run-1F0C9A7E",
            "2026-02-30_091500-run-1f0c9a7e",
        ] {
            assert_eq!(Id::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn report_keys_are_not_backup_keys() {
        let jobs =
            ["nightly", "runs", "runs-2026-06-07_091500.json", "runs-", "a.details.json", "globals", "2026-06-07", "0"];
        for (cluster, job) in jobs.iter().flat_map(|job| [("main", job), ("runs", job), ("ä/b", job)]) {
            let name = ReportName::new(cluster, job, id("run"));
            for key in [name.key().unwrap(), name.details("").unwrap(), name.details(".age").unwrap()] {
                assert_eq!(ReportName::from_key(&key).as_ref(), Some(&name), "{key}");
                assert!(name.belongs_to(cluster, job) && !name.belongs_to(cluster, "other"));
                assert_eq!(ReportName::is_details(&key), key != name.key().unwrap(), "{key}");
                // Every release parses the names of backups like this.
                let as_backup = (BackupName::from_manifest_key(&key), BackupName::from_file_key(&key));
                assert_eq!(
                    (as_backup, MarkName::from_key(&key), MarkName::from_details_key(&key)),
                    ((None, None), None, None)
                );
            }
            let folder = name.key().unwrap().folder().to_owned();
            let as_file = Key::parse(&folder).unwrap();
            assert_eq!(
                (BackupName::from_manifest_key(&as_file), BackupName::from_file_key(&as_file)),
                (None, None),
                "{folder}"
            );
        }
    }

    #[test]
    fn backup_keys_are_not_report_keys() {
        for stranger in [
            "main/runs/runs-2026-06-07_091500.json",
            "main/runs/runs-2026-06-07_091500.dump.zst.age",
            "main/runs/2026-06-07_091500-run-1f0c9a7e.json",
            "main/runs/nightly/2026-06-07_091500-run-1f0c9a7e.txt",
            "main/runs/nightly/2026-06-07_091500-run-1f0c9a7e",
            "main/runs/nightly/2026-06-07_091500-run-1f0c9a7e.details.jsonx",
            "main/runs/nightly/notes.json",
            "main/drills/nightly/2026-06-07_091500-run-1f0c9a7e.json",
            "old/main/runs/nightly/2026-06-07_091500-run-1f0c9a7e.json",
        ] {
            assert_eq!(ReportName::from_key(&Key::parse(stranger).unwrap()), None, "{stranger}");
        }
    }
}
