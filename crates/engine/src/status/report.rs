//! The report of series and destinations.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use longshore_core::key::BackupName;
use serde::Serialize;

use super::differences::Differences;
use super::not_captured::NotCaptured;
use super::runs::JobStatus;
use crate::error_report::ErrorReport;

/// The state of all backups, and problems that need attention.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The time of the report.
    pub time: DateTime<Utc>,
    /// The problems that need attention, the worst first.
    pub attention: Vec<Issue>,
    /// Every job with the outcome of its last runs, ordered by cluster and name.
    pub jobs: Vec<JobStatus>,
    /// The parts of servers that the newest run of each job left out.
    pub not_captured: Vec<NotCaptured>,
    /// Every series, ordered by cluster, subject and job.
    pub series: Vec<SeriesStatus>,
    /// Every destination, ordered by name.
    pub destinations: Vec<DestinationStatus>,
    /// The archived WAL of every cluster at every destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wal: Vec<WalStatus>,
}

impl Status {
    /// Returns the level of the worst problem.
    pub fn level(&self) -> Level {
        self.attention.iter().map(|attention| attention.level).max().unwrap_or(Level::Good)
    }

    /// Adds problems, and orders all of them: the worst first.
    pub fn add(&mut self, issues: impl IntoIterator<Item = Issue>) {
        self.attention.extend(issues);
        self.attention.sort_by_key(Issue::order);
    }
}

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// No problem.
    Good,
    /// No setting states a limit.
    Unknown,
    /// An operator should examine the problem.
    Warning,
    /// A promise of the configuration is broken.
    Critical,
}

/// The kind of a problem, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IssueKind {
    /// No limit for the age of a series: neither its job nor the caller states one.
    #[serde(rename = "unjudged")]
    NoLimit,
    /// A fact that could not be determined, and that nothing else depends on.
    Unknown,
    /// A destination lacks the newest backup.
    Missing,
    /// A backup is dated in the future, and does not count.
    FutureDated,
    /// Marks without a permitted signature do not count.
    MarkIgnored,
    /// A hold was deleted or shortened at a destination.
    HoldLost,
    /// A destination has far fewer backups than the last prune left there, so nothing is pruned.
    BackupsLost,
    /// The newest base backup continues one that a destination does not show.
    ParentTrusted,
    /// Backups depend on a full backup that is at one destination, or not verified, or not drilled.
    FullAtRisk,
    /// A destination lacks archived WAL that another destination has.
    WalMissing,
    /// Two timelines have WAL after the newest base backup that does not belong to one history.
    WalForked,
    /// The newest backup lacks tables of the previous one.
    TablesVanished,
    /// A drill of the newest backup failed without showing whether the backup is damaged.
    DrillAgain,
    /// The newest backup is more than a third smaller than the previous ones.
    Shrunk,
    /// The last run of a job was ended by a signal.
    RunInterrupted,
    /// The last run of a job succeeded in part.
    RunPartial,
    /// A destination, or a manifest there, cannot be read.
    Unreadable,
    /// A destination lacks signed records that this host saw there, or has others in their place.
    HistoryChanged,
    /// Records without a permitted signature are refused.
    Untrusted,
    /// The newest good backup is older than permitted, or there is none.
    Stale,
    /// The last run of a job ended without a report.
    RunLost,
    /// The last run of a job failed, or was refused.
    RunFailed,
    /// A task that the service started failed, and left no report.
    RunUnreported,
    /// The service cannot evaluate the schedules, so it starts no job.
    ScheduleFailed,
    /// The service should receive the WAL of a cluster, and its receiver does not work.
    WalNotReceived,
    /// The newest base backup contains pages that are damaged in the source cluster.
    DamagedPages,
    /// No WAL was archived for longer than the configured age.
    WalStale,
    /// Archived WAL after the newest base backup is at no destination, or ambiguous.
    WalLost,
    /// The newest backup is damaged.
    Damaged,
}

impl IssueKind {
    /// Returns true if the problem concerns the last run of a job.
    pub fn is_of_run(self) -> bool {
        matches!(self, Self::RunInterrupted | Self::RunPartial | Self::RunLost | Self::RunFailed)
    }

