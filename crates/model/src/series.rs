//! Series of backups.

use crate::manifest::Manifest;
use crate::subject::Subject;

/// All backups of one subject by one job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The cluster's name in the configuration.
    pub cluster: String,
    /// The subject of the backups.
    pub subject: Subject,
    /// The job that makes the backups.
    pub job: String,
}

impl Series {
    /// Returns the series of a backup.
    pub fn of(manifest: &Manifest) -> Self {
        Self { cluster: manifest.cluster.name.clone(), subject: manifest.subject.clone(), job: manifest.job.clone() }
    }
}
