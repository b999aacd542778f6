//! Drills of backups in other programs' formats: the program of the configuration reads the
//! plaintext, restores it to a place of its own, and checks the result.

use std::sync::Arc;

use chrono::{SubsecRound, Utc};
use longshore_catalog::catalog::Backup;
use longshore_core::difference::reconstruct;
use longshore_core::drill::{Drill, Verdict};
use longshore_core::event::{Event, Step, of_backup, report_reads};
use longshore_core::manifest::{Format, Manifest};
use longshore_core::pipeline::open_content;
use longshore_core::plugin::{ProgramTarget, Target};
use longshore_core::stage::RestoreRequest;
use longshore_core::{Error, Kind, Result, Stage};
use tracing::Instrument;

use super::examination::new_record;
use super::{DrillCandidate, DrillSource, Driller, Report, mark_result};
use crate::error_report::ErrorReport;
use crate::headers::decryptor;
use crate::lease::Lease;
use crate::origin::OriginCheck;
use crate::restore::{restore_programs, restore_stage};

/// Returns true for a backup that only a program can restore.
pub(super) fn needs_program(manifest: &Manifest) -> bool {
    matches!(manifest.artifact.format, Format::Other(_))
}

impl Driller<'_> {
    /// Drills backups by programs. A backup without a program is noted, unless the drill has no
    /// other backup.
    pub(super) async fn drill_programs(
        &self,
        source: DrillSource<'_>,
        candidates: Vec<DrillCandidate>,
        is_alone: bool,
        report: &mut Report,
    ) -> Result<()> {
        let mut error = None;
        for candidate in candidates {
            let manifest = &candidate.backup.manifest;
            let programs = restore_programs(source.job, manifest)?;
            match programs.and_then(|programs| programs.drill) {
                Some(program) => self.drill_program(source, &candidate, program, report).await?,
                None => {
                    report
                        .notes
                        .push(format!("{}: not drilled, since its job names no program for it", manifest.subject));
                    error = error.or_else(|| Some(no_program(manifest)));
                }
            }
        }
        match error {
            Some(error) if is_alone && report.drills.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// Drills one backup, and stores the result beside it.
    async fn drill_program(
        &self,
        source: DrillSource<'_>,
        candidate: &DrillCandidate,
        program: ProgramTarget,
        report: &mut Report,
    ) -> Result<()> {
        let backup = &candidate.backup;
        let observer = of_backup(&self.observer, backup.name.clone());
        observer.event(&Event::BytesPlanned(backup.manifest.artifact.plaintext.bytes));
        observer.event(&Event::StepStarted(Step::Restore { destination: source.destination }));
        let name = program.argv.first().cloned().unwrap_or_default();
        let target = Target::Program(program);
        let restorer = restore_stage(self.registry, &target, &backup.manifest)?;
        let started = Utc::now().trunc_subsecs(3);
        let lease = Lease::take(source.store, &backup.name).await;
        let restoring = async {
            let content = async |backup: &Backup| {
                let (file, stores) = (&backup.manifest.artifact.key, [source.store]);
                let decryptor = decryptor(self.registry, source.identities, backup, file, &stores).await?;
                open_content(source.store, &backup.manifest, decryptor.as_deref()).await
            };
            let mut plaintext = content(backup).await?;
            if let Some(full) = candidate.full() {
                plaintext = reconstruct(content(full).await?, plaintext, &backup.manifest)?;
            }
            let plaintext = OriginCheck::new(self.registry, &backup.manifest)?.checked(plaintext);
            let request = RestoreRequest::new(&backup.manifest, None);
            restorer.restore(request, report_reads(plaintext, Arc::clone(&observer))).await
        };
        let span = tracing::info_span!(target: "longshore::drill", "drill", backup = %backup.name);
        let restored = restoring.instrument(span).await;
        lease.release().await;
        let mut drill: Drill = new_record(source, backup, started, format!("program {name}"), String::new());
        // Only the program knows the server that it restores to.
        drill.tools.truncate(1);
        match restored {
            Ok(restored) => {
                drill.phases = restored.phases;
                report.notes.extend(restored.warnings);
            }
            Err(error) => {
                // Only damaged bytes, or a program that reports damage, condemn a backup.
                drill.verdict = if error.kind() == Kind::Corrupt { Verdict::Damaged } else { Verdict::NotDrilled };
                let is_sealed = backup.manifest.artifact.encryption.is_some();
                drill.why = if is_sealed { error.to_string() } else { error.chain() };
                if drill.verdict == Verdict::NotDrilled {
                    report.unfit.push(ErrorReport::from(&error));
                }
            }
        }
        drill.finished = Utc::now().trunc_subsecs(3);
        if let Err(error) = mark_result(source, backup, &drill).await {
            report.unmarked.push(ErrorReport::from(&error));
        }
        report.drills.push(drill);
        Ok(())
    }
}

/// Returns the error of a backup without a program for drills.
fn no_program(manifest: &Manifest) -> Error {
    let message = "cannot be drilled, since its job names no program for it";
    Error::new(Stage::Drill, Kind::Usage, manifest.subject.to_string(), message)
        .hint("set drill in its entry of dump to a program that restores and checks a copy")
}
