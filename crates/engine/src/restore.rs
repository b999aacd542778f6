//! Restores: one subject, or everything that a run made, globals first.

mod attempt;
mod choice;
mod program;
mod stages;

use std::collections::BTreeSet;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt};
use longshore_config::registry::Registry;
use longshore_core::check::{self, Finding};
use longshore_core::difference::reconstruct;
use longshore_core::drill::{Comparison, Drill, Phase};
use longshore_core::error::printable;
use longshore_core::event::{Event, Observer, RestoreStart, Step, ignore, of_backup, report_reads};
use longshore_core::left_out::LeftOut;
use longshore_core::manifest::Manifest;
use longshore_core::pipeline::{Source, open_from};
use longshore_core::plugin::{Identities, Target};
use longshore_core::stage::{self, Restore, RestoreRequest};
use longshore_core::stream::{ByteStream, collect, drain, transform};
use longshore_core::subject::SubjectKind;
use longshore_core::{Error, Kind, Result, Stage};
use serde_json::{Map, Value};
use tracing::Instrument;

use self::attempt::Attempt;
use self::choice::LastDrill;
use crate::comparison::checked_plaintext;
use crate::details::{Details, expect_details, expect_same_backup, fetch_details};
use crate::headers::artifact_decryptor;
use crate::lease::Lease;
use crate::link::{self, Link, LinkBytes};
use crate::origin::OriginCheck;

pub use self::choice::{Choice, Chosen, Globals, Selector, choose};
pub use self::program::program_target;
pub(crate) use self::program::restore_programs;
pub(crate) use self::stages::{RestoreStages, restore_stage};

/// Streams the plaintext of a chosen backup from its destinations in turn. A difference is merged
/// with the full backup. The observer is that of the backup.
async fn plaintext(
    registry: &Registry,
    attempt: &Attempt<'_>,
    identities: &Identities,
    observer: &Arc<dyn Observer>,
) -> Result<ByteStream> {
    let links: Vec<_> = attempt.links().enumerate().collect();
    let is_difference = links.last().is_some_and(|(_, (backup, _))| backup.manifest.is_difference());
    let read = if is_difference { 2 } else { 1 };
    let mut full = None;
    for (index, (backup, sources)) in links.into_iter().rev().take(read).rev() {
        let decryptor = artifact_decryptor(registry, identities, backup, &sources).await?;
        let observer = Arc::clone(observer);
        let on_source_failed =
            move |error: &Error, to: &Source| observer.event(&Event::SourceFailed { error, next: &to.name });
        let manifest = &backup.manifest;
        let position = attempt.position();
        let opened = open_from(&sources, manifest, decryptor.as_deref(), on_source_failed).await;
        let opened = opened.inspect_err(|_| position.store(index, Ordering::Relaxed))?;
        let opened = opened.inspect_err(move |_| position.store(index, Ordering::Relaxed)).boxed();
        let opened = match (full.take(), manifest.is_difference()) {
            (Some(full), true) => reconstruct(full, opened, manifest)?,
            (None, false) => opened,
            _ => return Err(not_alone(manifest)),
        };
        full = Some(OriginCheck::new(registry, manifest)?.checked(opened));
    }
    full.ok_or_else(|| Error::new(Stage::Restore, Kind::NotFound, "", "no backup to read"))
}

fn not_alone(manifest: &Manifest) -> Error {
    let message = "is a difference, and can only be read with its full backup";
    Error::new(Stage::Restore, Kind::NotFound, manifest.artifact.key.as_str(), message)
}

/// Streams the plaintext of a chosen backup.
pub(crate) async fn inspected_plaintext(
    registry: &Registry,
    chosen: &Chosen,
    identities: &Identities,
) -> Result<ByteStream> {
    plaintext(registry, &Attempt::new(chosen), identities, &ignore()).await
}

/// The result of restoring one backup.
pub type RestoreResult = Result<RestoredBackup>;

/// A backup that was restored.
#[derive(Debug, Default)]
pub struct RestoredBackup {
    /// Notes for the operator.
    pub notes: Vec<String>,
    /// The phases of the restore, with their durations.
    pub phases: Vec<Phase>,
    /// The comparisons with the record of the dump; empty if none were requested, or if the backup
    /// has no record.
    pub comparisons: Vec<Comparison>,
    /// Entries that could not be created after the data was restored.
    pub left_out: Vec<LeftOut>,
    /// The reason why nothing could be compared, although the backup has a record of its dump.
    pub not_compared: Option<String>,
}

/// The comparison of a restored database with the record of its dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Compare with the record.
    Recorded,
    /// Do not compare.
    Nothing,
}

