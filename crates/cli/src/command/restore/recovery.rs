//! The recovery of a base backup from the WAL archive, from the options of the command.

use std::path::{Path, PathBuf};

use longshore_config::{Config, WalArchive};
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{DataDirectory, Identities, Target};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::catalogs::parse_time;
use longshore_engine::encryption_policy::EncryptionPolicy;
use longshore_engine::restore::{Choice, Chosen, Globals, Restorer, Selector, choose};
use longshore_engine::wal::recovery::{
    RecoveryPlan, RecoveryRequest, RecoveryTarget, StagedRecovery, TargetAction, continues,
};

use crate::args::Restore;
use crate::command::Context;
use crate::time_zone::TimeZone;

/// The word for the end of the archive.
pub(in crate::command) const LATEST: &str = "latest";

/// The recovery that the command requests, and the archive to recover from.
pub(super) struct Requested<'a> {
    request: RecoveryRequest,
    archive: &'a WalArchive,
    /// True if the command names a certain backup.
    is_named: bool,
    scratch_dir: Option<PathBuf>,
}

impl<'a> Requested<'a> {
    /// Returns the recovery, if the options request one.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Usage`] if the cluster has no archive.
    pub(super) fn of(args: &Restore, config: &'a Config) -> Result<Option<Self>> {
        // The cluster, the word "base", and the name of the file of a certain backup.
        let words = args.subject.as_deref().filter(|_| args.base);
        let cluster = words.and_then(|words| words.split('/').next());
        let has_archive = cluster.is_some_and(|cluster| config.wal.contains_key(cluster));
        let target = match (&args.at, args.lsn, args.xid, &args.name) {
            (Some(at), ..) if at == LATEST => Some(RecoveryTarget::Latest),
            // Without an archive, --at chooses a backup.
            (Some(at), ..) if args.base && has_archive && args.to_dir.is_some() => {
                Some(RecoveryTarget::Time(parse_time(at)?))
            }
            (_, Some(lsn), ..) => Some(RecoveryTarget::Lsn(lsn)),
            (_, _, Some(xid), _) => Some(RecoveryTarget::Xid(xid)),
            (_, _, _, Some(name)) => Some(RecoveryTarget::Name(name.clone())),
            _ if args.immediate => Some(RecoveryTarget::Immediate),
            _ => None,
        };
        let usage = |message: &str, hint: String| {
            Err(Error::new(Stage::Config, Kind::Usage, cluster.unwrap_or_default(), message).hint(hint))
        };
        match target {
            None if args.timeline.is_some() || args.pause => {
                usage("there is no target of the recovery", format!("add --at TIME, or --at {LATEST}"))
            }
            None => Ok(None),
            Some(_) if !args.base => usage("only base backups are recovered from WAL", "add --base".to_owned()),
            Some(_) if args.to_dir.is_none() => {
                usage("recovery needs a data directory", "pass --to-dir DIR".to_owned())
            }
            Some(target) => {
                let action = if args.pause { TargetAction::Pause } else { TargetAction::Promote };
                Ok(Some(Self {
                    request: RecoveryRequest { target, timeline: args.timeline, action },
                    archive: config.wal_archive(cluster)?,
                    is_named: words.is_some_and(|words| words.split('/').count() > 2),
                    scratch_dir: args.scratch_dir.clone(),
                }))
            }
        }
    }

    /// Chooses the newest backup from which the target can be reached, unless one is named.
    pub(super) async fn choose(
        &self,
        args: &Restore,
        context: &Context,
        identities: &Identities,
        policy: &EncryptionPolicy<'_>,
    ) -> Result<Choice> {
        let mut at = match self.request.target {
            RecoveryTarget::Time(time) if !self.is_named => Some(time),
            _ => None,
        };
        let mut crash_consistent = None;
        loop {
            let selector = Selector::Subject {
                words: args.subject.clone().unwrap_or_default(),
                job: args.job.clone(),
                at,
                globals: Globals::Leave,
            };
            let choice = choose(&context.config, &selector, args.from.as_deref(), policy).await;
            let choice = choice.map_err(|error| match &crash_consistent {
                Some(name) => error.hint(format!(
                    "{name} is crash-consistent, so archived WAL cannot be added: restore it without a target"
                )),
                None => error,
            })?;
            let Some(manifest) = choice.backups.first().map(|chosen| &chosen.backup.manifest) else {
                return Ok(choice);
            };
            if self.is_named || self.fits(context, identities, manifest).await? {
                return Ok(choice);
            }
            if !manifest.begins_recovery() {
                crash_consistent = crash_consistent.or(manifest.name().ok());
            }
            // A name has the precision of seconds.
            at = Some(manifest.time.time() - chrono::TimeDelta::seconds(1));
        }
    }

