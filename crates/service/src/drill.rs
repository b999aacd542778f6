//! Restore drills: backups restored into a place made for it, held against what was recorded, and asked what their owner wants to know.
//!
//! | file | holds |
//! | --- | --- |
//! | `choice.rs` | which backups, from which destination |
//! | `artifact.rs` | the sealed bytes in a file of the drill's own |
//! | `examination.rs` | what was restored beside what was recorded, and the record of that |
//! | `judgement.rs` | whether a failure is damage |
//! | `place.rs` | what the place has in common with where a backup comes from |
//! | `question.rs` | the owner's own questions |

mod artifact;
mod choice;
mod examination;
mod judgement;
mod place;
mod question;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use longshore_core::catalog::Backup;
use longshore_core::check::Outcome;
use longshore_core::drill::{Drill, Phase, Verdict};
use longshore_core::left_out::LeftOut;
use longshore_core::manifest::Manifest;
use longshore_core::pipeline::{is_damage, undo};
use longshore_core::plugin::{Cleanup, GIVE_IDENTITY, Identities, Scripts, Target, TargetDatabase};
use longshore_core::progress::Progress;
use longshore_core::provenance::Mismatch;
use longshore_core::sqlstate::Failure;
use longshore_core::stage::{Examine, Restore, Scratch, ScratchCluster, Store, Wanted};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;
use serde_json::{Map, Value};

use self::artifact::{read, save};
pub use self::choice::Wish;
use self::choice::{Choice, choose};
use self::place::Place;
use crate::comparison::guarded;
use crate::config::{Config, Job};
use crate::identity::for_drill;
use crate::inspect::counted;
use crate::origin::OriginCheck;
use crate::problem::Problem;
use crate::record::{Details, details, expect_named};
use crate::registry::Registry;
use crate::restore::lease;
use crate::unsealed::{Sealing, Unsealed};

/// What a drill of a job found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The job.
    pub job: String,
    /// The run that was drilled.
    pub run: String,
    /// Where it was taken from.
    pub destination: String,
    /// How long it took to make the place to restore to, in seconds.
    pub scratch_seconds: f64,
    /// The records, a backup each.
    pub drills: Vec<Drill>,
    /// That the run made fewer backups than it was to make, if so: a drill of it proves only a part.
    pub missing: Option<String>,
    /// Backups of the run or of newer ones that were not drilled since they are damaged.
    pub passed_over: Vec<String>,
    /// What its owner should hear.
    pub notes: Vec<String>,
    /// Warnings of the place to restore to, given before anything was restored.
    pub warnings: Vec<String>,
    /// What kept a backup from being drilled here, if anything did.
    pub unfit: Vec<Problem>,
    /// Why what was found could not be noted beside the backups, if so.
    pub unmarked: Vec<Problem>,
    /// Why what was made for the drill could not be removed, if so.
    pub left: Option<Problem>,
}

impl Report {
    /// What all of it proves: the worst of all.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.drills.iter().any(|drill| drill.verdict == verdict);
        if any(Verdict::Damaged) {
            Verdict::Damaged
        } else if any(Verdict::NotDrilled) {
            Verdict::NotDrilled
        } else {
            Verdict::Good
        }
    }
}

/// Drills jobs.
pub struct Driller<'a> {
    /// The jobs and the destinations.
    pub config: &'a Config,
    /// The plugins.
    pub registry: &'a Registry,
    /// What opens sealed backups; what the job names, if it is empty.
    pub identities: &'a Identities,
    /// How many connections restore at once.
    pub jobs: u32,
    /// Which scripts are run.
    pub scripts: Scripts,
    /// Where the place to restore to is made, if not where the job says.
    pub scratch_dir: Option<&'a Path>,
    /// The treatment of backups that are unsealed although the job seals.
    pub unsealed: Unsealed,
    /// Hears how much was restored.
    pub progress: Arc<dyn Progress>,
}

