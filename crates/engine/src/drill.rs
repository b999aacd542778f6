//! Restore drills: backups restored into a scratch server, compared with the record of their dump,
//! and checked with the operator's queries.
//!
//! | file | contents |
//! | --- | --- |
//! | `choice.rs` | choosing the backups and the destination |
//! | `candidate.rs` | the chosen backups, with the records of their dumps |
//! | `artifact.rs` | the encrypted bytes in a temporary file |
//! | `base.rs` | base backups: unpacking the files of a cluster, and starting it |
//! | `program.rs` | backups in other programs' formats |
//! | `reading.rs` | checking and reading all databases of such a cluster |
//! | `examination.rs` | comparing the restored data with the record, and the record of the drill |
//! | `classify.rs` | deciding whether a failure means damage |
//! | `compatibility.rs` | the differences between the scratch server and the source |
//! | `query.rs` | the operator's queries |

mod artifact;
mod base;
mod candidate;
mod choice;
mod classify;
mod compatibility;
mod examination;
mod program;
mod query;
mod reading;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use longshore_catalog::catalog::Backup;
use longshore_config::registry::Registry;
use longshore_config::{Config, Job};
use longshore_core::check::Outcome;
use longshore_core::difference::reconstruct;
use longshore_core::drill::{Drill, Phase, Verdict};
use longshore_core::event::{Event, Observer, Step, of_backup, report_reads};
use longshore_core::left_out::LeftOut;
use longshore_core::manifest::Manifest;
use longshore_core::pipeline::decode;
use longshore_core::plugin::{Cleanup, DatabaseTarget, Identities, Scripts, Target, TargetDatabase};
use longshore_core::sqlstate::Failure;
use longshore_core::stage::{Examine, Restore, RestoreRequest, Scratch, ScratchCluster, Store};
use longshore_core::stream::ByteStream;
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;
use tracing::Instrument;

use self::artifact::save;
use self::candidate::DrillCandidate;
use self::choice::{Choice, choose};
use self::compatibility::Compatibility;
use crate::comparison::checked_plaintext;
use crate::encryption_policy::{EncryptionPolicy, Unsealed};
use crate::error_report::ErrorReport;
use crate::headers::decryptor;
use crate::identity::drill_identities;
use crate::lease::Lease;
use crate::local_file;
use crate::origin::OriginCheck;
use crate::restore::{RestoreStages, restore_stage};
use crate::wal::recovery::RecoveryTarget;

pub use self::choice::Request;

/// The result of a drill of a job.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The name of the job.
    pub job: String,
    /// The id of the run that was drilled.
    pub run: String,
    /// The destination that the backups were fetched from.
    pub destination: String,
    /// The seconds that preparing the scratch server took.
    pub scratch_seconds: f64,
    /// The records of the drill, one for each backup.
    pub drills: Vec<Drill>,
    /// The warning that the run has fewer backups than planned: the drill proves only a
    /// part of the run.
    pub missing: Option<String>,
    /// Backups of this run or newer ones that were not drilled because they are damaged.
    pub passed_over: Vec<String>,
    /// Newer manifests that are refused, since they have no permitted signature.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<ErrorReport>,
    /// Notes for the operator.
    pub notes: Vec<String>,
    /// Warnings of the scratch server, given before the restore began.
    pub warnings: Vec<String>,
    /// The reasons why backups could not be drilled here.
    pub unfit: Vec<ErrorReport>,
    /// The errors of marks that could not be stored beside the backups.
    pub unmarked: Vec<ErrorReport>,
    /// The error if the scratch server could not be cleaned up.
    pub left: Option<ErrorReport>,
}

impl Report {
    /// Returns the worst verdict of all backups.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.drills.iter().any(|drill| drill.verdict == verdict);
        if any(Verdict::Damaged) {
            Verdict::Damaged
        } else if any(Verdict::NotDrilled) || !self.unfit.is_empty() {
            Verdict::NotDrilled
        } else {
            Verdict::Good
        }
    }
}

