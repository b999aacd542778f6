//! The result of a run, for the command line and as JSON.

use chrono::{DateTime, Utc};
use longshore_core::Result;
use longshore_core::compress::CompressionStats;
use longshore_core::difference::Difference;
use longshore_core::discovery::NotCaptured;
use longshore_core::event::{DestinationResult, Event, Observer, Scope, SubjectResult};
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::manifest::Verification;
use longshore_core::meter::Digest;
use longshore_core::run_report::Class;
use longshore_core::subject::Subject;
use serde::Serialize;

use crate::error_report::ErrorReport;
use crate::prune::Pruned;

/// The result of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The name of the job.
    pub job: String,
    /// The run's id.
    pub run: String,
    /// The time that all backups of the run carry.
    pub time: Timestamp,
    /// The time at which the run ended.
    pub finished: DateTime<Utc>,
    /// The result of each subject, in the order in which the copies ended.
    pub artifacts: Vec<ArtifactReport>,
    /// Destinations that could not take part from the start.
    pub left_out: Vec<DestinationReport>,
    /// Parts of the cluster that no backup of the run contains.
    pub not_captured: Vec<NotCaptured>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// The result of retention at each destination.
    pub pruned: Vec<Pruned>,
}

/// The result of copying one subject.
#[derive(Debug, Serialize)]
pub struct ArtifactReport {
    /// The subject that was copied.
    pub subject: Subject,
    /// The backup's name, if a backup was made.
    pub name: Option<BackupName>,
    /// The number of bytes that the dump program wrote.
    pub plaintext_bytes: u64,
    /// The number of bytes stored at each destination.
    pub sealed_bytes: u64,
    /// The duration in seconds.
    pub seconds: f64,
    /// The cost of compression, if Longshore compressed.
    pub compression: Option<CompressionCost>,
    /// The verifiers of the dump, with their results.
    pub verified: Vec<Verification>,
    /// True for a base backup that contains only the changes since an earlier one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub incremental: bool,
    /// The difference from a full backup that was stored; absent for a full backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// The result at each destination.
    pub destinations: Vec<DestinationReport>,
    /// Parts of the subject that could not be captured.
    pub not_captured: Vec<String>,
    /// Warnings of the dump program.
    pub warnings: Vec<String>,
    /// The error of the dump, if it failed: then no destination has the backup.
    pub error: Option<ErrorReport>,
    /// The class of the error.
    #[serde(skip)]
    pub class: Option<Class>,
}

/// The cost of compression.
#[derive(Debug, Serialize)]
pub struct CompressionCost {
    /// The lowest zstd level used.
    pub lowest_level: i32,
    /// The highest zstd level used.
    pub highest_level: i32,
    /// The seconds that the dump waited for compression. Other compression work ran while the
    /// pipeline waited for the dump.
    pub held_up_seconds: f64,
}

impl From<CompressionStats> for CompressionCost {
    fn from(CompressionStats { level, dump_wait }: CompressionStats) -> Self {
        Self { lowest_level: level, highest_level: level, held_up_seconds: dump_wait.as_secs_f64() }
    }
}

/// The result of an upload to a destination.
#[derive(Debug, Serialize)]
pub struct DestinationReport {
    /// The destination's name.
    pub destination: String,
    /// The number of bytes that the destination received.
    pub bytes: u64,
    /// The duration in seconds.
    pub seconds: f64,
    /// The destination that the backup was copied from, if the first upload failed and the backup
    /// was copied at the end of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caught_up_from: Option<String>,
    /// The error, if the upload failed.
    pub error: Option<ErrorReport>,
    /// The class of the error.
    #[serde(skip)]
    pub class: Option<Class>,
    /// The digest of the manifest stored at the destination.
    #[serde(skip)]
    pub manifest: Option<Digest>,
}

impl DestinationReport {
    /// Returns the result in the form of an event.
    fn event(&self) -> DestinationResult<'_> {
        DestinationResult { destination: &self.destination, seconds: self.seconds, failed: self.error.is_some() }
    }

    /// Creates the report of a result.
    pub fn new(destination: &str, bytes: u64, seconds: f64, result: &Result<()>) -> Self {
        let error = result.as_ref().err();
        Self {
            destination: destination.to_owned(),
            bytes,
            seconds,
            caught_up_from: None,
            error: error.map(ErrorReport::from),
            class: error.map(Class::from),
            manifest: None,
        }
    }
}

/// The overall outcome of a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything succeeded.
    Done,
    /// A part succeeded.
    Partial,
    /// Nothing succeeded.
    Failed,
}

impl ArtifactReport {
    /// Notifies the observer of the run that the copy of the subject ended.
    pub(crate) fn notify(&self, observer: &dyn Observer) {
        let destinations: Vec<_> = self.destinations.iter().map(DestinationReport::event).collect();
        let result = SubjectResult {
            plaintext_bytes: self.plaintext_bytes,
            sealed_bytes: self.sealed_bytes,
            destinations: &destinations,
            error: self.error.as_ref().map(|error| error.message.as_str()),
        };
        let event = &Event::SubjectFinished(result);
        observer.event(&Event::Scoped { scope: Scope::Subject(&self.subject), event });
    }

    /// Returns the outcome of the copy.
    pub fn outcome(&self) -> Outcome {
        let failed = self.destinations.iter().filter(|destination| destination.error.is_some()).count();
        match (&self.error, failed) {
            (None, 0) => Outcome::Done,
            (None, failed) if failed < self.destinations.len() => Outcome::Partial,
            _ => Outcome::Failed,
        }
    }
}

impl Report {
    /// Returns the outcome of the run.
    pub fn outcome(&self) -> Outcome {
        if self.artifacts.iter().all(|artifact| artifact.outcome() == Outcome::Failed) {
            return Outcome::Failed;
        }
        let whole = self.artifacts.iter().all(|artifact| artifact.outcome() == Outcome::Done)
            && self.left_out.is_empty()
            && self.pruned.iter().all(Pruned::succeeded);
        if whole { Outcome::Done } else { Outcome::Partial }
    }
}
