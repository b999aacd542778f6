//! Whose series a policy decides for.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_core::catalog::{Catalog, Series};
use longshore_core::retention::{History, Policy};

use super::removable::Removable;
use crate::config::{Adoption, Job};
use crate::series;

/// An adopted series of which nothing came for so long has ended: nothing tells when another program is at work.
const REST: TimeDelta = TimeDelta::days(35);

/// Who makes the series of a policy: a job, or another program whose files were adopted.
#[derive(Clone, Copy)]
pub(super) enum Owner<'a> {
    Job(&'a Job, &'a Policy),
    Adoption(&'a Adoption),
    /// A person, who removes one backup of this job.
    Person(&'a str, &'a Policy),
}

impl<'a> Owner<'a> {
    /// The job's name, or the adopt's.
    pub(super) fn name(self) -> &'a str {
        match self {
            Self::Job(job, _) => &job.name,
            Self::Person(job, _) => job,
            Self::Adoption(adoption) => &adoption.adopt.name,
        }
    }

    /// The job, if it is one.
    pub(super) fn job(self) -> Option<&'a Job> {
        match self {
            Self::Job(job, _) => Some(job),
            Self::Adoption(_) | Self::Person(..) => None,
        }
    }

    /// The policy.
    pub(super) fn policy(self) -> &'a Policy {
        match self {
            Self::Job(_, policy) | Self::Person(_, policy) => policy,
            Self::Adoption(adoption) => &adoption.policy,
        }
    }

    /// Whether it makes the backups of a series that have manifests.
    pub(super) fn makes(self, series: &Series) -> bool {
        match self {
            Self::Job(job, _) => series.job == job.name && series.cluster == job.site.cluster.name,
            Self::Adoption(_) | Self::Person(..) => false,
        }
    }

    /// Its series at a destination, and what they hold.
    pub(super) fn series<'c>(self, catalog: &'c Catalog) -> Vec<(&'c Series, Vec<Removable<'c>>)> {
        match self {
            Self::Job(..) => {
                let own = catalog.series.iter().filter(|(series, _)| self.makes(series));
                own.map(|(series, backups)| (series, backups.iter().map(Removable::Backup).collect())).collect()
            }
            Self::Person(..) => Vec::new(),
            Self::Adoption(adoption) => {
                let own = catalog.adopted.iter().filter(|(series, _)| series.job == adoption.adopt.name);
                own.map(|(series, files)| (series, files.iter().map(Removable::Adopted).collect())).collect()
            }
        }
    }

    /// When the last was made of each history that does not go on, though the others at the destination do.
    pub(super) fn ended(
        self,
        catalog: &Catalog,
        histories: &[History],
        now: DateTime<Utc>,
    ) -> Vec<Option<DateTime<Utc>>> {
        let made = || catalog.series.iter().filter(|(series, _)| self.makes(series)).flat_map(|(_, backups)| backups);
        let since = match self {
            Self::Job(..) | Self::Person(..) => series::newest_whole_run(made()),
            Self::Adoption(_) => Some(now - REST),
        };
        let newest = |history: &History| history.backups.iter().map(|backup| backup.time).max();
        histories.iter().map(|history| series::ended(newest(history), since)).collect()
    }
}