    /// Returns true if the problem raises an alarm: a promise is broken, or not stated.
    pub fn alarms(self) -> bool {
        matches!(self, Self::RunInterrupted | Self::RunPartial)
            || matches!(self.level(), Level::Critical | Level::Unknown)
    }

    /// Returns the level of the problem.
    pub fn level(self) -> Level {
        match self {
            Self::NoLimit => Level::Unknown,
            Self::Unknown | Self::Missing | Self::FutureDated | Self::TablesVanished | Self::Shrunk => Level::Warning,
            Self::MarkIgnored | Self::HoldLost | Self::BackupsLost | Self::ParentTrusted => Level::Warning,
            Self::FullAtRisk | Self::WalMissing | Self::WalForked => Level::Warning,
            Self::RunInterrupted | Self::RunPartial | Self::DrillAgain => Level::Warning,
            Self::Unreadable | Self::HistoryChanged | Self::Untrusted | Self::Stale => Level::Critical,
            Self::RunLost | Self::RunFailed | Self::RunUnreported => Level::Critical,
            Self::ScheduleFailed | Self::WalNotReceived => Level::Critical,
            Self::DamagedPages | Self::WalStale | Self::WalLost | Self::Damaged => Level::Critical,
        }
    }
}

/// A problem that needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// The severity.
    pub level: Level,
    /// The kind of the problem.
    #[serde(rename = "matter")]
    pub kind: IssueKind,
    /// The series, as `CLUSTER/SUBJECT`, if the problem concerns one.
    pub series: Option<String>,
    /// The job, if the problem concerns one.
    pub job: Option<String>,
    /// The destination, if the problem concerns one.
    pub destination: Option<String>,
    /// The command, if the problem concerns a task that left no report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// The description of the problem.
    pub message: String,
}

impl Issue {
    /// Creates a problem that concerns no series, job or destination.
    pub fn new(kind: IssueKind, message: impl Into<String>) -> Self {
        Self {
            level: kind.level(),
            kind,
            series: None,
            job: None,
            destination: None,
            verb: None,
            message: message.into(),
        }
    }

    /// Returns the order of problems: the worst first.
    fn order(&self) -> impl Ord + use<> {
        (Reverse((self.level, self.kind)), self.destination.clone(), self.series.clone())
    }
}

/// One series, at all destinations.
#[derive(Debug, Serialize)]
pub struct SeriesStatus {
    /// The name of the cluster.
    pub cluster: String,
    /// The subject, as written in the names of backups.
    pub subject: String,
    /// The job that makes the backups.
    pub job: String,
    /// The level of the worst problem of the series.
    pub level: Level,
    /// The maximum age of the newest backup, in seconds.
    pub max_age_seconds: Option<i64>,
    /// The newest good backup at any destination.
    pub newest: Option<BackupAge>,
    /// The time of the last backup, if the series has ended while its job continues.
    pub ended: Option<DateTime<Utc>>,
    /// The time at which the next run is due.
    pub next_run: Option<DateTime<Utc>>,
    /// The destinations of the newest backup.
    pub copies: Copies,
    /// The growth of the backups.
    pub size: Option<Size>,
    /// The number of tables in the backups.
    pub tables: Option<Tables>,
    /// The duration of a restore.
    pub restore: Option<RestoreTime>,
    /// The backups that depend on one full backup, if the newest is a difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<Differences>,
    /// The longest time between two consecutive backups of the last 30 days, in seconds; `None` if
    /// this host did not make two.
    pub worst_gap_seconds: Option<i64>,
    /// The size of all backups at all destinations, in bytes.
    pub bytes: u64,
    /// The series at each destination.
    pub destinations: Vec<AtDestination>,
}

/// A backup, with its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupAge {
    /// The name of the backup.
    pub backup: BackupName,
    /// The time of the backup's run.
    pub time: DateTime<Utc>,
    /// The age in seconds.
    pub age_seconds: i64,
}

/// A backup, with the time of its last proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The backup.
    #[serde(flatten)]
    pub newest: BackupAge,
    /// The time of the last successful verification or drill.
    pub proved: DateTime<Utc>,
}