    /// Returns true if archived WAL can be added to a backup, it is consistent before the target,
    /// and the requested timeline continues it.
    async fn fits(&self, context: &Context, identities: &Identities, manifest: &Manifest) -> Result<bool> {
        let is_before = match (&self.request.target, &manifest.base) {
            _ if !manifest.begins_recovery() => false,
            (RecoveryTarget::Time(time), _) => manifest.recoverable_from() <= *time,
            (RecoveryTarget::Lsn(lsn), Some(facts)) => facts.stop_lsn <= *lsn,
            _ => true,
        };
        let own = manifest.base.as_ref().map(|facts| facts.timeline);
        match self.request.timeline {
            Some(timeline) if is_before && own != Some(timeline) => {
                let config = (&*context.config, &context.registry, self.archive);
                continues(config, identities, manifest, timeline).await
            }
            _ => Ok(is_before),
        }
    }

    /// Checks the target, fetches all WAL, and adds the recovery to the target. The WAL exists on
    /// this host as long as the result.
    pub(super) async fn stage(
        &self,
        context: &Context,
        identities: &Identities,
        chosen: &[Chosen],
        restorer: &Restorer<'_>,
        directory: &DataDirectory,
    ) -> Result<(StagedRecovery, Target)> {
        let plan = self.plan(context, identities, chosen).await?;
        plan.warnings().iter().for_each(|warning| context.output.warning(warning));
        restorer.check_target(chosen).await?;
        let scratch_dir = self.scratch_dir.clone().unwrap_or_else(|| existing_folder_above(&directory.path));
        context.output.note(format_args!("fetching and checking WAL in {}", scratch_dir.display()));
        let staged = plan.stage(&scratch_dir).await?;
        context.output.note(self.describe(&staged));
        let target = Target::DataDirectory(DataDirectory { recovery: Some(staged.recovery()), ..directory.clone() });
        Ok((staged, target))
    }

    /// Plans the recovery.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if the archive lacks a segment or cannot reach the target.
    pub(super) async fn plan<'p>(
        &'p self,
        context: &'p Context,
        identities: &'p Identities,
        chosen: &[Chosen],
    ) -> Result<RecoveryPlan<'p>> {
        let missing = || Error::new(Stage::Restore, Kind::NotFound, &self.archive.cluster, "no base backup was chosen");
        let manifest = &chosen.first().ok_or_else(missing)?.backup.manifest;
        RecoveryPlan::new((&context.config, &context.registry, self.archive), identities, manifest, &self.request).await
    }

    /// Describes what the server will do.
    fn describe(&self, staged: &StagedRecovery) -> String {
        let last = staged.last_transaction.map(|time| format!(", whose last transaction ended at {}", zoned(time)));
        let last = last.unwrap_or_default();
        let (timeline, segments) = (staged.timeline, staged.segments);
        let end = match &self.request.target {
            RecoveryTarget::Latest | RecoveryTarget::Between(_) => {
                format!("the end of the archive, {}{last}", staged.last_record)
            }
            RecoveryTarget::Immediate => "the end of the backup".to_owned(),
            RecoveryTarget::Time(time) => format!("the time {}", zoned(*time)),
            RecoveryTarget::Lsn(lsn) => format!("the position {lsn}"),
            RecoveryTarget::Xid(xid) => format!("the transaction {xid}, if the WAL contains it"),
            RecoveryTarget::Name(name) => format!("the restore point \"{name}\""),
        };
        let noun = if segments == 1 { "segment" } else { "segments" };
        format!("the server will recover to {end}, on timeline {timeline}, from {segments} {noun} of WAL")
    }
}

fn zoned(time: chrono::DateTime<chrono::Utc>) -> String {
    TimeZone::of(false).exact(time)
}

/// Returns the nearest folder above a path that exists.
fn existing_folder_above(path: &Path) -> PathBuf {
    let above = path.ancestors().skip(1).find(|folder| folder.is_dir());
    above.unwrap_or(Path::new("/")).to_owned()
}
