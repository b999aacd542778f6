//! Verification of backups: sizes, digests, and, if they can be decrypted, a complete decode.

mod archived_wal;
mod destination_check;
mod difference;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::future::join_all;
use longshore_catalog::catalog::{Backup, Series};
use longshore_catalog::copy::{is_damage, verify_stored};
use longshore_config::registry::Registry;
use longshore_config::{Config, Job};
use longshore_core::event::{Event, Observer, ignore, of_backup};
use longshore_core::key::{BackupName, Key};
use longshore_core::manifest::Verification;
use longshore_core::mark::{Mark, MarkKind};
use longshore_core::meter::Digest;
use longshore_core::pipeline::{Depth, FullBackup, read_back_with, unproven};
use longshore_core::plugin::{Identities, JobContext};
use longshore_core::stage::{Store, Verify};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use self::destination_check::{JobHistories, check_destination};
use crate::catalogs::{Catalogued, adopted_file_error, matches_backup, read_with_wal, unknown_backup};
use crate::comparison::compare_findings;
use crate::details::{expect_details, fetch_record};
use crate::error_report::ErrorReport;
use crate::headers::decryptor;
use crate::hold::mark;
use crate::origin::OriginCheck;
use crate::stages::{site_without_server, verifiers};
use crate::untrusted::is_untrusted;

/// The number of backups read concurrently at one destination.
const READS: usize = 2;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// The selection of backups to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The newest backup of every series.
    Newest,
    /// All backups.
    All,
    /// A percentage of all backups: a different sample each day, until all were read.
    Sample(Percent),
    /// The backups that match the words; the newest of a series.
    Named(String),
}

/// A percentage from 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(u8);

impl Percent {
    /// Creates a percentage, if it is from 1 to 100.
    pub fn new(percent: u8) -> Option<Self> {
        (1..=100).contains(&percent).then_some(Self(percent))
    }

    /// Returns the number of days after which all backups were read.
    fn days(self) -> u64 {
        100_u64.div_ceil(self.0.into())
    }

    /// Returns true if a backup or a file of WAL is in the sample of this day. The name decides, so
    /// no state is needed.
    fn includes(self, name: &str, day: u64) -> bool {
        let digest = Digest::of(name.as_bytes()).hex().to_owned();
        let number = u64::from_str_radix(&digest[..15], 16).unwrap_or_default();
        number % self.days() == day % self.days()
    }
}

/// The result of verifying one backup.
#[derive(Debug, Serialize)]
pub struct VerifyResult {
    /// The destination that contains the backup.
    pub destination: String,
    /// The name of the backup, or the key of an unreadable manifest.
    pub name: String,
    /// The number of bytes read.
    pub bytes: u64,
    /// The depth of the verification, if it succeeded.
    pub depth: Option<Depth>,
    /// The verifiers of the plaintext with their results, if the backup could be decrypted.
    pub verified: Vec<Verification>,
    /// True if the decoded content was compared with the record of the dump.
    pub compared: bool,
    /// The error, if the verification failed.
    pub error: Option<ErrorReport>,
    /// True if the error means damage, and not an unreadable destination.
    pub damaged: bool,
    /// True if the error is a refusal: the record has no permitted signature.
    pub refused: bool,
    /// The error if the result could not be stored as a mark, such as at a read-only destination.
    pub unmarked: Option<ErrorReport>,
}

/// Builds the verifiers for a verification. A job without verifiers dumps without verification, but
/// `longshore verify` then uses the default.
fn read_back_verifiers(registry: &Registry, job: Option<&Job>, site: &JobContext) -> Result<Vec<Arc<dyn Verify>>> {
    verifiers(registry, job.filter(|job| job.verify.as_ref().is_some_and(|verifiers| !verifiers.is_empty())), site)
}

/// Verifies backups.
pub struct BackupVerifier<'a> {
    /// The configuration, with the destinations and the verifiers of jobs.
    pub config: &'a Config,
    /// The plugins.
    pub registry: &'a Registry,
    /// The identities that decrypt backups.
    pub identities: &'a Identities,
    /// The job whose backups are verified; `None` for the backups of all jobs.
    pub job: Option<&'a Job>,
    /// The folder for unpacking formats that cannot be streamed, if not the job's.
    pub scratch_dir: Option<&'a Path>,
    /// The observer.
    pub observer: Arc<dyn Observer>,
}