/// One backup under drill.
struct Candidate {
    backup: Backup,
    /// What was recorded while it was dumped; why that is damaged, if it is.
    details: Result<Option<Map<String, Value>>>,
    /// The differences between the manifest and the backup that its details name.
    mismatches: Vec<Mismatch>,
}

impl Candidate {
    /// The backup as a restore takes it.
    fn wanted(&self) -> Wanted<'_> {
        Wanted { manifest: &self.backup.manifest, details: self.details.as_ref().ok().and_then(Option::as_ref) }
    }
}

/// Where, and with what, backups are drilled.
struct Ground<'a> {
    job: &'a Job,
    destination: &'a str,
    store: &'a dyn Store,
    identities: &'a Identities,
    scratch: &'a dyn ScratchCluster,
    examiner: &'a dyn Examine,
}

impl Ground<'_> {
    /// Whether it is restored there: what belongs to a whole cluster only into one of the drill's own.
    fn takes(&self, manifest: &Manifest) -> bool {
        manifest.subject.is_database() || self.scratch.takes_globals()
    }
}

/// What came of a restore.
struct Restored {
    started: DateTime<Utc>,
    phases: Vec<Phase>,
    /// Entries that could not be made after the data was restored.
    left_out: Vec<LeftOut>,
    error: Option<Error>,
    /// The commands that failed in the server.
    failures: Vec<Failure>,
}

