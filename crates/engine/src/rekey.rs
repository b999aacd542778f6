//! New recipients for stored backups: a header beside each encrypted file, which itself is neither
//! read beyond its own header nor changed.

mod file;
mod wal;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::Utc;
use futures_util::StreamExt;
use futures_util::future::join_all;
use longshore_catalog::catalog::{Backup, Series};
use longshore_catalog::copy::is_damage;
use longshore_config::registry::Registry;
use longshore_config::{Config, Job};
use longshore_core::event::{Event, Observer, Part};
use longshore_core::header::RecipientSet;
use longshore_core::key::{BackupName, Key, Timestamp};
use longshore_core::plugin::{IDENTITY_HINT, Identities};
use longshore_core::stage::Encrypt;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use self::file::{FileRekeyer, SealedFile};
pub use self::wal::RekeyedWal;
use crate::catalogs::{Catalogued, JobChoice, find_name, read_catalogs};
use crate::error_report::ErrorReport;
use crate::mode::Mode;
use crate::restore_page;

/// The number of files rekeyed concurrently at one destination.
const CONCURRENT: usize = 16;

/// The selection of backups to rekey.
#[derive(Clone)]
pub enum RekeyScope<'a> {
    /// All backups of a job, and the WAL archive of its cluster.
    Job(&'a Job),
    /// The backup of this name, or the newest one of a series.
    Backup(String),
    /// All backups and all WAL archives.
    All,
}

/// The result of a rekey.
#[derive(Debug, Serialize)]
pub struct Rekeyed {
    /// The fingerprints of the recipients.
    pub recipients: Vec<String>,
    /// The encrypted backups at each destination.
    pub backups: Vec<RekeyedBackup>,
    /// The encrypted WAL archives at each destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wal: Vec<RekeyedWal>,
    /// The number of backups without encryption, which need no header.
    pub unencrypted: usize,
    /// The destinations and manifests that could not be read.
    pub problems: Vec<RekeyProblem>,
}

/// The result of rekeying one backup at one destination.
#[derive(Debug, Serialize)]
pub struct RekeyedBackup {
    /// The destination.
    pub destination: String,
    /// The name of the backup.
    pub name: BackupName,
    /// The new headers, or those that would be written.
    pub headers: Vec<Key>,
    /// The number of files that the recipients can decrypt already.
    pub present: usize,
    /// The error, if a file could not be rekeyed.
    pub error: Option<ErrorReport>,
    /// True if the error means damage.
    pub damaged: bool,
}

/// A destination or a manifest that could not be read.
#[derive(Debug, Serialize)]
pub struct RekeyProblem {
    /// The destination.
    pub destination: String,
    /// The error.
    pub error: ErrorReport,
}

impl Rekeyed {
    /// Returns the number of headers that were written, or would be.
    pub fn header_count(&self) -> u64 {
        let of_backups = self.backups.iter().map(|backup| backup.headers.len() as u64).sum::<u64>();
        of_backups + self.wal.iter().map(|wal| wal.headers).sum::<u64>()
    }
}

/// Rekeys backups.
pub struct Rekeyer<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The plugins.
    pub registry: &'a Registry,
    /// The identities that decrypt the backups now.
    pub identities: &'a Identities,
    /// The encryption for the new recipients.
    pub encrypt: &'a dyn Encrypt,
    /// The mode.
    pub mode: Mode,
    /// The observer.
    pub observer: Arc<dyn Observer>,
}

