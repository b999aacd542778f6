//! What is told of series and destinations.

use chrono::{DateTime, Utc};
use longshore_core::key::BackupName;
use serde::Serialize;

use super::not_captured::NotCaptured;
use super::runs::JobStatus;
use crate::problem::Problem;

/// What there is, and what needs attention.
#[derive(Debug, Serialize)]
pub struct Status {
    /// When it was looked at.
    pub time: DateTime<Utc>,
    /// What needs attention, the worst first.
    pub attention: Vec<Attention>,
    /// Every job, with how its last runs ended, in the order of clusters and names.
    pub jobs: Vec<JobStatus>,
    /// What the newest run of each job left out.
    pub not_captured: Vec<NotCaptured>,
    /// Every series, in the order of clusters, subjects and jobs.
    pub series: Vec<SeriesStatus>,
    /// Every destination, in the order of names.
    pub destinations: Vec<DestinationStatus>,
}

impl Status {
    /// How bad the worst is that needs attention.
    pub fn level(&self) -> Level {
        self.attention.iter().map(|attention| attention.level).max().unwrap_or(Level::Good)
    }
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It is as it should be.
    Good,
    /// Nothing states how it should be.
    Unknown,
    /// A person should look at it.
    Warning,
    /// What is promised does not hold now.
    Critical,
}

/// What it is that needs attention, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Matter {
    /// No term limits the age of a series: neither its job nor the caller states one.
    Unjudged,
    /// Something that could not be found out, and that nothing else depends on.
    Unknown,
    /// A destination lacks the newest backup.
    Missing,
    /// A backup is dated in the future, and counts for nothing.
    FutureDated,
    /// A hold was deleted at a destination, or shortened.
    HoldLost,
    /// A destination has far fewer backups than the last prune left there, and nothing is pruned.
    BackupsLost,
    /// Tables that were in the backup before are not in the newest.
    TablesVanished,
    /// A drill of the newest backup failed, and did not tell whether the backup was to blame.
    DrillAgain,
    /// The newest backup is smaller than those before it, by more than a third.
    Shrunk,
    /// The last run of a job was ended by a signal.
    RunInterrupted,
    /// The last run of a job succeeded in part.
    RunPartial,
    /// A destination, or a record in it, cannot be read.
    Unreadable,
    /// The newest good backup is older than it may be, or there is none.
    Stale,
    /// The last run of a job ended without a report.
    RunLost,
    /// The last run of a job failed, or was refused.
    RunFailed,
    /// The newest backup is damaged.
    Damaged,
}

impl Matter {
    /// Whether it is about the last run of a job.
    pub fn is_of_run(self) -> bool {
        matches!(self, Self::RunInterrupted | Self::RunPartial | Self::RunLost | Self::RunFailed)
    }

    /// Whether it is an alarm: the promise does not hold, or nothing tells that it does.
    pub fn alarms(self) -> bool {
        matches!(self, Self::RunInterrupted | Self::RunPartial)
            || matches!(self.level(), Level::Critical | Level::Unknown)
    }

    /// How bad it is.
    pub fn level(self) -> Level {
        match self {
            Self::Unjudged => Level::Unknown,
            Self::Unknown | Self::Missing | Self::FutureDated | Self::TablesVanished | Self::Shrunk => Level::Warning,
            Self::HoldLost | Self::BackupsLost => Level::Warning,
            Self::RunInterrupted | Self::RunPartial | Self::DrillAgain => Level::Warning,
            Self::Unreadable | Self::Stale | Self::RunLost | Self::RunFailed | Self::Damaged => Level::Critical,
        }
    }
}

/// Something that needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// How bad it is.
    pub level: Level,
    /// What it is.
    pub matter: Matter,
    /// The series, as `CLUSTER/SUBJECT`, where it is about one.
    pub series: Option<String>,
    /// The job, where it is about one.
    pub job: Option<String>,
    /// The destination, where it is about one.
    pub destination: Option<String>,
    /// What is the matter, in words.
    pub message: String,
}