/// Restores backups.
pub struct Restorer<'a> {
    /// The plugins.
    pub registry: &'a Registry,
    /// The target of the restore.
    pub target: &'a Target,
    /// The identities that decrypt backups.
    pub identities: &'a Identities,
    /// The number of databases restored at once.
    pub parallel: usize,
    /// The comparison of restored databases.
    pub compare: Compare,
    /// The observer.
    pub observer: Arc<dyn Observer>,
}

impl Restorer<'_> {
    /// Restores into the target. Checks everything before the first byte is fetched. After that, a
    /// failed database does not stop the others, but failed globals do.
    pub async fn restore(&self, chosen: &[Chosen]) -> Result<Vec<RestoreResult>> {
        let stages = self.stages(chosen)?;
        let records = self.records(chosen).await?;
        let findings = stages.prepare(&wanted(chosen, &records)).await?;
        expect_no_failures(&findings)?;
        let warnings: BTreeSet<_> =
            findings.iter().filter(|finding| finding.outcome == check::Outcome::Warning).map(format_finding).collect();
        warnings.iter().for_each(|warning| self.observer.event(&Event::Warned(warning)));
        self.restore_all(&stages, chosen, &records).await
    }

    /// Checks the target as a restore would, without restoring.
    pub async fn plan(&self, chosen: &[Chosen]) -> Result<Vec<Finding>> {
        let records = self.records(chosen).await?;
        self.stages(chosen)?.prepare(&wanted(chosen, &records)).await
    }

    /// Checks the target as a restore would.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if the target cannot take the backups.
    pub async fn check_target(&self, chosen: &[Chosen]) -> Result<()> {
        expect_no_failures(&self.plan(chosen).await?)
    }

    /// Builds the stages that restore the backups.
    fn stages(&self, chosen: &[Chosen]) -> Result<RestoreStages> {
        RestoreStages::build(self.registry, self.target, chosen.iter().map(|chosen| &*chosen.backup.manifest))
    }

    /// Reads the record of each backup. Details of another backup are an error before anything is
    /// restored. Unreadable details are only a warning, since the dump itself can be restored.
    async fn records(&self, chosen: &[Chosen]) -> Result<Vec<DumpRecord>> {
        let mut records = Vec::new();
        for chosen in chosen {
            for link in chosen.links() {
                crate::stages::decryptor(self.registry, self.identities, &link.backup)?;
            }
            let manifest = &chosen.backup.manifest;
            let read = async {
                expect_details(manifest)?;
                fetch_chosen_details(self.registry, self.identities, chosen).await
            };
            let recorded = match read.await {
                Ok(None) => DumpRecord::default(),
                Ok(Some(details)) => {
                    expect_same_backup(manifest, &details)?;
                    DumpRecord { details: details.record, unreadable: None }
                }
                Err(error) => {
                    let unreadable = error.chain();
                    self.observer.event(&Event::Warned(&format!(
                        "{}: the record of its dump cannot be read, so fewer checks precede the restore and no comparison follows it: {unreadable}",
                        chosen.backup.name
                    )));
                    DumpRecord { details: None, unreadable: Some(unreadable) }
                }
            };
            records.push(recorded);
        }
        Ok(records)
    }

    /// Restores all backups, globals first.
    async fn restore_all(
        &self,
        stages: &RestoreStages,
        chosen: &[Chosen],
        records: &[DumpRecord],
    ) -> Result<Vec<RestoreResult>> {
        let all = chosen.iter().zip(records).zip(stages.iter());
        let (globals, others): (Vec<_>, Vec<_>) =
            all.partition(|((chosen, _), _)| chosen.backup.manifest.subject.kind() == SubjectKind::ClusterSql);
        let mut all = Vec::new();
        for ((chosen, record), restorer) in globals {
            let restored = self.restore_backup(restorer, chosen, record).await;
            let has_failed = restored.is_err();
            all.push(restored);
            if has_failed {
                return Ok(all);
            }
        }
        // Restores end in any order: a long one does not delay the others.
        let restores = others.into_iter().enumerate();
        let restores: Vec<_> = restores
            .map(|(index, ((chosen, record), restorer))| {
                let restored = self.restore_backup(restorer, chosen, record);
                async move { (index, restored.await) }
            })
            .collect();
        let mut restored: Vec<_> =
            futures_util::stream::iter(restores).buffer_unordered(self.parallel.max(1)).collect().await;
        restored.sort_by_key(|(index, _)| *index);
        all.extend(restored.into_iter().map(|(_, restored)| restored));
        Ok(all)
    }

    /// Restores one backup and notifies the observer. Only the definitions of globals are compared
    /// with their record.
    async fn restore_backup(&self, restorer: &dyn Restore, chosen: &Chosen, recorded: &DumpRecord) -> RestoreResult {
        let defined = recorded.details.as_ref();
        let record = defined.filter(|_| chosen.backup.manifest.subject.kind() != SubjectKind::ClusterSql);
        let observer = of_backup(&self.observer, chosen.backup.name.clone());
        let estimated_seconds = estimate(chosen).await;
        observer.event(&Event::RestoreStarted(RestoreStart {
            subject: &chosen.backup.manifest.subject,
            destination: &chosen.destination,
            plaintext_bytes: chosen.plaintext_bytes(),
            estimated_seconds,
        }));
        let mut leases = Vec::new();
        for link in chosen.links() {
            leases.push(Lease::take(&*link.store, &link.backup.name).await);
        }
        let span = tracing::info_span!(target: "longshore::restore", "restore", backup = %chosen.backup.name);
        let restoring = self.restore_from_sources(restorer, chosen, record, defined, &observer);
        let mut restored = restoring.instrument(span).await;
        if let (Ok((outcome, Some(database))), Some(record)) = (&mut restored, record)
            && let Some(details) = restorer.comparable_details(record, &outcome.left_out)
        {
            observer.event(&Event::StepStarted(Step::Compare));
            self.compare(outcome, database, chosen, &details).await;
        }
        for lease in leases {
            lease.release().await;
        }
        let mut restored = restored.map(|(outcome, _)| outcome);
        if let Ok(outcome) = &mut restored
            && self.is_compared()
        {
            outcome.not_compared.clone_from(&recorded.unreadable);
        }
        let phases = restored.as_ref().map(|outcome| outcome.phases.as_slice());
        observer.event(&Event::RestoreFinished(phases));
        restored
    }

    /// Restores one backup, from the next destination if the bytes at one are damaged. Also returns
    /// the name of the restored database.
    async fn restore_from_sources(
        &self,
        restorer: &dyn Restore,
        chosen: &Chosen,
        record: Option<&Map<String, Value>>,
        defined: Option<&Map<String, Value>>,
        observer: &Arc<dyn Observer>,
    ) -> Result<(RestoredBackup, Option<String>)> {
        let wanted =
            RestoreRequest { manifest: &chosen.backup.manifest, details: record, earlier: &chosen.earlier_manifests };
        let mut damaged: Option<Error> = None;
        let mut attempt = Attempt::new(chosen);
        loop {
            let restored = async {
                let recorded = defined.filter(|_| self.compare == Compare::Recorded);
                let plaintext = self.checked_plaintext(chosen, &attempt, recorded, observer).await?;
                restorer.restore(wanted, report_reads(plaintext, Arc::clone(observer))).await
            };
            match (restored.await, damaged.take()) {
                (Ok(restored), _) => {
                    let stage::Restored { notes, phases, database, warnings, left_out } = restored;
                    warnings.iter().for_each(|warning| observer.event(&Event::Warned(warning)));
                    return Ok((RestoredBackup { notes, phases, left_out, ..RestoredBackup::default() }, database));
                }
                // The first attempt left data in an existing database, so the next
                // attempt is refused.
                (Err(error), Some(first)) if error.kind() == Kind::Refused => return Err(first),
                // With `Append`, a second attempt would duplicate rows.
                (Err(error), _) if error.kind() == Kind::Corrupt && !self.target.appends() => {
                    match attempt.skip_damaged() {
                        Some(next) => observer.event(&Event::SourceFailed { error: &error, next: &next.name }),
                        None => return Err(error),
                    }
                    damaged = Some(error);
                }
                (Err(error), _) => return Err(error),
            }
        }
    }

    /// Opens the plaintext of a backup, after those that it continues.
    async fn checked_plaintext(
        &self,
        chosen: &Chosen,
        attempt: &Attempt<'_>,
        recorded: Option<&Map<String, Value>>,
        observer: &Arc<dyn Observer>,
    ) -> Result<ByteStream> {
        if !chosen.backup.manifest.is_incremental() {
            let plaintext = plaintext(self.registry, attempt, self.identities, observer).await?;
            return checked_plaintext(self.registry, &chosen.backup.manifest, recorded, plaintext);
        }
        let mut links = Vec::new();
        for (backup, sources) in attempt.links() {
            let decryptor = artifact_decryptor(self.registry, self.identities, backup, &sources).await?;
            links.push(Link::new(self.registry, decryptor, backup, LinkBytes::Stored(sources), observer)?);
        }
        Ok(link::concatenate(links, attempt.position()))
    }

    /// Returns true if the result is to be compared. Rows appended to existing ones cannot be.
    fn is_compared(&self) -> bool {
        self.compare == Compare::Recorded && !self.target.appends()
    }

    /// Compares a restored database with the record of the dump.
    async fn compare(
        &self,
        outcome: &mut RestoredBackup,
        database: &str,
        chosen: &Chosen,
        details: &Map<String, Value>,
    ) {
        let Target::Database(target) = self.target else { return };
        if !self.is_compared() {
            return;
        }
        let begun = Instant::now();
        let compared = async {
            let examiner = self.registry.examine.build(&self.registry.default_examine, &target.cluster)?;
            examiner.compare(database, &chosen.backup.manifest, details).await
        };
        match compared.await {
            Ok(comparisons) => outcome.comparisons = comparisons,
            Err(error) => outcome.notes.push(format!(
                "database \"{}\" could not be compared with the record of its dump: {}",
                printable(database),
                error.chain()
            )),
        }
        outcome.phases.push(Phase {
            name: "compare".to_owned(),
            seconds: begun.elapsed().as_secs_f64(),
            restores: false,
        });
    }
}