/// Runs drills of jobs.
pub struct Driller<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The plugins.
    pub registry: &'a Registry,
    /// The identities that decrypt backups; if empty, the job's.
    pub identities: &'a Identities,
    /// The number of connections that restore in parallel.
    pub jobs: u32,
    /// The permitted kinds of scripts.
    pub scripts: Scripts,
    /// The folder of the scratch server, if not the one that the job names.
    pub scratch_dir: Option<&'a Path>,
    /// The treatment of unencrypted backups of a job that encrypts.
    pub unsealed: Unsealed,
    /// The end of the recovery from the WAL archive, for base backups; without it, they are
    /// recovered only until they are consistent.
    pub recover_to: Option<RecoveryTarget>,
    /// The observer.
    pub observer: Arc<dyn Observer>,
}

/// The source of the backups.
#[derive(Clone, Copy)]
struct DrillSource<'a> {
    job: &'a Job,
    destination: &'a str,
    store: &'a dyn Store,
    identities: &'a Identities,
}

/// The source of the backups, and the scratch server that they are restored to.
struct DrillContext<'a> {
    source: DrillSource<'a>,
    scratch: &'a dyn ScratchCluster,
    examiner: &'a dyn Examine,
}

impl DrillContext<'_> {
    /// Returns true if the backup can be restored to the scratch server: globals only to a server
    /// of the drill's own.
    fn can_restore(&self, manifest: &Manifest) -> bool {
        manifest.subject.kind() != SubjectKind::ClusterSql || self.scratch.accepts_globals()
    }
}

/// The result of a restore.
struct Restored {
    started: DateTime<Utc>,
    phases: Vec<Phase>,
    /// Entries that could not be created after the data was restored.
    left_out: Vec<LeftOut>,
    error: Option<Error>,
    /// The commands that failed in the server.
    failures: Vec<Failure>,
}

