//! The drill of a base backup: its files are unpacked into a scratch folder, and a server of the
//! drill recovers them.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use chrono::{SecondsFormat, SubsecRound, Utc};
use longshore_core::base::WalLocation;
use longshore_core::check::Outcome;
use longshore_core::drill::{Drill, Phase, Verdict};
use longshore_core::event::{Event, Observer, Step, of_backup, report_reads};
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{DataDirectory, Recovery, Target};
use longshore_core::stage::{ScratchCluster, ScratchFolder};
use longshore_core::{Error, Kind, Result, Stage};
use tracing::Instrument;

use super::artifact::{self, save};
use super::examination::{conclude, failed, mismatch_comparison, new_record};
use super::{DrillCandidate, DrillSource, Driller, Report, classify, mark_result, seconds};
use crate::error_report::ErrorReport;
use crate::headers::decryptor;
use crate::lease::Lease;
use crate::link::{self, Link, LinkBytes};
use crate::restore::restore_stage;
use crate::wal::recovery::{RecoveryPlan, RecoveryRequest, RecoveryTarget, StagedRecovery, TargetAction};

/// The note of each drill of a base backup.
const OWN_SETTINGS: &str = "the server of the drill has settings of its own: it uses neither the configuration of the source nor its \
     shared_preload_libraries";

impl Driller<'_> {
    /// Drills a base backup in a cluster of its own. Always removes the cluster.
    pub(super) async fn drill_base(
        &self,
        source: DrillSource<'_>,
        candidate: &DrillCandidate,
        report: &mut Report,
    ) -> Result<()> {
        let backup = &candidate.backup;
        self.observer.event(&Event::StepStarted(Step::PrepareScratch));
        let begun = Instant::now();
        let folder = self.scratch(source.job)?.make_folder(&candidate.wanted()).await?;
        report.scratch_seconds += seconds(begun);
        self.warn(folder.warnings(), report);
        report.notes.push(OWN_SETTINGS.to_owned());
        let started = Utc::now().trunc_subsecs(3);
        let mut drill = new_record(source, backup, started, folder.description(), folder.version());
        let subject = &backup.manifest.subject;
        drill.comparisons.extend(candidate.mismatches.iter().map(|mismatch| mismatch_comparison(subject, mismatch)));
        let observer = of_backup(&self.observer, backup.name.clone());
        observer.event(&Event::BytesPlanned(candidate.plaintext_bytes()));
        observer.event(&Event::StepStarted(Step::Restore { destination: source.destination }));
        let span = tracing::info_span!(target: "longshore::drill", "drill", backup = %backup.name);
        let staged = self.stage_wal(source, &backup.manifest, &folder.folder(), &mut drill.phases, report).await;
        let staged = match staged {
            Ok(staged) => staged,
            // WAL that is missing or damaged is no damage of the backup.
            Err(error) => {
                report.left = folder.remove().await.err().as_ref().map(ErrorReport::from);
                return Err(error);
            }
        };
        let recovery = staged.as_ref().map(StagedRecovery::recovery);
        let has_recovery = recovery.is_some();
        let target = (folder, recovery);
        let restoring = self.restore_files(source, candidate, target, &mut drill.phases, report, Arc::clone(&observer));
        match restoring.instrument(span).await {
            Ok(cluster) => {
                observer.event(&Event::StepStarted(Step::Examine { subject }));
                let read = self.read_cluster(source.job, candidate, &*cluster, &mut drill, report).await;
                self.observer.event(&Event::StepStarted(Step::RemoveScratch));
                let removed = cluster.remove().await;
                read?;
                report.left = removed.err().as_ref().map(ErrorReport::from).or(report.left.take());
            }
            Err(error) => {
                let cause = if has_recovery { Cause::PerhapsWal } else { Cause::Backup };
                record_failure(&backup.manifest, &error, cause, &mut drill, report);
            }
        }
        conclude(&mut drill);
        if let Err(error) = mark_result(source, backup, &drill).await {
            report.unmarked.push(ErrorReport::from(&error));
        }
        report.drills.push(drill);
        Ok(())
    }

    /// Unpacks the files and starts a server on them, phase by phase. Removes the folder if this
    /// fails.
    async fn restore_files(
        &self,
        source: DrillSource<'_>,
        candidate: &DrillCandidate,
        (mut folder, recovery): (Box<dyn ScratchFolder>, Option<Recovery>),
        phases: &mut Vec<Phase>,
        report: &mut Report,
        observer: Arc<dyn Observer>,
    ) -> Result<Box<dyn ScratchCluster>> {
        // The lease extends to the backups that this one continues.
        let lease = Lease::take(source.store, &candidate.backup.name).await;
        let unpacked = self.unpack(source, candidate, (&mut *folder, recovery), phases, report, observer).await;
        lease.release().await;
        if let Err(error) = unpacked {
            report.left = folder.remove().await.err().as_ref().map(ErrorReport::from).or(report.left.take());
            return Err(error);
        }
        let begun = Instant::now();
        let cluster = folder.start().await?;
        phases.push(Phase { name: "start".to_owned(), seconds: seconds(begun), restores: true });
        Ok(cluster)
    }

    /// Fetches the backup and unpacks its files into the folder.
    async fn unpack(
        &self,
        source: DrillSource<'_>,
        candidate: &DrillCandidate,
        (folder, recovery): (&mut dyn ScratchFolder, Option<Recovery>),
        phases: &mut Vec<Phase>,
        report: &mut Report,
        observer: Arc<dyn Observer>,
    ) -> Result<()> {
        candidate.details.as_ref().map_err(Clone::clone)?;
        let manifest = &candidate.backup.manifest;
        if let Some(recovery) = &recovery {
            folder.recover(recovery).await?;
        }
        let target = Target::DataDirectory(DataDirectory {
            path: folder.data_directory(),
            tablespaces: folder.tablespaces(),
            recovery,
            ..DataDirectory::default()
        });
        let restorer = restore_stage(self.registry, &target, manifest)?;
        let findings = restorer.prepare(&[candidate.wanted()]).await?;
        let failed: Vec<_> = findings.iter().filter(|finding| finding.outcome == Outcome::Failed).collect();
        if let Some(first) = failed.first() {
            let messages = failed.iter().map(|finding| format!("{}: {}", finding.subject, finding.message));
            let message = "the scratch folder cannot take its files";
            let error = Error::new(Stage::Drill, Kind::Failed, manifest.subject.to_string(), message)
                .because(messages.collect::<Vec<_>>().join("\n"));
            return Err(first.remedy.iter().fold(error, |error, remedy| error.hint(remedy)));
        }
        let begun = Instant::now();
        let (mut links, mut files) = (Vec::new(), Vec::new());
        for (index, backup) in candidate.links().enumerate() {
            let name = format!("artifact-{index}");
            let file = save(source.store, &backup.manifest, &folder.folder(), &name).await?;
            let artifact = &backup.manifest.artifact.key;
            let decryptor = decryptor(self.registry, source.identities, backup, artifact, &[source.store]).await?;
            let bytes = LinkBytes::Fetched(file.clone());
            links.push(Link::new(self.registry, decryptor, backup, bytes, &observer)?);
            files.push(file);
        }
        phases.push(Phase { name: "fetch".to_owned(), seconds: seconds(begun), restores: true });
        let begun = Instant::now();
        let plaintext = report_reads(link::concatenate(links, Arc::default()), observer);
        let restored = restorer.restore(candidate.wanted(), plaintext).await?;
        if restored.phases.is_empty() {
            phases.push(Phase { name: "unpack".to_owned(), seconds: seconds(begun), restores: true });
        }
        phases.extend(restored.phases);
        report.notes.extend(restored.warnings);
        // The folder is removed after the drill, but its space is needed now.
        files.iter().for_each(|file| artifact::remove(file));
        Ok(())
    }
}