impl BackupVerifier<'_> {
    /// Verifies backups of one destination, or of all.
    pub async fn verify(&self, scope: &Scope, only: Option<&str>) -> Result<Vec<VerifyResult>> {
        if let Some(name) = only {
            self.config.destination(name)?;
        }
        let chosen = self.config.destinations.keys().filter(|name| only.is_none_or(|only| only == name.as_str()));
        let chosen = chosen.filter(|name| self.job.is_none_or(|job| job.ship.contains(name)));
        let catalogs = read_with_wal(self.config, chosen).await;
        let histories = JobHistories::of(self.config);
        let reads = catalogs.iter().map(async |(destination, at)| match at {
            Ok(at) => self.verify_destination(at, scope, &histories).await,
            Err(error) => vec![failed_result(destination, "", error)],
        });
        let all: Vec<_> = join_all(reads).await.into_iter().flatten().collect();
        match scope {
            Scope::Named(words) if all.is_empty() => {
                let read = || catalogs.iter().filter_map(|(_, at)| at.as_ref().ok());
                Err(adopted_file_error(read(), words).unwrap_or_else(|| unknown_backup(read(), words)))
            }
            _ => Ok(all),
        }
    }

    /// Verifies backups of one destination.
    async fn verify_destination(
        &self,
        at: &Catalogued,
        scope: &Scope,
        histories: &JobHistories<'_>,
    ) -> Vec<VerifyResult> {
        // An unreadable manifest may be the newest of its series, so it is reported unless another
        // backup was named.
        let unreadable = at.catalog.unreadable.iter().filter(|(key, _)| scope.may_select(key));
        let mut all: Vec<_> = unreadable.map(|(key, error)| failed_result(&at.name, key.as_str(), error)).collect();
        all.extend(
            at.history
                .iter()
                .map(|problem| VerifyResult { refused: true, ..failed_result(&at.name, "", &problem.error(&at.name)) }),
        );
        let backups = selected_backups(at, scope, self.job);
        let bytes = backups.iter().map(|backup| self.bytes(backup)).fold(0, u64::saturating_add);
        self.observer.event(&Event::BytesPlanned(bytes));
        let reads = backups.into_iter().map(async |backup| {
            let mut read = self.verify_backup(at, backup).await?;
            histories.record_decoded(backup, &mut read);
            Some(read)
        });
        let read: Vec<_> = futures_util::stream::iter(reads).buffered(READS).collect().await;
        all.extend(read.into_iter().flatten());
        all.extend(self.verify_wal(at, scope).await);
        all.extend(check_destination(self, at, scope).await);
        all
    }

    /// Returns the number of bytes of a backup's verification: of the plaintext if it is decoded,
    /// else of the stored file.
    fn bytes(&self, backup: &Backup) -> u64 {
        let artifact = &backup.manifest.artifact;
        if self.decodes(backup) { artifact.plaintext.bytes } else { artifact.sealed.bytes }
    }

    /// Returns true if a backup is decoded, and not only compared with the digest of its
    /// stored bytes.
    fn decodes(&self, backup: &Backup) -> bool {
        let encryption = backup.manifest.artifact.encryption.as_deref();
        encryption.is_none_or(|encryption| self.registry.can_decrypt(encryption, self.identities))
    }

    /// Verifies one backup. Returns `None` if the backup was deleted meanwhile.
    async fn verify_backup(&self, at: &Catalogued, backup: &Backup) -> Option<VerifyResult> {
        let job = self.config.jobs.get(&backup.manifest.job);
        let mut site = job.map_or_else(site_without_server, |job| job.site.clone());
        if let Some(scratch_dir) = self.scratch_dir {
            site.scratch_dir = Some(scratch_dir.to_owned());
        }
        let observer = of_backup(&self.observer, backup.name.clone());
        let counting = Arc::new(Counting { bytes: AtomicU64::new(0), inner: observer });
        let observer: Arc<dyn Observer> = counting.clone();
        let encryption = backup.manifest.artifact.encryption.as_ref();
        let is_by_program = encryption.is_some_and(|encryption| self.identities.programs.contains_key(encryption));
        // Damage of the stored bytes, until decoding begins.
        let mut found_by = Depth::Sealed;
        let read = async {
            let artifact = &backup.manifest.artifact.key;
            let decryptor = decryptor(self.registry, self.identities, backup, artifact, &[&*at.store]).await?;
            let mut verifiers = read_back_verifiers(self.registry, job, &site)?;
            verifiers.insert(0, Arc::new(OriginCheck::new(self.registry, &backup.manifest)?));
            let full = difference::full_backup(at, backup)?;
            let full_decryptor = match full {
                Some(full) => {
                    let artifact = &full.manifest.artifact.key;
                    self::decryptor(self.registry, self.identities, full, artifact, &[&*at.store]).await?
                }
                None => None,
            };
            let full = full.map(|full| FullBackup { manifest: &full.manifest, decrypt: full_decryptor.as_deref() });
            let read = (&*backup.manifest, decryptor.as_deref());
            let read = read_back_with(&*at.store, read, full, &verifiers, &observer).await?;
            expect_details(&backup.manifest)?;
            if read.depth == Depth::Sealed {
                return Ok((read, false));
            }
            found_by = Depth::Decoded;
            // Details of another backup are damage, even if there is nothing to compare.
            let recorded = fetch_record(self.registry, self.identities, &*at.store, backup).await?;
            let compared = compare_findings(backup, recorded.as_ref(), &verifiers, &read.reports)?;
            Ok::<_, Error>((read, compared))
        };
        let read = match read.await {
            // A file whose own header is damaged accepts no header beside it, and a program that
            // fails does not show whether the stored bytes are damaged.
            Err(error)
                if (error.kind() == Kind::Denied && !backup.headers.is_empty())
                    || (!is_damage(&error) && error.stage() == Stage::Decrypt && is_by_program) =>
            {
                match verify_stored(&*at.store, backup, &ignore()).await {
                    Err(damage) if is_damage(&damage) => Err(damage),
                    _ => Err(error),
                }
            }
            read => read,
        };
        if read.as_ref().is_err_and(is_damage) && difference::is_full_damaged(at, backup).await {
            return Some(difference::result(at, backup));
        }
        let is_damaged = read.as_ref().is_err_and(is_damage);
        let mut read = read;
        if is_damaged && self.decodes(backup) && verify_stored(&*at.store, backup, &ignore()).await.is_ok() {
            // The stored bytes match their digest: only decoding finds the damage, if the plaintext
            // is authentic.
            found_by = Depth::Decoded;
            read = read.map_err(|error| match is_by_program {
                true => unproven(backup.name.as_str(), error),
                false => error,
            });
        }
        let (read, compared, error) = match read {
            Ok((read, compared)) => (Some(read), compared, None),
            Err(error) if is_missing(&error) && was_deleted(&*at.store, backup).await => return None,
            Err(error) => (None, false, Some(error)),
        };
        let depth = read.as_ref().map(|read| read.depth);
        let unmarked = mark_result(at, backup, depth.unwrap_or(found_by), error.as_ref()).await.err();
        Some(VerifyResult {
            destination: at.name.clone(),
            name: backup.name.to_string(),
            bytes: counting.bytes.load(Ordering::Relaxed),
            depth,
            compared,
            verified: read.into_iter().flat_map(|read| read.reports).map(|found| found.verification).collect(),
            damaged: error.as_ref().is_some_and(is_damage),
            refused: false,
            error: error.as_ref().map(ErrorReport::from),
            unmarked: unmarked.as_ref().map(ErrorReport::from),
        })
    }
}

