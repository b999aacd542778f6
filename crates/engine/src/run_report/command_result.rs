//! The result of a command in its report: outcomes, classes of errors and counts unencrypted,
//! messages apart.

use std::collections::BTreeMap;

use longshore_core::drill::Verdict;
use longshore_core::key::BackupName;
use longshore_core::run_report::{Class, DestinationOutcome, Outcome, SubjectOutcome};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result};

use crate::adoption::take::Taken;
use crate::drill;
use crate::hold::Marked;
use crate::prune::Pruned;
use crate::rekey::Rekeyed;
use crate::report::{self, ArtifactReport, DestinationReport};
use crate::restore::{Chosen, RestoreResult};
use crate::sync::Synced;
use crate::verify::VerifyResult;

/// The result of a command.
#[derive(Debug, Default)]
pub struct CommandResult {
    pub(super) run: Option<String>,
    pub(super) subjects: Vec<SubjectOutcome>,
    pub(super) left_out: Vec<DestinationOutcome>,
    pub(super) removed: BTreeMap<String, Vec<BackupName>>,
    pub(super) counts: BTreeMap<String, u64>,
    /// The messages of errors, by subject or destination.
    pub(super) messages: Vec<(String, String)>,
}

impl CommandResult {
    /// Returns the result of a run that made a backup at some destinations, each with the digest of
    /// the manifest.
    #[cfg(test)]
    pub(crate) fn of_made(name: &BackupName, arrived: &[(String, longshore_core::meter::Digest)]) -> Self {
        let mut subject = subject_outcome(name.folder(), Outcome::Done);
        subject.backup = Some(name.clone());
        let at = |(destination, manifest): &(String, longshore_core::meter::Digest)| DestinationOutcome {
            destination: destination.clone(),
            outcome: Outcome::Done,
            bytes: 3,
            error: None,
            manifest: Some(manifest.clone()),
        };
        subject.destinations = arrived.iter().map(at).collect();
        Self { subjects: vec![subject], ..Self::default() }
    }

    fn count(&mut self, what: &str, count: usize) {
        if count > 0 {
            *self.counts.entry(what.to_owned()).or_default() += count as u64;
        }
    }

    /// Returns the result of a restore from a snapshot on this host.
    pub fn restored_snapshot<T>(restored: &Result<T>) -> Self {
        let mut subject = subject_outcome(&Subject::Base.segment(), outcome(restored.as_ref().err()));
        let mut result = Self::default();
        if let Err(error) = restored {
            subject.error = Some(Class::from(error));
            result.messages.push((subject.subject.clone(), error.chain()));
        }
        result.subjects.push(subject);
        result
    }

    /// Returns the result of hooks that failed after the run.
    pub fn of_hooks(errors: &[Error]) -> Self {
        let messages = errors.iter().map(|error| ("hook".to_owned(), error.chain())).collect();
        Self { messages, ..Self::default() }
    }

    /// Returns the result of a restore.
    pub fn restored(chosen: &[Chosen], restored: &[RestoreResult]) -> Self {
        let mut result = Self::default();
        for (chosen, restored) in chosen.iter().zip(restored) {
            let mut subject =
                subject_outcome(&chosen.backup.manifest.subject.segment(), outcome(restored.as_ref().err()));
            subject.backup = Some(chosen.backup.name.clone());
            if let Err(error) = restored {
                subject.error = Some(Class::from(error));
                result.messages.push((subject.subject.clone(), error.chain()));
            }
            result.subjects.push(subject);
        }
        result
    }
}

/// Returns a subject with nothing but its outcome.
fn subject_outcome(subject: &str, outcome: Outcome) -> SubjectOutcome {
    SubjectOutcome {
        subject: subject.to_owned(),
        backup: None,
        outcome,
        error: None,
        plaintext_bytes: None,
        sealed_bytes: None,
        seconds: None,
        not_captured: Vec::new(),
        destinations: Vec::new(),
    }
}

/// Returns the outcome of an operation with this error.
fn outcome(error: Option<&Error>) -> Outcome {
    match error.map(Error::kind) {
        None => Outcome::Done,
        Some(Kind::Corrupt) => Outcome::Damaged,
        Some(Kind::Locked) => Outcome::Locked,
        Some(Kind::Refused | Kind::AlreadyExists) => Outcome::Refused,
        Some(_) => Outcome::Failed,
    }
}

fn destination(at: &DestinationReport) -> DestinationOutcome {
    DestinationOutcome {
        destination: at.destination.clone(),
        outcome: if at.error.is_some() { Outcome::Failed } else { Outcome::Done },
        bytes: at.bytes,
        error: at.class.clone(),
        manifest: at.manifest.clone(),
    }
}