impl Driller<'_> {
    /// Drills the chosen backups. Always cleans up the scratch server.
    pub async fn drill(&self, request: &Request) -> Result<Report> {
        let job = self.config.job(request.job.as_deref())?;
        let choice = choose(self.config, job, request).await?;
        let Choice { destination, store, backups, earlier, missing, mut warnings, passed_over, refused } = choice;
        let identities = drill_identities(self.identities, &job.drill, self.config).await?;
        let policy = EncryptionPolicy::new(self.config, &identities, self.unsealed);
        warnings.extend(policy.expect(backups.iter().chain(earlier.iter().flatten()).map(|backup| &*backup.manifest))?);
        let candidates = candidate::read_all(self.registry, &*store, (backups, earlier), &identities).await?;

        let source = DrillSource { job, destination: &destination, store: &*store, identities: &identities };
        let mut report = Report {
            job: job.name.clone(),
            run: candidates.first().map(|candidate| candidate.backup.manifest.run.clone()).unwrap_or_default(),
            destination: destination.clone(),
            scratch_seconds: 0.0,
            drills: Vec::new(),
            missing,
            passed_over,
            refused: refused.iter().map(ErrorReport::from).collect(),
            notes: warnings,
            warnings: Vec::new(),
            unfit: Vec::new(),
            unmarked: Vec::new(),
            left: None,
        };
        let is_of_files =
            |candidate: &DrillCandidate| candidate.backup.manifest.subject.kind() == SubjectKind::ClusterFiles;
        let (of_programs, candidates): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| program::needs_program(&candidate.backup.manifest));
        let (of_files, dumps): (Vec<_>, Vec<_>) = candidates.into_iter().partition(is_of_files);
        note_unused_queries(job, of_files.iter().chain(&dumps), &mut report);
        if !dumps.is_empty() {
            self.drill_dumps(source, dumps, &mut report).await?;
        }
        let is_alone = report.drills.is_empty() && of_files.is_empty();
        self.drill_programs(source, of_programs, is_alone, &mut report).await?;
        for candidate in of_files {
            match self.drill_base(source, &candidate, &mut report).await {
                // The drills of dumps are reported in any case.
                Err(error) if !report.drills.is_empty() => report.unfit.push(ErrorReport::from(&error)),
                drilled => drilled?,
            }
        }
        Ok(report)
    }

    /// Drills dumps in one scratch server.
    async fn drill_dumps(
        &self,
        source: DrillSource<'_>,
        candidates: Vec<DrillCandidate>,
        report: &mut Report,
    ) -> Result<()> {
        self.observer.event(&Event::StepStarted(Step::PrepareScratch));
        let begun = Instant::now();
        let wanted: Vec<RestoreRequest<'_>> = candidates.iter().map(DrillCandidate::wanted).collect();
        let scratch = self.scratch(source.job)?.make(&wanted).await?;
        report.scratch_seconds += seconds(begun);
        let examiner = self.registry.examine.build(&self.registry.default_examine, &scratch.cluster())?;
        let context = DrillContext { source, scratch: &*scratch, examiner: &*examiner };
        self.warn(scratch.warnings(), report);
        let drilled = self.restore_and_examine(&context, candidates, report).await;
        self.observer.event(&Event::StepStarted(Step::RemoveScratch));
        let removed = scratch.remove().await;
        drilled?;
        report.left = removed.err().as_ref().map(ErrorReport::from);
        Ok(())
    }

    /// Reports warnings of a scratch server.
    fn warn(&self, warnings: Vec<String>, report: &mut Report) {
        for warning in warnings {
            self.observer.event(&Event::Warned(&warning));
            report.warnings.push(warning);
        }
    }

    /// Builds the scratch stage.
    fn scratch(&self, job: &Job) -> Result<Box<dyn Scratch>> {
        let mut site = job.site.clone();
        if let Some(scratch_dir) = self.scratch_dir {
            site.scratch_dir = Some(scratch_dir.to_owned());
        }
        match &job.drill.scratch {
            Some(scratch) => scratch(&site),
            None => self.registry.scratch.build(&self.registry.default_scratch, &site),
        }
    }

    /// Restores all backups, globals first, then examines each.
    async fn restore_and_examine(
        &self,
        context: &DrillContext<'_>,
        candidates: Vec<DrillCandidate>,
        report: &mut Report,
    ) -> Result<()> {
        self.prepare(context, &candidates).await?;
        let bytes = candidates.iter().map(|candidate| candidate.backup.manifest.artifact.plaintext.bytes);
        self.observer.event(&Event::BytesPlanned(bytes.fold(0, u64::saturating_add)));
        let mut restored = Vec::new();
        for candidate in candidates {
            let observer = of_backup(&self.observer, candidate.backup.name.clone());
            observer.event(&Event::StepStarted(Step::Restore { destination: context.source.destination }));
            let of_cluster = candidate.backup.manifest.subject.kind() == SubjectKind::ClusterSql;
            let span = tracing::info_span!(target: "longshore::drill", "drill", backup = %candidate.backup.name);
            let restoring = self.restore(context, &candidate, &mut report.notes, observer);
            let result = restoring.instrument(span).await;
            let failed = result.error.is_some();
            restored.push((candidate, result));
            if failed && of_cluster {
                break;
            }
        }
        for (candidate, restored) in restored {
            let observer = of_backup(&self.observer, candidate.backup.name.clone());
            let subject = &candidate.backup.manifest.subject;
            observer.event(&Event::StepStarted(Step::Examine { subject }));
            let drill = self.record_drill(context, &candidate, restored, report).await?;
            if let Err(error) = mark_result(context.source, &candidate.backup, &drill).await {
                report.unmarked.push(ErrorReport::from(&error));
            }
            report.drills.push(drill);
        }
        Ok(())
    }

    fn restorer(&self, context: &DrillContext<'_>, manifest: &Manifest) -> Result<Box<dyn Restore>> {
        restore_stage(self.registry, &self.target(context, manifest)?, manifest)
    }

    /// Returns the target of a backup in the scratch server.
    fn target(&self, context: &DrillContext<'_>, manifest: &Manifest) -> Result<Target> {
        let cluster = match &manifest.subject {
            Subject::Database { name } => context.scratch.target(name)?,
            _ => context.scratch.cluster(),
        };
        Ok(Target::Database(DatabaseTarget {
            database: TargetDatabase::Create,
            jobs: self.jobs,
            scratch_dir: Some(context.scratch.folder().to_owned()),
            scripts: self.scripts,
            cleanup: Cleanup::WithCluster,
            ..DatabaseTarget::new(cluster)
        }))
    }

    /// Checks that the scratch server can take the backups, before any bytes are fetched.
    async fn prepare(&self, context: &DrillContext<'_>, candidates: &[DrillCandidate]) -> Result<()> {
        let wanted = candidates.iter().map(DrillCandidate::wanted);
        let databases = wanted.filter(|wanted| context.can_restore(wanted.manifest)).collect::<Vec<_>>();
        // If the scratch server renames databases, each database has a target of its own.
        let targets: Vec<&[RestoreRequest<'_>]> = match context.scratch.accepts_globals() {
            true => vec![&databases],
            false => databases.chunks(1).collect(),
        };
        for wanted in targets.into_iter().filter(|wanted| !wanted.is_empty()) {
            let manifest = wanted[0].manifest;
            let target = self.target(context, manifest)?;
            let stages = RestoreStages::build(self.registry, &target, wanted.iter().map(|wanted| wanted.manifest))?;
            let findings = match stages.prepare(wanted).await {
                Ok(findings) => findings,
                Err(error) => {
                    let compatibility =
                        Compatibility::assess(context.scratch, context.examiner, manifest, wanted[0].details).await;
                    return Err(classify::not_drilled(&error, &[], &compatibility));
                }
            };
            let failed: Vec<_> = findings.into_iter().filter(|finding| finding.outcome == Outcome::Failed).collect();
            if let Some(first) = failed.first() {
                let messages = failed.iter().map(|finding| format!("{}: {}", finding.subject, finding.message));
                let message = "cannot be drilled here, which does not mean that the backup is damaged";
                let error = Error::new(Stage::Drill, Kind::Failed, &context.source.job.name, message)
                    .because(messages.collect::<Vec<_>>().join("\n"));
                return Err(match &first.remedy {
                    Some(remedy) => error.hint(remedy),
                    None => error,
                });
            }
        }
        Ok(())
    }

    /// Restores one backup, phase by phase.
    async fn restore(
        &self,
        context: &DrillContext<'_>,
        candidate: &DrillCandidate,
        notes: &mut Vec<String>,
        observer: Arc<dyn Observer>,
    ) -> Restored {
        let started = Utc::now().trunc_subsecs(3);
        let (mut phases, mut left_out) = (Vec::new(), Vec::new());
        let backup = &candidate.backup;
        let manifest = &backup.manifest;
        if !context.can_restore(manifest) {
            notes.push(format!(
                "{}: not restored: the drill uses an existing server, which keeps its own",
                manifest.subject
            ));
            return Restored { started, phases, left_out: Vec::new(), error: None, failures: Vec::new() };
        }
        let store = context.source.store;
        let lease = Lease::take(store, &backup.name).await;
        // Discard earlier failures, which belong to other backups.
        context.scratch.failures().await;
        let restored = async {
            let begun = Instant::now();
            let folder = context.scratch.folder();
            let full_file = match candidate.full() {
                Some(full) => Some(save(store, &full.manifest, folder, "full").await?),
                None => None,
            };
            let file = save(store, manifest, folder, "artifact").await?;
            phases.push(Phase { name: "fetch".to_owned(), seconds: seconds(begun), restores: true });
            let begun = Instant::now();
            let files = (file.clone(), full_file.clone());
            let plaintext = self.plaintext(&context.source, candidate, files, observer).await?;
            let (plaintext, adaptation_notes) = context.scratch.adapt(manifest, plaintext).await?;
            notes.extend(adaptation_notes);
            // No recorded details: a drill restores everything.
            let wanted = RestoreRequest::new(manifest, None);
            let restored = self.restorer(context, manifest)?.restore(wanted, plaintext).await?;
            if restored.phases.is_empty() {
                phases.push(Phase { name: "restore".to_owned(), seconds: seconds(begun), restores: true });
            }
            phases.extend(restored.phases);
            notes.extend(restored.warnings);
            left_out = restored.left_out;
            // The folder is removed after the drill, but its space is needed now.
            artifact::remove(&file);
            full_file.iter().for_each(|file| artifact::remove(file));
            Ok(())
        };
        let restored: Result<()> = restored.await;
        lease.release().await;
        Restored { started, phases, left_out, error: restored.err(), failures: context.scratch.failures().await }
    }

    /// Streams the plaintext of a fetched backup, checked as in a restore.
    async fn plaintext(
        &self,
        source: &DrillSource<'_>,
        candidate: &DrillCandidate,
        (file, full_file): (PathBuf, Option<PathBuf>),
        observer: Arc<dyn Observer>,
    ) -> Result<ByteStream> {
        let content = async |backup: &Backup, file: PathBuf| {
            let artifact = &backup.manifest.artifact.key;
            let decryptor = decryptor(self.registry, source.identities, backup, artifact, &[source.store]).await?;
            decode(local_file::read(file), &backup.manifest, decryptor.as_deref()).await
        };
        let manifest = &candidate.backup.manifest;
        let mut plaintext = content(&candidate.backup, file).await?;
        if let Some((full, file)) = candidate.full().zip(full_file) {
            plaintext = reconstruct(content(full, file).await?, plaintext, manifest)?;
        }
        let plaintext = OriginCheck::new(self.registry, manifest)?.checked(plaintext);
        let details = candidate.details.as_ref().ok().and_then(Option::as_ref);
        Ok(report_reads(checked_plaintext(self.registry, manifest, details, plaintext)?, observer))
    }
}