/// Stores the result of a verification as a mark beside the backup, if it is new: retention depends
/// on marks. Intact stored bytes do not disprove damage found by decoding.
pub(crate) async fn mark_result(
    at: &Catalogued,
    backup: &Backup,
    found_by: Depth,
    error: Option<&Error>,
) -> Result<()> {
    let marks = &backup.marks;
    let (kind, why) = match error {
        None if found_by == Depth::Sealed && marks.content_differs() => return Ok(()),
        None if !marks.verified() => (MarkKind::Verified, String::new()),
        Some(error) if is_damage(error) && found_by == Depth::Decoded && !marks.content_differs() => {
            // The causes name tables, so they are stored unencrypted only if the backup is.
            let is_sealed = backup.manifest.artifact.encryption.is_some();
            (MarkKind::Damaged, if is_sealed { error.to_string() } else { error.chain() })
        }
        Some(error) if is_damage(error) && !marks.failed_read_back() => (MarkKind::Damaged, error.chain()),
        _ => return Ok(()),
    };
    let last = [MarkKind::Verified, MarkKind::Damaged].iter().filter_map(|kind| backup.marks.latest(*kind)).max();
    let now = Utc::now();
    let time = last.map_or(now, |last| now.max(last.time() + TimeDelta::seconds(1)));
    let mark = Mark { decoded: kind == MarkKind::Damaged && found_by == Depth::Decoded, ..mark(None, &why) };
    longshore_catalog::mark::put(&mark, &*at.store, &backup.name, kind, time).await.map(drop)
}