impl From<&report::Report> for CommandResult {
    fn from(report: &report::Report) -> Self {
        let mut result = Self { run: Some(report.run.clone()), ..Self::from(report.pruned.as_slice()) };
        for artifact in &report.artifacts {
            result.subjects.push(subject(artifact));
            let of_artifact = artifact.error.iter().map(|error| (artifact.subject.segment(), error.message.clone()));
            let of_destinations = artifact.destinations.iter().filter_map(|at| {
                let place = format!("{} at {}", artifact.subject.segment(), at.destination);
                Some((place, at.error.as_ref()?.message.clone()))
            });
            result.messages.extend(of_artifact.chain(of_destinations));
        }
        for left_out in &report.left_out {
            result.left_out.push(destination(left_out));
            let message = left_out.error.as_ref().map(|error| error.message.clone());
            result.messages.extend(message.map(|message| (left_out.destination.clone(), message)));
        }
        result.count("backups", report.artifacts.iter().filter(|artifact| artifact.name.is_some()).count());
        result
    }
}

fn subject(artifact: &ArtifactReport) -> SubjectOutcome {
    let outcome = match (artifact.outcome(), &artifact.class) {
        (report::Outcome::Done, _) => Outcome::Done,
        (report::Outcome::Partial, _) => Outcome::Partial,
        (report::Outcome::Failed, Some(class)) if class.kind == Kind::Corrupt.word() => Outcome::Damaged,
        (report::Outcome::Failed, _) => Outcome::Failed,
    };
    let has_backup = artifact.name.is_some();
    SubjectOutcome {
        backup: artifact.name.clone(),
        error: artifact.class.clone(),
        plaintext_bytes: has_backup.then_some(artifact.plaintext_bytes),
        sealed_bytes: has_backup.then_some(artifact.sealed_bytes),
        seconds: Some((artifact.seconds * 1000.0).round() / 1000.0),
        not_captured: artifact.not_captured.clone(),
        destinations: artifact.destinations.iter().map(destination).collect(),
        ..subject_outcome(&artifact.subject.segment(), outcome)
    }
}

impl From<&Taken> for CommandResult {
    fn from(taken: &Taken) -> Self {
        let mut result = Self::default();
        for artifact in taken.files.iter().filter_map(|file| file.backup.as_ref()) {
            result.subjects.push(subject(artifact));
            let message = artifact.error.iter().map(|error| (artifact.subject.segment(), error.message.clone()));
            result.messages.extend(message);
        }
        result.count("backups", result.subjects.iter().filter(|subject| subject.backup.is_some()).count());
        result
    }
}

impl From<&[Pruned]> for CommandResult {
    fn from(all: &[Pruned]) -> Self {
        let mut result = Self::default();
        for pruned in all {
            let series = || pruned.series.iter();
            let problems = pruned.error.iter().chain(&pruned.problems);
            let refused = series().filter_map(|series| series.refused.as_ref());
            let failed = series().flat_map(|series| series.failed.iter().map(|(_, problem)| problem));
            let messages = problems.chain(refused).chain(failed);
            result.messages.extend(messages.map(|problem| (pruned.destination.clone(), problem.message.clone())));
            let is_still_there =
                |name: &BackupName| series().any(|series| series.failed.iter().any(|(at, _)| at == name));
            let removed = series().flat_map(|series| &series.remove).map(|removed| &removed.name);
            let gone: Vec<_> = removed.filter(|name| !is_still_there(name)).cloned().collect();
            result.count("removed_backups", gone.len());
            result.count("kept_backups", series().map(|series| series.keep.len()).sum());
            result.count("removed_leftovers", pruned.swept.iter().filter(|swept| swept.error.is_none()).count());
            if !gone.is_empty() {
                result.removed.entry(pruned.destination.clone()).or_default().extend(gone);
            }
        }
        result
    }
}

impl From<&drill::Report> for CommandResult {
    fn from(report: &drill::Report) -> Self {
        let mut result = Self { run: Some(report.run.clone()), ..Self::default() };
        for drill in &report.drills {
            let outcome = match drill.verdict {
                Verdict::Good => Outcome::Done,
                Verdict::NotDrilled => Outcome::Failed,
                _ => Outcome::Damaged,
            };
            let subject = drill.backup.as_str().rsplit('/').nth(1).unwrap_or_default();
            result.subjects.push(SubjectOutcome {
                backup: Some(drill.backup.clone()),
                seconds: Some(drill.restore_seconds()),
                ..subject_outcome(subject, outcome)
            });
        }
        result.count("compared", report.drills.iter().map(|drill| drill.compared as usize).sum());
        result.count("different", report.drills.iter().map(|drill| drill.different as usize).sum());
        let problems = report.unfit.iter().chain(&report.unmarked).chain(&report.left);
        result.messages.extend(problems.map(|problem| (report.destination.clone(), problem.message.clone())));
        result
    }
}

