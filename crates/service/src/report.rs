//! What became of a run: for people by way of the command line, for programs as JSON.

use chrono::{DateTime, Utc};
use longshore_core::Result;
use longshore_core::compress::Effort;
use longshore_core::key::{BackupName, Stamp};
use longshore_core::manifest::Verification;
use longshore_core::meter::Digest;
use longshore_core::run_report::Class;
use longshore_core::subject::Subject;
use longshore_core::survey::NotCaptured;
use serde::Serialize;

use crate::problem::Problem;
use crate::prune::Pruned;

/// What became of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The job.
    pub job: String,
    /// The run's id.
    pub run: String,
    /// The time that all its backups carry.
    pub time: Stamp,
    /// When it ended.
    pub finished: DateTime<Utc>,
    /// Everything that it was to copy, in the order in which it ended.
    pub artifacts: Vec<ArtifactReport>,
    /// Destinations that could not take part from the start.
    pub left_out: Vec<DestinationReport>,
    /// Parts of the cluster that no backup of the run contains.
    pub not_captured: Vec<NotCaptured>,
    /// What its owner should hear.
    pub warnings: Vec<String>,
    /// What retention did.
    pub pruned: Vec<Pruned>,
}

/// What became of one artifact.
#[derive(Debug, Serialize)]
pub struct ArtifactReport {
    /// What it is a copy of.
    pub subject: Subject,
    /// The backup's name, if there is one.
    pub name: Option<BackupName>,
    /// What the dump program wrote, in bytes.
    pub plaintext_bytes: u64,
    /// What lies in the destinations, in bytes.
    pub sealed_bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// What compression cost, where it was ours.
    pub compression: Option<Compressed>,
    /// Who judged it.
    pub verified: Vec<Verification>,
    /// What became of it at each destination.
    pub destinations: Vec<DestinationReport>,
    /// What could not be captured.
    pub not_captured: Vec<String>,
    /// What the dump program warned of.
    pub warnings: Vec<String>,
    /// Why the dump failed, if it did: then it is at no destination.
    pub error: Option<Problem>,
    /// The class of that error.
    #[serde(skip)]
    pub class: Option<Class>,
}

/// What compression cost.
#[derive(Debug, Serialize)]
pub struct Compressed {
    /// zstd's lowest level on the way.
    pub lowest_level: i32,
    /// And its highest.
    pub highest_level: i32,
    /// How long the dump waited for it: the rest of its work was done while others waited for the dump.
    pub held_up_seconds: f64,
}

impl From<Effort> for Compressed {
    fn from(Effort { levels: (lowest_level, highest_level), held_up }: Effort) -> Self {
        Self { lowest_level, highest_level, held_up_seconds: held_up.as_secs_f64() }
    }
}

/// What became of something at a destination.
#[derive(Debug, Serialize)]
pub struct DestinationReport {
    /// The destination's name.
    pub destination: String,
    /// How many bytes of the artifact it took.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Where it was copied from, if it did not come here with the others and was brought at the end of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caught_up_from: Option<String>,
    /// Why it failed, if it did.
    pub error: Option<Problem>,
    /// The class of that error.
    #[serde(skip)]
    pub class: Option<Class>,
    /// The digest of the manifest that was made there.
    #[serde(skip)]
    pub manifest: Option<Digest>,
}

impl DestinationReport {
    /// The report of a result.
    pub fn new(destination: &str, bytes: u64, seconds: f64, result: &Result<()>) -> Self {
        let error = result.as_ref().err();
        Self {
            destination: destination.to_owned(),
            bytes,
            seconds,
            caught_up_from: None,
            error: error.map(Problem::from),
            class: error.map(Class::from),
            manifest: None,
        }
    }
}

/// How a piece of work ended as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All of it succeeded.
    Done,
    /// Some of it succeeded.
    Partial,
    /// None of it did.
    Failed,
}

impl ArtifactReport {
    /// How it ended.
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
    /// How the run ended.
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