impl Rekeyer<'_> {
    /// Rekeys the backups of a scope at every destination, or at one.
    ///
    /// # Errors
    ///
    /// Fails if there is no identity, if the encryption has no headers, or if no backup has the
    /// requested name. Other errors are part of the result.
    pub async fn rekey(&self, scope: &RekeyScope<'_>, only: Option<&str>) -> Result<Rekeyed> {
        if self.encrypt.headers().is_none() {
            let message = "its files have no headers to which recipients could be added";
            return Err(Error::new(Stage::Encrypt, Kind::Refused, self.encrypt.name(), message)
                .hint("only backups encrypted with age can be rekeyed: wait until the older ones expire"));
        }
        if self.identities.is_empty() && self.mode == Mode::Act {
            let message = "there is no identity that decrypts the backups now";
            return Err(Error::new(Stage::Decrypt, Kind::Usage, "rekey", message).hint(IDENTITY_HINT));
        }
        let recipients = self.encrypt.recipients();
        let files = FileRekeyer {
            decrypt: self.registry.decrypt.build(self.encrypt.name(), self.identities)?,
            encrypt: self.encrypt,
            set: RecipientSet::of(&recipients),
            time: Timestamp::new(Utc::now()),
            mode: self.mode,
        };
        let mut rekeyed =
            Rekeyed { recipients, backups: Vec::new(), wal: Vec::new(), unencrypted: 0, problems: Vec::new() };
        let mut catalogs = Vec::new();
        for (destination, read) in read_catalogs(self.config, only).await? {
            let is_in_scope = match scope {
                RekeyScope::Job(job) => job.ship.contains(&destination),
                RekeyScope::Backup(_) | RekeyScope::All => true,
            };
            match read {
                _ if !is_in_scope => {}
                Ok(at) => catalogs.push(at),
                Err(error) => rekeyed.problems.push(RekeyProblem { destination, error: (&error).into() }),
            }
        }
        let name = match scope {
            RekeyScope::Backup(words) => Some(find_name(&catalogs, words, JobChoice::Unavailable)?),
            RekeyScope::Job(_) | RekeyScope::All => None,
        };
        for at in &catalogs {
            let unreadable = at.catalog.unreadable.iter().filter(|_| name.is_none());
            rekeyed.problems.extend(
                unreadable.map(|(_, error)| RekeyProblem { destination: at.name.clone(), error: error.into() }),
            );
        }
        let selected = catalogs.iter().map(|at| (at, select(at, scope, name.as_ref()))).collect::<Vec<_>>();
        let all: Vec<(&Catalogued, &Backup)> =
            selected.iter().flat_map(|(at, backups)| backups.iter().map(|backup| (*at, *backup))).collect();
        let total = selected.iter().map(|(_, backups)| backups.len() as u64).sum();
        let done = AtomicU64::new(0);
        let work = selected.into_iter().map(async |(at, backups)| {
            let (sealed, open): (Vec<_>, Vec<_>) =
                backups.into_iter().partition(|backup| backup.manifest.artifact.encryption.is_some());
            let results = sealed.into_iter().map(async |backup| {
                let result = self.rekey_backup(&files, at, backup).await;
                let done = done.fetch_add(1, Ordering::Relaxed);
                let part = Part { name: backup.name.as_str(), done, of: Some(total) };
                self.observer.event(&Event::PartReached(part));
                result
            });
            let results: Vec<_> = futures_util::stream::iter(results).buffered(CONCURRENT).collect().await;
            (results, open.len())
        });
        for (results, unencrypted) in join_all(work).await {
            rekeyed.backups.extend(results);
            rekeyed.unencrypted += unencrypted;
        }
        let is_unused = self.mode == Mode::DryRun
            || rekeyed.backups.iter().all(|backup| backup.headers.is_empty() && backup.error.is_none());
        if !self.identities.is_empty() && is_unused {
            expect_opened(&files, &all).await?;
        }
        rekeyed.wal = wal::rekey(self, &files, scope, only).await;
        if self.mode == Mode::Act {
            self.write_pages(&catalogs, &mut rekeyed).await;
        }
        Ok(rekeyed)
    }

    /// Rekeys the files of one backup at one destination.
    async fn rekey_backup(&self, files: &FileRekeyer<'_>, at: &Catalogued, backup: &Backup) -> RekeyedBackup {
        let mut rekeyed = RekeyedBackup {
            destination: at.name.clone(),
            name: backup.name.clone(),
            headers: Vec::new(),
            present: 0,
            error: None,
            damaged: false,
        };
        for file in backup.sealed_files() {
            let result = match self.is_original_recipient(backup, file) {
                true => Ok(None),
                false => match expect_encryption(backup, self.encrypt) {
                    Ok(()) => files.rekey(&*at.store, &sealed_file(backup, file)).await,
                    Err(error) => Err(error),
                },
            };
            match result {
                Ok(Some(header)) => rekeyed.headers.push(header),
                Ok(None) => rekeyed.present += 1,
                Err(error) => {
                    rekeyed.damaged = is_damage(&error);
                    rekeyed.error = Some(ErrorReport::from(&error));
                    break;
                }
            }
        }
        rekeyed
    }

    /// Returns true if the manifest lists all recipients as those of the file. Details of marks may
    /// have other recipients.
    fn is_original_recipient(&self, backup: &Backup, file: &Key) -> bool {
        let original = &backup.manifest.recipients;
        backup.manifest.files().any(|own| own.key == *file)
            && self.encrypt.recipients().iter().all(|recipient| original.contains(recipient))
    }

    /// Writes the page about headers to each destination that has new ones: an older page about
    /// restoring by hand does not mention them.
    async fn write_pages(&self, catalogs: &[Catalogued], rekeyed: &mut Rekeyed) {
        for at in catalogs {
            let has_headers = rekeyed.backups.iter().any(|it| it.destination == at.name && !it.headers.is_empty());
            if !has_headers {
                continue;
            }
            if let Err(error) = restore_page::upload_headers_page(&*at.store).await {
                rekeyed.problems.push(RekeyProblem { destination: at.name.clone(), error: (&error).into() });
            }
        }
    }
}