impl Driller<'_> {
    /// Fetches and checks the WAL of the recovery that the drill is to prove, if one is requested
    /// or if the backup contains no WAL.
    async fn stage_wal(
        &self,
        source: DrillSource<'_>,
        manifest: &Manifest,
        folder: &Path,
        phases: &mut Vec<Phase>,
        report: &mut Report,
    ) -> Result<Option<StagedRecovery>> {
        let own = manifest.base.as_ref().filter(|base| base.wal == WalLocation::Archive);
        let recover_to = self.recover_to.as_ref().filter(|_| manifest.begins_recovery());
        if self.recover_to.is_some() && recover_to.is_none() {
            report.notes.push("crash-consistent: drilled without archived WAL, which cannot be added".to_owned());
        }
        let Some(target) = recover_to.or(own.map(|_| &RecoveryTarget::Immediate)) else {
            return Ok(None);
        };
        let request = RecoveryRequest { target: target.clone(), timeline: None, action: TargetAction::Promote };
        let begun = Instant::now();
        let archive = self.config.wal_archive(Some(&manifest.cluster.name))?;
        let plan =
            RecoveryPlan::new((self.config, self.registry, archive), source.identities, manifest, &request).await?;
        report.warnings.extend(plan.warnings().iter().cloned());
        let staged = plan.stage(folder).await?;
        phases.push(Phase { name: "wal".to_owned(), seconds: seconds(begun), restores: true });
        let last = staged.last_transaction.map(|time| {
            let age = (Utc::now() - time).num_seconds();
            let time = time.to_rfc3339_opts(SecondsFormat::Secs, true);
            format!("; the last transaction ended at {time}, {age} s before this drill: newer ones would be lost")
        });
        let (timeline, segments) = (staged.timeline, staged.segments);
        let noun = if segments == 1 { "segment" } else { "segments" };
        report.notes.push(match staged.time {
            Some(time) => {
                let time = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
                format!("recovered on timeline {timeline} to {time}, with {segments} {noun} of WAL")
            }
            None => format!(
                "recovered on timeline {timeline} to {}, with {segments} {noun} of WAL{}",
                staged.last_record,
                last.unwrap_or_default()
            ),
        });
        Ok(Some(staged))
    }
}

/// The possible cause of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The backup.
    Backup,
    /// The backup, or archived WAL, which may also change what this host lacks, such as directories
    /// of tablespaces. A drill without it shows whether the backup is good.
    PerhapsWal,
}

/// Records a backup that could not be unpacked or started.
fn record_failure(manifest: &Manifest, error: &Error, cause: Cause, drill: &mut Drill, report: &mut Report) {
    drill.verdict = match cause {
        Cause::Backup => classify::verdict_of_files(error),
        Cause::PerhapsWal => Verdict::NotDrilled,
    };
    // Program output names files and tables, so it is stored unencrypted only if the backup is.
    drill.why = if manifest.artifact.encryption.is_some() { error.to_string() } else { error.chain() };
    drill.comparisons.push(failed(&manifest.subject, error, drill.verdict));
    if drill.verdict == Verdict::NotDrilled {
        report.unfit.push(ErrorReport::from(&classify::files_not_drilled(error, &[])));
    }
}