/// One series, wherever it lies.
#[derive(Debug, Serialize)]
pub struct SeriesStatus {
    /// The cluster.
    pub cluster: String,
    /// The subject, as it stands in names.
    pub subject: String,
    /// The job that makes it.
    pub job: String,
    /// How bad the worst is that needs attention.
    pub level: Level,
    /// How old the newest backup may be, in seconds.
    pub max_age_seconds: Option<i64>,
    /// The newest good backup, wherever it lies.
    pub newest: Option<Newest>,
    /// When the last was made, if its job goes on without it.
    pub ended: Option<DateTime<Utc>>,
    /// When the next run is due.
    pub next_run: Option<DateTime<Utc>>,
    /// Where the newest backup is, and where it should be.
    pub copies: Copies,
    /// How its backups grow.
    pub size: Option<Size>,
    /// How many tables there are in them.
    pub tables: Option<Tables>,
    /// How long a restore takes.
    pub restore: Option<RestoreTime>,
    /// What it takes in all destinations, in bytes.
    pub bytes: u64,
    /// How it is at each destination.
    pub destinations: Vec<AtDestination>,
}

/// A backup, and how old it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Newest {
    /// Its name.
    pub backup: BackupName,
    /// The time of its run.
    pub time: DateTime<Utc>,
    /// Since then, in seconds.
    pub age_seconds: i64,
}

/// A backup, and when it was proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proved {
    /// The backup.
    #[serde(flatten)]
    pub newest: Newest,
    /// When it was proved last.
    pub proved: DateTime<Utc>,
}

/// A series at one destination.
#[derive(Debug, Serialize)]
pub struct AtDestination {
    /// The destination.
    pub destination: String,
    /// How many backups there are.
    pub backups: usize,
    /// What they take, in bytes.
    pub bytes: u64,
    /// The newest good one.
    pub newest: Option<Newest>,
    /// Whether that is older than it may be; nothing where nobody says how old it may be.
    pub stale: Option<bool>,
    /// The newest one, if it is damaged.
    pub damaged: Option<Newest>,
    /// The newest that was read back whole from there.
    pub verified: Option<Proved>,
    /// The newest that was restored in a drill from there.
    pub drilled: Option<Proved>,
}

/// Where the newest backup is, and where it should be.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copies {
    /// How many there should be.
    pub wanted: usize,
    /// The destinations where it is good.
    pub present: Vec<String>,
    /// The destinations that should have it, can be read, and lack it.
    pub missing: Vec<String>,
    /// The destinations that should have it, of which nothing is known: they cannot be read, or are not in this configuration.
    pub unseen: Vec<String>,
}

/// How the backups of a series grow.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// What the newest good backup's dump has, in bytes.
    pub plaintext_bytes: u64,
    /// What it takes in a destination, in bytes.
    pub sealed_bytes: u64,
    /// The median of up to seven dumps before it of the same form, in bytes.
    pub median_plaintext_bytes: Option<u64>,
    /// What the median of those takes in a destination, in bytes.
    pub median_sealed_bytes: Option<u64>,
    /// Whether it is smaller than two thirds of them.
    pub shrunk: bool,
}

/// How many tables the backups of a series hold.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Tables {
    /// In the newest good backup.
    pub now: u64,
    /// In the one before it.
    pub before: Option<u64>,
    /// The names of those that were in the one before and are not in the newest, where both records can be opened.
    pub vanished: Option<Vec<String>>,
}

/// How long a restore takes, by drills.
#[derive(Debug, PartialEq, Serialize)]
pub struct RestoreTime {
    /// By the last drill, in seconds.
    pub seconds: f64,
    /// The median of the drills before it, in seconds.
    pub median_seconds: Option<f64>,
    /// The drills, the oldest first.
    pub drills: Vec<DrillTime>,
}

/// How long a restore took in one drill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DrillTime {
    /// The backup.
    pub backup: BackupName,
    /// The destination that it was taken from.
    pub destination: String,
    /// When the drill ended.
    pub finished: DateTime<Utc>,
    /// What a restore in earnest would have taken, in seconds.
    pub seconds: f64,
}

/// One destination.
#[derive(Debug, Serialize)]
pub struct DestinationStatus {
    /// Its name.
    pub name: String,
    /// How many series there are.
    pub series: usize,
    /// How many backups.
    pub backups: usize,
    /// How many records of backups cannot be read.
    pub unreadable: usize,
    /// What the backups take, in bytes.
    pub bytes: u64,
    /// What can still be written, in bytes, where that is told.
    pub free_bytes: Option<u64>,
    /// Why it cannot be read.
    pub error: Option<Problem>,
}
