//! The owner of the series that a policy applies to.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_catalog::catalog::{Catalog, Series};
use longshore_config::{Adoption, Job};
use longshore_retention::{History, Policy};

use super::removable::Removable;
use crate::series_end;

/// The time without a new file after which an adopted series counts as ended: Longshore cannot know
/// when another program runs.
const ADOPTED_IDLE: TimeDelta = TimeDelta::days(35);

/// The owner of a policy's series: a job, or another program whose files were adopted.
#[derive(Clone, Copy)]
pub(super) enum Owner<'a> {
    Job(&'a Job, &'a Policy),
    Adoption(&'a Adoption),
    /// An operator who removes one backup of this job.
    Operator(&'a str, &'a Policy),
}

impl<'a> Owner<'a> {
    /// Returns the name of the job or adopt.
    pub(super) fn name(self) -> &'a str {
        match self {
            Self::Job(job, _) => &job.name,
            Self::Operator(job, _) => job,
            Self::Adoption(adoption) => &adoption.adopt.name,
        }
    }

    /// Returns the job, unless the owner is an adoption or a person.
    pub(super) fn job(self) -> Option<&'a Job> {
        match self {
            Self::Job(job, _) => Some(job),
            Self::Adoption(_) | Self::Operator(..) => None,
        }
    }

    /// Returns the policy.
    pub(super) fn policy(self) -> &'a Policy {
        match self {
            Self::Job(_, policy) | Self::Operator(_, policy) => policy,
            Self::Adoption(adoption) => &adoption.policy,
        }
    }

    /// Returns true if the owner makes the backups of a series of backups with manifests.
    pub(super) fn makes(self, series: &Series) -> bool {
        match self {
            Self::Job(job, _) => series.job == job.name && series.cluster == job.site.cluster.name,
            Self::Adoption(_) | Self::Operator(..) => false,
        }
    }

    /// Returns the owner's series at a destination, with their backups.
    pub(super) fn series<'c>(self, catalog: &'c Catalog) -> Vec<(&'c Series, Vec<Removable<'c>>)> {
        match self {
            Self::Job(..) => {
                let own = catalog.series.iter().filter(|(series, _)| self.makes(series));
                own.map(|(series, backups)| (series, backups.iter().map(Removable::Backup).collect())).collect()
            }
            Self::Operator(..) => Vec::new(),
            Self::Adoption(adoption) => {
                let own = catalog.adopted.iter().filter(|(series, _)| series.job == adoption.adopt.name);
                own.map(|(series, files)| (series, files.iter().map(Removable::Adopted).collect())).collect()
            }
        }
    }

    /// Returns, for each history that has ended while others at the destination continue, the time
    /// of its last backup.
    pub(super) fn ended(
        self,
        catalog: &Catalog,
        histories: &[History],
        now: DateTime<Utc>,
    ) -> Vec<Option<DateTime<Utc>>> {
        let made = || catalog.series.iter().filter(|(series, _)| self.makes(series)).flat_map(|(_, backups)| backups);
        let since = match self {
            Self::Job(..) | Self::Operator(..) => series_end::newest_complete_run(made()),
            Self::Adoption(_) => Some(now - ADOPTED_IDLE),
        };
        let newest = |history: &History| history.backups.iter().map(|backup| backup.time).max();
        histories.iter().map(|history| series_end::ended(newest(history), since)).collect()
    }
}