/// Notes the queries of databases that no backup of the drill contains. The databases of whole
/// clusters are not known yet.
fn note_unused_queries<'a>(job: &Job, candidates: impl Iterator<Item = &'a DrillCandidate>, report: &mut Report) {
    let subjects: Vec<_> = candidates.map(|candidate| &candidate.backup.manifest.subject).collect();
    if subjects.iter().any(|subject| matches!(subject, Subject::All | Subject::Schema | Subject::Base)) {
        return;
    }
    for query in &job.drill.queries {
        if !subjects.contains(&&Subject::database(&query.database)) {
            report.notes.push(unused_query(&query.database));
        }
    }
}

/// Returns the note about a query of a database that was not drilled.
fn unused_query(database: &str) -> String {
    format!("a query names database \"{database}\", which was not drilled")
}

/// Stores a mark with the result beside a backup.
async fn mark_result(source: DrillSource<'_>, backup: &Backup, drill: &Drill) -> Result<()> {
    let last = backup.marks.last();
    let now = Utc::now();
    let time = last.map_or(now, |last| now.max(last.time() + TimeDelta::seconds(1)));
    let encrypt = match (&backup.manifest.artifact.encryption, &source.job.encrypt) {
        (Some(_), Some(encrypt)) => Some(encrypt(&())?),
        (None, _) => None,
        (Some(_), None) => {
            // The job no longer encrypts: omit the comparisons, which name tables.
            return longshore_catalog::drill::put(&drill.clone().split_confidential().0, source.store, None, time)
                .await
                .map(drop);
        }
    };
    longshore_catalog::drill::put(drill, source.store, encrypt.as_deref(), time).await.map(drop)
}

fn seconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}