/// The record of one dump.
#[derive(Debug, Default)]
struct DumpRecord {
    details: Option<Map<String, Value>>,
    /// The reason why an existing record cannot be read.
    unreadable: Option<String>,
}

/// Reads the details of a chosen backup from the first destination that returns them intact.
async fn fetch_chosen_details(
    registry: &Registry,
    identities: &Identities,
    chosen: &Chosen,
) -> Result<Option<Details>> {
    let mut first = None;
    for source in &chosen.sources {
        match fetch_details(registry, identities, &*source.store, &chosen.backup).await {
            Ok(details) => return Ok(details),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(None), Err)
}

/// Returns the backups to restore, each with its record.
fn wanted<'a>(chosen: &'a [Chosen], records: &'a [DumpRecord]) -> Vec<RestoreRequest<'a>> {
    let all = chosen.iter().zip(records);
    all.map(|(chosen, record)| RestoreRequest {
        manifest: &chosen.backup.manifest,
        details: record.details.as_ref(),
        earlier: &chosen.earlier_manifests,
    })
    .collect()
}

/// Formats a finding and its remedy on one line.
fn format_finding(finding: &Finding) -> String {
    match &finding.remedy {
        Some(remedy) => format!("{}; {remedy}", finding.message),
        None => finding.message.clone(),
    }
}

/// Fails if any finding prevents the restore, with all of them as the cause.
fn expect_no_failures(findings: &[Finding]) -> Result<()> {
    let failed: BTreeSet<String> =
        findings.iter().filter(|finding| finding.outcome == check::Outcome::Failed).map(format_finding).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let lines = failed.into_iter().collect::<Vec<_>>().join("\n");
    Err(Error::new(Stage::Restore, Kind::Refused, "target", "cannot take the backups; nothing was changed")
        .because(lines))
}

/// The maximum size of a drill's record, in bytes.
const MAX_DRILL_BYTES: usize = 1 << 20;

/// Estimates the duration of a restore in seconds, from the last drill of the series and the sizes
/// of both backups.
async fn estimate(chosen: &Chosen) -> Option<f64> {
    let LastDrill { store, key, plaintext_bytes } = chosen.drilled.as_ref()?;
    let bytes =
        collect(store.fetch(key, None).await.ok()?, MAX_DRILL_BYTES, Stage::Catalog, key.as_str()).await.ok()?;
    let drill: Drill = serde_json::from_slice(&bytes).ok()?;
    let size_ratio = chosen.plaintext_bytes() as f64 / (*plaintext_bytes).max(1) as f64;
    Some(drill.restore_seconds() * size_ratio)
}

/// Returns the contents of a backup, one entry a line.
pub async fn contents(
    registry: &Registry,
    chosen: &Chosen,
    target: &Target,
    identities: &Identities,
) -> Result<Vec<String>> {
    let plaintext = inspected_plaintext(registry, chosen, identities).await?;
    restore_stage(registry, target, &chosen.backup.manifest)?.contents(&chosen.backup.manifest, plaintext).await
}

/// Writes the plaintext to a new file of mode 600. Removes an incomplete file.
pub async fn save(registry: &Registry, chosen: &Chosen, path: &Path, identities: &Identities) -> Result<()> {
    // The file contains only the plaintext, so unreadable details do not matter.
    if let Ok(Some(details)) = fetch_chosen_details(registry, identities, chosen).await {
        expect_same_backup(&chosen.backup.manifest, &details)?;
    }
    let plaintext = inspected_plaintext(registry, chosen, identities).await?;
    let name = path.display().to_string();
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| {
        Error::io(Stage::Restore, &name, "cannot create the file", error).hint("name a new file in an existing folder")
    })?;
    let unfinished = Unfinished(Some(path.to_owned()));
    let wrap = move |error| Error::io(Stage::Restore, name, "cannot write the file", error);
    let written = transform(plaintext, wrap, move |reader, _| {
        std::io::copy(reader, &mut file)?;
        file.sync_all()
    });
    drain(written).await?;
    unfinished.finish();
    Ok(())
}

/// A file that is removed unless it is finished.
struct Unfinished(Option<PathBuf>);

impl Unfinished {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // The error that led here already reports the file as incomplete.
            std::fs::remove_file(path).ok();
        }
    }
}