/// Fails if the identities decrypt none of the backups, of which none needed them.
async fn expect_opened(files: &FileRekeyer<'_>, all: &[(&Catalogued, &Backup)]) -> Result<()> {
    let mut sealed = 0;
    for (at, backup) in all.iter().filter(|(_, backup)| backup.manifest.artifact.encryption.is_some()) {
        sealed += 1;
        if files.opens(&*at.store, &sealed_file(backup, &backup.manifest.artifact.key)).await {
            return Ok(());
        }
    }
    if sealed == 0 {
        return Ok(());
    }
    let message = format!("none of the identities given decrypts any of the {sealed} encrypted backups");
    Err(Error::new(Stage::Decrypt, Kind::Denied, "rekey", message)
        .hint("pass --identity with one that decrypts the backups now, not with that of a new recipient"))
}

/// Fails if the backup has another encryption than the new recipients.
fn expect_encryption(backup: &Backup, encrypt: &dyn Encrypt) -> Result<()> {
    let encryption = backup.manifest.artifact.encryption.as_deref().unwrap_or_default();
    if encryption == encrypt.name() {
        return Ok(());
    }
    let message = format!("encrypted with {encryption}, but the new recipients are those of {}", encrypt.name());
    Err(Error::new(Stage::Encrypt, Kind::Refused, backup.name.as_str(), message))
}

/// Returns a file of a backup, with the headers beside it.
fn sealed_file<'a>(backup: &'a Backup, file: &'a Key) -> SealedFile<'a> {
    let bytes = backup.manifest.files().find(|own| own.key == *file).map(|own| own.sealed.bytes);
    SealedFile { key: file, bytes, headers: backup.headers_of(file).collect() }
}

/// Returns the backups of a scope at a destination. With a name, also those that this backup
/// continues.
fn select<'a>(at: &'a Catalogued, scope: &RekeyScope<'_>, name: Option<&BackupName>) -> Vec<&'a Backup> {
    let mut chain: Vec<&BackupName> = name.into_iter().collect();
    while let Some(last) = chain.last()
        && let Some(backup) = at.catalog.backups().find(|backup| backup.name == **last)
        && let Some(parent) = backup.manifest.parent().filter(|parent| !chain.contains(parent))
    {
        chain.push(parent);
    }
    let is_selected = |(series, backup): &(&Series, &Backup)| match (scope, name) {
        (_, Some(_)) => chain.contains(&&backup.name),
        (RekeyScope::Job(job), None) => series.job == job.name && series.cluster == job.site.cluster.name,
        (RekeyScope::Backup(_) | RekeyScope::All, None) => true,
    };
    let all = at.catalog.series.iter().flat_map(|(series, backups)| backups.iter().map(move |backup| (series, backup)));
    all.filter(is_selected).map(|(_, backup)| backup).collect()
}
