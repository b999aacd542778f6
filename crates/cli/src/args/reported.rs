//! The verbs that write run reports.

use super::{Verb, adopt};

/// A verb that changes something and writes a run report.
#[derive(Debug)]
pub(crate) struct ReportedVerb {
    /// The verb.
    pub(crate) verb: &'static str,
    /// The job of the verb.
    pub(crate) job: ReportedJob,
}

/// The job of a verb.
#[derive(Debug)]
pub(crate) enum ReportedJob {
    /// The job of this name, or the only job of the configuration.
    Required(Option<String>),
    /// The job of this name, if the configuration has it; without a name, no job.
    Optional(Option<String>),
}

impl Verb {
    /// Returns the subject of the run report, or `None` if the verb changes nothing.
    pub(crate) fn reported(&self) -> Option<ReportedVerb> {
        let (verb, job) = match self {
            Self::Run(run) => ("run", ReportedJob::Required(run.job.clone())),
            Self::Drill(drill) => ("drill", ReportedJob::Required(drill.job.clone())),
            Self::Sync(sync) if !sync.dry_run => ("sync", ReportedJob::Required(sync.job.clone())),
            Self::Prune(prune) if !prune.dry_run && !prune.explain => {
                ("prune", ReportedJob::Optional(prune.job.clone()))
            }
            Self::Restore(restore) if !restore.list && !restore.plan => {
                ("restore", ReportedJob::Optional(restore.job.clone()))
            }
            Self::Rekey(rekey) if !rekey.dry_run => match rekey.all || rekey.backup.is_some() {
                true => ("rekey", ReportedJob::Optional(None)),
                false => ("rekey", ReportedJob::Required(rekey.job.clone())),
            },
            Self::Verify(verify) => ("verify", ReportedJob::Optional(verify.job.clone())),
            Self::Hold(_) => ("hold", ReportedJob::Optional(None)),
            Self::Unhold(_) => ("unhold", ReportedJob::Optional(None)),
            Self::Mark(_) => ("mark", ReportedJob::Optional(None)),
            Self::Remove(remove) if !remove.dry_run => ("remove", ReportedJob::Optional(None)),
            Self::Sync(_) | Self::Prune(_) | Self::Restore(_) | Self::Remove(_) | Self::Rekey(_) => return None,
            Self::Init(_) | Self::Check(_) | Self::List(_) | Self::Status(_) | Self::Inspect(_) => return None,
            Self::Adopt(adopt::Adopt::Take(take)) if !take.dry_run => ("take", ReportedJob::Required(take.job.clone())),
            Self::Adopt(_)
            | Self::Trust(_)
            | Self::Retention(_)
            | Self::Schedule(_)
            | Self::Wal(_)
            | Self::Notify(_)
            | Self::Serve(_) => return None,
            Self::Config(_) | Self::Plugin(_) | Self::Completions { .. } | Self::Man { .. } => return None,
        };
        Some(ReportedVerb { verb, job })
    }
}