impl From<&[VerifyResult]> for CommandResult {
    fn from(all: &[VerifyResult]) -> Self {
        let mut result = Self::default();
        result.count("read_backups", all.iter().filter(|read| read.error.is_none()).count());
        result.count("damaged_backups", all.iter().filter(|read| read.damaged).count());
        for read in all {
            let Some(error) = &read.error else { continue };
            let outcome = if read.damaged { Outcome::Damaged } else { Outcome::Failed };
            let at = DestinationOutcome {
                destination: read.destination.clone(),
                outcome,
                bytes: read.bytes,
                error: None,
                manifest: None,
            };
            result.subjects.push(SubjectOutcome { destinations: vec![at], ..subject_outcome(&read.name, outcome) });
            result.messages.push((read.name.clone(), error.message.clone()));
        }
        result
    }
}

impl From<&Synced> for CommandResult {
    fn from(synced: &Synced) -> Self {
        let mut result = Self::default();
        result.count("copied_backups", synced.copies.iter().filter(|copied| copied.error.is_none()).count());
        for copied in &synced.copies {
            let outcome = if copied.error.is_some() { Outcome::Failed } else { Outcome::Done };
            let at = DestinationOutcome {
                destination: copied.to.clone(),
                outcome,
                bytes: copied.bytes,
                error: None,
                manifest: None,
            };
            let subject = copied.name.as_str().rsplit('/').nth(1).unwrap_or_default();
            result.subjects.push(SubjectOutcome {
                backup: Some(copied.name.clone()),
                destinations: vec![at],
                ..subject_outcome(subject, outcome)
            });
            let message = copied.error.as_ref().map(|error| error.message.clone());
            result.messages.extend(message.map(|message| (copied.to.clone(), message)));
        }
        result.count("copied_headers", synced.headers.iter().map(|copied| copied.headers).sum());
        let of_headers = synced.headers.iter().filter_map(|copied| Some((&copied.to, copied.error.as_ref()?)));
        result.messages.extend(of_headers.map(|(to, error)| (to.clone(), error.message.clone())));
        let problems = synced.problems.iter();
        result.messages.extend(problems.map(|problem| (problem.destination.clone(), problem.error.message.clone())));
        result
    }
}

impl From<&Rekeyed> for CommandResult {
    fn from(rekeyed: &Rekeyed) -> Self {
        let mut result = Self::default();
        result.count("new_headers", usize::try_from(rekeyed.header_count()).unwrap_or(usize::MAX));
        result.count("rekeyed_backups", rekeyed.backups.iter().filter(|backup| !backup.headers.is_empty()).count());
        for backup in &rekeyed.backups {
            let Some(error) = &backup.error else { continue };
            let outcome = if backup.damaged { Outcome::Damaged } else { Outcome::Failed };
            let at = DestinationOutcome {
                destination: backup.destination.clone(),
                outcome,
                bytes: 0,
                error: None,
                manifest: None,
            };
            let subject = backup.name.as_str().rsplit('/').nth(1).unwrap_or_default();
            result.subjects.push(SubjectOutcome {
                backup: Some(backup.name.clone()),
                destinations: vec![at],
                ..subject_outcome(subject, outcome)
            });
            result.messages.push((backup.destination.clone(), error.message.clone()));
        }
        let of_wal = rekeyed.wal.iter().filter_map(|wal| Some((wal.destination.clone(), wal.error.as_ref()?)));
        let problems = rekeyed.problems.iter().map(|problem| (problem.destination.clone(), &problem.error));
        result.messages.extend(of_wal.chain(problems).map(|(at, error)| (at, error.message.clone())));
        result
    }
}

impl From<&[Marked]> for CommandResult {
    fn from(all: &[Marked]) -> Self {
        let mut result = Self::default();
        for marked in all {
            let outcome = if marked.error.is_some() { Outcome::Failed } else { Outcome::Done };
            let at = DestinationOutcome {
                destination: marked.destination.clone(),
                outcome,
                bytes: 0,
                error: None,
                manifest: None,
            };
            let subject = marked.name.as_str().rsplit('/').nth(1).unwrap_or_default();
            result.subjects.push(SubjectOutcome {
                backup: Some(marked.name.clone()),
                destinations: vec![at],
                ..subject_outcome(subject, outcome)
            });
            let message = marked.error.as_ref().map(|error| error.message.clone());
            result.messages.extend(message.map(|message| (marked.destination.clone(), message)));
        }
        result
    }
}