impl Driller<'_> {
    /// Drills what is wished. `began` hears what is done next. What was made for it is removed whatever comes of it.
    pub async fn drill(&self, wish: &Wish, began: &(dyn Fn(&str) + Sync)) -> Result<Report> {
        let job = self.config.job(wish.job.as_deref())?;
        let choice = choose(self.config, job, wish).await?;
        let Choice { destination, store, backups, missing, mut warnings, passed_over } = choice;
        let identities = for_drill(self.identities, &job.drill, self.config).await?;
        let sealing = Sealing::new(self.config, &identities, self.unsealed);
        warnings.extend(sealing.expect(backups.iter().map(|backup| &*backup.manifest))?);
        let candidates = self.candidates(&*store, backups, &identities).await?;

        began("making a place to restore to");
        let begun = Instant::now();
        let wanted: Vec<Wanted<'_>> = candidates.iter().map(Candidate::wanted).collect();
        let scratch = self.scratch(job)?.make(&wanted).await?;
        let scratch_seconds = seconds(begun);
        let examiner = self.registry.examine.build(self.registry.default_examine, &scratch.cluster())?;
        let ground = Ground {
            job,
            destination: &destination,
            store: &*store,
            identities: &identities,
            scratch: &*scratch,
            examiner: &*examiner,
        };
        let mut report = Report {
            job: job.name.clone(),
            run: candidates.first().map(|candidate| candidate.backup.manifest.run.clone()).unwrap_or_default(),
            destination: destination.clone(),
            scratch_seconds,
            drills: Vec::new(),
            missing,
            passed_over,
            notes: warnings,
            warnings: Vec::new(),
            unfit: Vec::new(),
            unmarked: Vec::new(),
            left: None,
        };
        for warning in scratch.warnings() {
            began(&warning);
            report.warnings.push(warning);
        }
        let databases: Vec<_> = candidates.iter().map(|candidate| &candidate.backup.manifest.subject).collect();
        let whole = databases.iter().any(|subject| matches!(subject, Subject::All | Subject::Schema));
        for question in job.drill.questions.iter().filter(|_| !whole) {
            if !databases.contains(&&Subject::database(&question.database)) {
                report.notes.push(format!("a query is of database \"{}\", which was not drilled", question.database));
            }
        }
        let drilled = self.all(&ground, candidates, &mut report, began).await;
        began("removing what was made");
        let removed = scratch.remove().await;
        drilled?;
        report.left = removed.err().as_ref().map(Problem::from);
        Ok(report)
    }

    /// What makes the place to restore to.
    fn scratch(&self, job: &Job) -> Result<Box<dyn Scratch>> {
        let mut site = job.site.clone();
        if let Some(scratch_dir) = self.scratch_dir {
            site.scratch_dir = Some(scratch_dir.to_owned());
        }
        match &job.drill.scratch {
            Some(scratch) => scratch(&site),
            None => self.registry.scratch.build(self.registry.default_scratch, &site),
        }
    }

    /// Opens what was recorded of each backup. An identity that does not open it ends the drill here, before anything is made.
    async fn candidates(
        &self,
        store: &dyn Store,
        backups: Vec<Backup>,
        identities: &Identities,
    ) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for backup in backups {
            if let (Some(encryption), true) = (&backup.manifest.artifact.encryption, identities.is_empty()) {
                let message = format!("sealed with {encryption}");
                return Err(Error::new(Stage::Decrypt, Kind::Usage, backup.name.as_str(), message).hint(GIVE_IDENTITY));
            }
            let read = async {
                expect_named(&backup.manifest)?;
                details(self.registry, identities, store, &backup).await
            };
            let (details, mismatches) = match read.await {
                Err(error) if !is_damage(&error) => return Err(error),
                Err(error) => (Err(error), Vec::new()),
                Ok(Some(Details { record, mismatches })) => (Ok(record), mismatches),
                Ok(None) => (Ok(None), Vec::new()),
            };
            candidates.push(Candidate { backup, details, mismatches });
        }
        Ok(candidates)
    }

    /// Restores all, globals first, then asks each.
    async fn all(
        &self,
        ground: &Ground<'_>,
        candidates: Vec<Candidate>,
        report: &mut Report,
        began: &(dyn Fn(&str) + Sync),
    ) -> Result<()> {
        self.prepare(ground, &candidates).await?;
        let bytes = candidates.iter().map(|candidate| candidate.backup.manifest.artifact.plaintext.bytes);
        self.progress.planned(bytes.fold(0, u64::saturating_add));
        let mut restored = Vec::new();
        for candidate in candidates {
            began(&format!("restoring {} from \"{}\"", candidate.backup.name, ground.destination));
            let of_cluster = !candidate.backup.manifest.subject.is_database();
            let one = self.restore(ground, &candidate, &mut report.notes).await;
            let failed = one.error.is_some();
            restored.push((candidate, one));
            if failed && of_cluster {
                break;
            }
        }
        for (candidate, restored) in restored {
            began(&format!("examining {}", candidate.backup.manifest.subject));
            let drill = self.judge(ground, &candidate, restored, report).await?;
            if let Err(error) = note(ground, &candidate.backup, &drill).await {
                report.unmarked.push(Problem::from(&error));
            }
            report.drills.push(drill);
        }
        Ok(())
    }

    fn restorer(&self, ground: &Ground<'_>, manifest: &Manifest) -> Result<Box<dyn Restore>> {
        let cluster = match &manifest.subject {
            Subject::Database { name } => ground.scratch.target(name)?,
            _ => ground.scratch.cluster(),
        };
        let target = Target {
            database: TargetDatabase::Create,
            jobs: self.jobs,
            scratch_dir: Some(ground.scratch.folder().to_owned()),
            scripts: self.scripts,
            cleanup: Cleanup::WithPlace,
            ..Target::new(cluster)
        };
        self.registry.restore.build(self.registry.default_restore, &target)
    }

    /// Looks whether the place takes what is to be restored, before a byte of it is fetched.
    async fn prepare(&self, ground: &Ground<'_>, candidates: &[Candidate]) -> Result<()> {
        let wanted = candidates.iter().map(Candidate::wanted);
        let databases = wanted.filter(|wanted| ground.takes(wanted.manifest)).collect::<Vec<_>>();
        // Where databases have other names, each has a target of its own.
        let targets: Vec<&[Wanted<'_>]> = match ground.scratch.takes_globals() {
            true => vec![&databases],
            false => databases.chunks(1).collect(),
        };
        for wanted in targets.into_iter().filter(|wanted| !wanted.is_empty()) {
            let manifest = wanted[0].manifest;
            let findings = self.restorer(ground, manifest)?.prepare(wanted).await;
            let findings = match findings {
                Ok(findings) => findings,
                Err(error) => {
                    let place = Place::look(ground.scratch, ground.examiner, manifest, wanted[0].details).await;
                    return Err(judgement::not_drilled(&error, &[], &place));
                }
            };
            let failed: Vec<_> = findings.into_iter().filter(|finding| finding.outcome == Outcome::Failed).collect();
            if let Some(first) = failed.first() {
                let said = failed.iter().map(|finding| format!("{}: {}", finding.subject, finding.message));
                let message = "cannot be drilled here, which says nothing about the backup";
                let error = Error::new(Stage::Drill, Kind::Failed, &ground.job.name, message)
                    .because(said.collect::<Vec<_>>().join("\n"));
                return Err(match &first.remedy {
                    Some(remedy) => error.hint(remedy),
                    None => error,
                });
            }
        }
        Ok(())
    }

    /// Brings one backup home, phase by phase.
    async fn restore(&self, ground: &Ground<'_>, candidate: &Candidate, notes: &mut Vec<String>) -> Restored {
        let started = Utc::now().trunc_subsecs(3);
        let (mut phases, mut left_out) = (Vec::new(), Vec::new());
        let backup = &candidate.backup;
        let manifest = &backup.manifest;
        if !ground.takes(manifest) {
            notes.push(format!("{}: not restored: the server that the drill borrows keeps its own", manifest.subject));
            return Restored { started, phases, left_out: Vec::new(), error: None, failures: Vec::new() };
        }
        let lease = lease(ground.store, &backup.name).await;
        // Those before this restore are not this backup's.
        ground.scratch.failures().await;
        let restored = async {
            let begun = Instant::now();
            let file = save(ground.store, manifest, ground.scratch.folder()).await?;
            phases.push(Phase { name: "fetch".to_owned(), seconds: seconds(begun), restores: true });
            let opener = crate::verify::opener(self.registry, ground.identities, backup)?;
            let begun = Instant::now();
            let plaintext = undo(read(file.clone()), manifest, opener.as_deref()).await?;
            let plaintext = OriginCheck::new(self.registry, manifest)?.passed(plaintext);
            let details = candidate.details.as_ref().ok().and_then(Option::as_ref);
            let plaintext = guarded(self.registry, manifest, details, plaintext)?;
            let plaintext = counted(plaintext, Arc::clone(&self.progress));
            let (plaintext, told) = ground.scratch.adapt(manifest, plaintext).await?;
            notes.extend(told);
            // All of it is wanted: nothing is chosen by what was recorded.
            let wanted = Wanted { manifest, details: None };
            let restored = self.restorer(ground, manifest)?.restore(wanted, plaintext).await?;
            if restored.phases.is_empty() {
                phases.push(Phase { name: "restore".to_owned(), seconds: seconds(begun), restores: true });
            }
            phases.extend(restored.phases);
            notes.extend(restored.warnings);
            left_out = restored.left_out;
            // The folder goes with the drill in any case; the room is wanted now.
            std::fs::remove_file(&file).ok();
            Ok(())
        };
        let restored: Result<()> = restored.await;
        if let Some(lease) = lease {
            // It runs out by itself.
            ground.store.remove(&lease).await.ok();
        }
        Restored { started, phases, left_out, error: restored.err(), failures: ground.scratch.failures().await }
    }
}

/// Notes beside a backup what was found, where it was proven or is damaged.
async fn note(ground: &Ground<'_>, backup: &Backup, drill: &Drill) -> Result<()> {
    let last = backup.marks.last();
    let now = Utc::now();
    let time = last.map_or(now, |last| now.max(last.time() + TimeDelta::seconds(1)));
    let encrypt = match (&backup.manifest.artifact.encryption, &ground.job.encrypt) {
        (Some(_), Some(encrypt)) => Some(encrypt(&())?),
        (None, _) => None,
        (Some(_), None) => {
            // Nobody seals any more: what names tables is left out.
            return drill.clone().parted().0.put(ground.store, None, time).await.map(drop);
        }
    };
    drill.put(ground.store, encrypt.as_deref(), time).await.map(drop)
}

fn seconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}
