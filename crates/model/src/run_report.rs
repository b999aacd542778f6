//! Run reports: the record of each run of a verb that acts, successful or not.
//!
//! ```text
//! <cluster>/runs/<job>/2026-06-07_091500-run-1f0c9a7e.json              the report
//! <cluster>/runs/<job>/2026-06-07_091500-run-1f0c9a7e.details.json.age  messages of errors
//! ```
//!
//! A report is written once, at the end of its run, and never changes. Its key has four segments,
//! unlike those of backups.

mod name;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result, Stage};
use crate::key::BackupName;
use crate::terms::Terms;

pub use self::name::{Id, ReportName, encode_job};

/// The format that this program writes, and the newest one that it reads.
pub const FORMAT: u32 = 1;

/// The maximum size in bytes of a report and of its details. A prune that removed 100,000 backups
/// names all of them.
pub const MAX_REPORT_BYTES: usize = 16 << 20;

/// The report of one run of a verb.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunReport {
    /// The report's format: 1.
    pub format: u32,
    /// The version of Longshore that wrote the report.
    pub longshore: String,
    /// The report's id, part of its name.
    pub id: Id,
    /// The verb, such as `run` or `drill`.
    pub verb: String,
    /// The job, if the verb concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The job's cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The run id of the backups, if a run made any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The host.
    pub host: String,
    /// The beginning of the run, in UTC.
    pub begun: DateTime<Utc>,
    /// The end of the run, in UTC; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DateTime<Utc>>,
    /// The exit code; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// The outcome of the run.
    pub outcome: Outcome,
    /// The class of the error that ended the run, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Class>,
    /// The outcome of each subject.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<SubjectOutcome>,
    /// Destinations that were excluded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<DestinationOutcome>,
    /// The removed backups, by the destination's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removed: BTreeMap<String, Vec<BackupName>>,
    /// Other counts, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// The digest of this host's previous report of the same job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// The job's terms, by which any host can assess its backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
}

/// The outcome of a run or of a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All parts succeeded.
    Done,
    /// Some parts succeeded.
    Partial,
    /// The run failed.
    Failed,
    /// The run found a damaged backup or dump.
    Damaged,
    /// A safety rule forbade the operation.
    Refused,
    /// Another run held the lock.
    Locked,
    /// A hook before the run skipped it.
    Skipped,
    /// A signal ended the run.
    Interrupted,
    /// The process ended without a report: it was killed, or the host crashed.
    Lost,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::Locked => "locked",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
            Self::Lost => "lost",
        })
    }
}

/// The class of an error, without confidential hosts, folders or contents of databases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Class {
    /// The stage in which the error occurred, such as `connect`.
    pub stage: String,
    /// The error's kind, such as `unavailable`.
    pub kind: String,
}

impl From<&Error> for Class {
    fn from(error: &Error) -> Self {
        Self { stage: error.stage().to_string(), kind: error.kind().word().to_owned() }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.kind.replace('_', " "))
    }
}

/// The outcome of one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SubjectOutcome {
    /// The subject, as used in names.
    pub subject: String,
    /// The backup, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupName>,
    /// The outcome.
    pub outcome: Outcome,
    /// The class of the error that ended the work, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Class>,
    /// The size of the plaintext in bytes, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plaintext_bytes: Option<u64>,
    /// The size of the artifact in bytes, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_bytes: Option<u64>,
    /// The duration in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Parts of the subject that could not be captured, such as role passwords.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_captured: Vec<String>,
    /// The outcome at each destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<DestinationOutcome>,
}

/// The outcome at one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DestinationOutcome {
    /// The destination's name.
    pub destination: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The number of bytes uploaded or fetched.
    #[serde(default)]
    pub bytes: u64,
    /// The class of the error, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Class>,
    /// The digest of the manifest written there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
}

/// The messages of a run's errors, which may name hosts, folders and tables: encrypted if the job
/// encrypts its backups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Details {
    /// The message of the error that ended the run, with its causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The messages of other errors, by subject or destination.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub subjects: BTreeMap<String, Vec<String>>,
}

impl Details {
    /// Returns true if there are no messages.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the first message.
    pub fn first(&self) -> Option<String> {
        let other = || {
            let (subject, messages) = self.subjects.first_key_value()?;
            Some(format!("{subject}: {}", messages.first()?))
        };
        self.error.clone().or_else(other)
    }
}

/// The part of a report that contains its format.
#[derive(Deserialize)]
struct FormatField {
    format: u32,
}

impl RunReport {
    /// Parses a report.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        let wrong = |error: serde_json::Error| {
            Error::new(Stage::Catalog, Kind::Corrupt, name, "not a run report").because(error)
        };
        let FormatField { format } = serde_json::from_slice(bytes).map_err(wrong)?;
        if format > FORMAT {
            let message = format!("run report format {format} is not supported, only formats up to {FORMAT}");
            return Err(
                Error::new(Stage::Catalog, Kind::Refused, name, message).hint("use a newer version of Longshore")
            );
        }
        serde_json::from_slice(bytes).map_err(wrong)
    }

    /// Returns the stored form of the report.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        to_bytes(self, &self.id)
    }
}

/// Returns the stored form: formatted JSON.
fn to_bytes(value: &impl Serialize, id: &Id) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| {
        Error::new(Stage::Catalog, Kind::Failed, id.to_string(), "cannot write the run report").because(error)
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

impl Details {
    /// Returns the stored form of the details.
    pub fn to_bytes(&self, id: &Id) -> Result<Vec<u8>> {
        to_bytes(self, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_format_1_round_trips() {
        let text = include_str!("../testdata/run-report-1.json");
        let report = RunReport::from_bytes("x", text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(report.to_bytes().unwrap()).unwrap(), text);
    }

    #[test]
    fn schema_matches_the_types() {
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(RunReport)).unwrap() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/run-report.schema.json");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, schema, "rerun the test with UPDATE_SCHEMA=1 and review the difference");
    }

    #[test]
    fn refuses_reports_of_newer_formats() {
        let error = RunReport::from_bytes("x", br#"{"format":2,"new":true}"#).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert_eq!(RunReport::from_bytes("x", b"{").unwrap_err().kind(), Kind::Corrupt);
    }
}