/// A series at one destination.
#[derive(Debug, Serialize)]
pub struct AtDestination {
    /// The name of the destination.
    pub destination: String,
    /// The number of backups.
    pub backups: usize,
    /// The size of the backups in bytes.
    pub bytes: u64,
    /// The newest good backup.
    pub newest: Option<BackupAge>,
    /// True if the newest good backup is older than permitted; `None` without a limit.
    pub stale: Option<bool>,
    /// The newest backup, if it is damaged.
    pub damaged: Option<BackupAge>,
    /// The number of backups that are known to be damaged.
    pub damaged_backups: usize,
    /// The number of backups with a hold.
    pub held_backups: usize,
    /// The newest backup that was verified at this destination.
    pub verified: Option<Proof>,
    /// The newest backup that was restored in a drill from this destination.
    pub drilled: Option<Proof>,
}

/// The destinations of the newest backup, and those that lack it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copies {
    /// The number of destinations that should have the backup.
    pub wanted: usize,
    /// The destinations with a good copy.
    pub present: Vec<String>,
    /// The readable destinations that should have the backup, but lack it.
    pub missing: Vec<String>,
    /// The destinations that should have the backup, but are unreadable or not in this
    /// configuration.
    pub unseen: Vec<String>,
}

/// The growth of a series' backups.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// The number of bytes of the newest good backup's dump.
    pub plaintext_bytes: u64,
    /// The number of bytes that the backup takes at a destination.
    pub sealed_bytes: u64,
    /// The median size of up to seven previous dumps in the same format, in bytes.
    pub median_plaintext_bytes: Option<u64>,
    /// The median size of these backups at a destination, in bytes.
    pub median_sealed_bytes: Option<u64>,
    /// True if the newest dump is smaller than two thirds of the median.
    pub shrunk: bool,
}

/// The number of tables in a series' backups.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Tables {
    /// The number in the newest good backup.
    pub now: u64,
    /// The number in the previous one.
    pub before: Option<u64>,
    /// The names of the tables that only the previous backup contains, if both records can
    /// be decrypted.
    pub vanished: Option<Vec<String>>,
}

/// The duration of a restore, as measured by drills.
#[derive(Debug, PartialEq, Serialize)]
pub struct RestoreTime {
    /// The duration in the last drill, in seconds.
    pub seconds: f64,
    /// The median of the previous drills, in seconds.
    pub median_seconds: Option<f64>,
    /// The drills, the oldest first.
    pub drills: Vec<DrillTime>,
}

/// The duration of a restore in one drill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DrillTime {
    /// The name of the backup.
    pub backup: BackupName,
    /// The destination that the backup was fetched from.
    pub destination: String,
    /// The time at which the drill ended.
    pub finished: DateTime<Utc>,
    /// The duration that a real restore would have had, in seconds.
    pub seconds: f64,
}

/// One destination.
#[derive(Debug, Serialize)]
pub struct DestinationStatus {
    /// The name of the destination.
    pub name: String,
    /// The number of series.
    pub series: usize,
    /// The number of backups.
    pub backups: usize,
    /// The number of unreadable manifests.
    pub unreadable: usize,
    /// The size of the backups in bytes.
    pub bytes: u64,
    /// The free space in bytes, if known.
    pub free_bytes: Option<u64>,
    /// The error, if the destination cannot be read.
    pub error: Option<ErrorReport>,
}

/// The archived WAL of a cluster at one destination.
#[derive(Debug, Serialize)]
pub struct WalStatus {
    /// The name of the cluster.
    pub cluster: String,
    /// The name of the destination.
    pub destination: String,
    /// PostgreSQL's system identifier of the cluster, as text: JSON's numbers are less exact.
    pub system_identifier: String,
    /// The newest timeline.
    pub timeline: u32,
    /// The last segment of that timeline.
    pub last_segment: String,
    /// The time at which it was stored, if the destination lists times.
    pub last_stored: Option<DateTime<Utc>>,
    /// The first moment to which the cluster can be recovered, at the end of a base backup.
    pub recoverable_from: Option<DateTime<Utc>>,
    /// The time at which the last segment for such a recovery was stored. Its transactions ended
    /// before.
    pub recoverable_until: Option<DateTime<Utc>>,
}