/// Counts the bytes read of one backup, and passes all events on.
struct Counting {
    bytes: AtomicU64,
    inner: Arc<dyn Observer>,
}

impl Observer for Counting {
    fn event(&self, event: &Event<'_>) {
        if let Event::BytesRead(bytes) = event {
            self.bytes.fetch_add(*bytes, Ordering::Relaxed);
        }
        self.inner.event(event);
    }
}

impl Scope {
    /// Returns true if the key may be the manifest of a selected backup.
    fn may_select(&self, manifest: &Key) -> bool {
        let Self::Named(words) = self else { return true };
        let Some(name) = BackupName::from_manifest_key(manifest) else { return false };
        let subject = manifest.folder().rsplit('/').next().unwrap_or_default();
        [name.as_str(), name.file_name(), manifest.as_str(), manifest.folder(), subject].contains(&words.as_str())
            || Subject::database(words).segment() == subject
            // 0.1.0 used another folder for some databases.
            || Subject::database(subject).segment() == *words
    }
}

/// Returns true if the manifest is missing, too: a prune deletes the manifest first, so the
/// backup was pruned.
async fn was_deleted(store: &dyn Store, backup: &Backup) -> bool {
    store.fetch(&backup.name.manifest(), None).await.is_err_and(|error| error.kind() == Kind::NotFound)
}

fn selected_backups<'a>(at: &'a Catalogued, scope: &Scope, job: Option<&Job>) -> Vec<&'a Backup> {
    let is_of_job =
        |series: &Series| job.is_none_or(|job| series.job == job.name && series.cluster == job.site.cluster.name);
    let series = at.catalog.series.iter().filter(|(series, _)| is_of_job(series)).map(|(_, backups)| backups);
    match scope {
        Scope::All => series.flatten().collect(),
        Scope::Sample(percent) => {
            let day = Utc::now().timestamp().unsigned_abs() / DAY_SECONDS;
            series.flatten().filter(|backup| percent.includes(backup.name.as_str(), day)).collect()
        }
        Scope::Newest => series.filter_map(|backups| backups.last()).collect(),
        Scope::Named(words) => series
            .filter_map(|backups| {
                let exact = backups.iter().find(|b| *words == b.name.as_str() || *words == b.name.file_name());
                exact.or_else(|| backups.last().filter(|backup| matches_backup(words, backup)))
            })
            .collect(),
    }
}

fn failed_result(destination: &str, name: &str, error: &Error) -> VerifyResult {
    VerifyResult {
        destination: destination.to_owned(),
        name: name.to_owned(),
        bytes: 0,
        depth: None,
        verified: Vec::new(),
        compared: false,
        error: Some(error.into()),
        damaged: is_damage(error),
        refused: is_untrusted(error),
        unmarked: None,
    }
}

/// Returns true if a destination has no object under the key.
fn is_missing(error: &Error) -> bool {
    error.kind() == Kind::NotFound && error.stage() == Stage::Ship
}
