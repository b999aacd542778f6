//! Dump → Verify → compare → compress → Encrypt → Ship: one read is shipped to every destination,
//! followed by the manifest.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::future::join_all;

use super::record::{ship_record, sign_record};
use crate::adopted_from::AdoptedFrom;
use crate::base::{BaseFacts, WalLocation};
use crate::compress::{Compression, CompressionStats};
use crate::difference::{Choice, Differ, Difference, EXTENSION, Encoded, Outcome};
use crate::error::{Error, Kind, Result, Stage};
use crate::event::{Event, Observer};
use crate::fan_out::fan_out;
use crate::key::{BackupName, Key, Timestamp};
use crate::manifest::{self, Artifact, Cluster, Manifest, SealedFile, Shipment};
use crate::meter::{Algorithm, Digest, meter};
use crate::provenance::Provenance;
use crate::stage::{DumpNotes, Dumped, Encrypt, HeldSnapshot, Store, Verify, VerifyReport, verifiers_of};
use crate::stream::{self, ByteStream, OnEnd};
use crate::subject::Subject;

/// The maximum number of bytes of encrypted details.
const MAX_DETAILS_BYTES: usize = 256 << 20;

/// The time to wait for archived WAL before the wait is reported.
const SILENT_WAIT: Duration = Duration::from_secs(10);

/// The stages that every dump of a job passes.
pub struct Pipeline {
    /// The verifiers, in order.
    pub verify: Vec<Arc<dyn Verify>>,
    /// The encryption; absent only if the configuration explicitly disables it.
    pub encrypt: Option<Arc<dyn Encrypt>>,
    /// The destinations.
    pub destinations: Vec<Destination>,
    /// The archived WAL of base backups without WAL of their own, if there is an archive.
    pub needed_wal: Option<Arc<dyn NeededWal>>,
}

/// A configured store and its name.
#[derive(Clone)]
pub struct Destination {
    /// The destination's name in the configuration.
    pub name: String,
    /// The store.
    pub store: Arc<dyn Store>,
}

/// The archived WAL that a base backup without WAL of its own needs.
#[async_trait]
pub trait NeededWal: Send + Sync {
    /// Waits until a destination has the WAL that makes a base backup consistent. Fails if it does
    /// not receive that WAL.
    async fn expect(&self, destination: &Destination, manifest: &Manifest) -> Result<()>;
}

/// The header of a backup to make.
#[derive(Debug, Clone)]
pub struct BackupSpec {
    /// The job's name.
    pub job: String,
    /// The run's id.
    pub run: String,
    /// The number of backups that the run is to make.
    pub run_backups: u32,
    /// Parts of the cluster that no backup of the run contains.
    pub run_not_captured: Vec<String>,
    /// The time that all backups of the run share.
    pub time: Timestamp,
    /// The cluster to read.
    pub cluster: Cluster,
    /// The subject to copy.
    pub subject: Subject,
    /// The backups that this backup needs, by the name of the destination that contains them.
    pub needs: BTreeMap<String, Vec<BackupName>>,
    /// The file of another program to make the backup of, instead of a new dump.
    pub adopted_from: Option<AdoptedFrom>,
}

/// The result of a dump that was read completely and verified.
#[derive(Debug)]
pub struct Shipped {
    /// The backup's name, the same at every destination.
    pub name: BackupName,
    /// The manifest, if any destination stored the artifact. Its `needs` are empty here, since they
    /// differ by destination.
    pub manifest: Option<Manifest>,
    /// The server's manifest of a base backup, which the next incremental backup needs.
    pub base_manifest: Option<Arc<File>>,
    /// The snapshot that the backup was read from, if it may stay on the host.
    pub snapshot: Option<Box<dyn HeldSnapshot>>,
    /// Notes about the dump.
    pub notes: DumpNotes,
    /// Statistics of the compression, if the pipeline compressed.
    pub compression_stats: Option<CompressionStats>,
    /// The result of the comparison with a full backup, if there was one.
    pub difference: Option<OnEnd<Outcome>>,
    /// The result at each destination.
    pub deliveries: Vec<Delivery>,
}

/// The result of a backup at one destination.
#[derive(Debug)]
pub struct Delivery {
    /// The destination's name.
    pub destination: String,
    /// Success if the complete backup is stored there.
    pub result: Result<()>,
    /// The number of bytes of the artifact that were uploaded.
    pub bytes: u64,
    /// The duration of the upload.
    pub took: Duration,
    /// The digest of the manifest at this destination, if the backup is stored there.
    pub manifest: Option<Digest>,
}

impl Delivery {
    /// Returns the record for the manifest. It omits the error, which may name confidential hosts
    /// and folders.
    fn shipment(&self) -> Shipment {
        let seconds = self.took.as_millis() as f64 / 1000.0;
        Shipment { destination: self.destination.clone(), arrived: self.result.is_ok(), bytes: self.bytes, seconds }
    }
}

impl Pipeline {
    /// Passes a dump through all stages to all destinations, and reports to `observer`.
    ///
    /// Fails if the dump failed or was damaged; then no destination contains any of it. A
    /// destination that fails is a failed [`Delivery`], and does not affect the others.
    pub async fn back_up(&self, spec: &BackupSpec, dumped: Dumped, observer: &Arc<dyn Observer>) -> Result<Shipped> {
        self.back_up_with(spec, dumped, None, observer).await
    }

    /// Backs up like [`Self::back_up`]. With a differ, the dump may be stored as a difference.
    pub async fn back_up_with(
        &self,
        spec: &BackupSpec,
        dumped: Dumped,
        differ: Option<Differ>,
        observer: &Arc<dyn Observer>,
    ) -> Result<Shipped> {
        if self.destinations.is_empty() {
            let error = Error::new(Stage::Ship, Kind::Usage, spec.subject.to_string(), "no destination is configured");
            return Err(error);
        }
        // The age of a backup is that of its data.
        let dumped_at = spec.adopted_from.as_ref().map(|origin| origin.time);
        let started = dumped_at.unwrap_or_else(Utc::now);
        let begun = Instant::now();
        let Dumped { stream, format, estimated_bytes, compression, tool, database, base_manifest, snapshot, notes } =
            dumped;
        if let Some(bytes) = estimated_bytes {
            observer.event(&Event::BytesPlanned(bytes));
        }
        let label = spec.subject.to_string();
        let name = BackupName::new(&spec.cluster.name, &spec.subject.segment(), spec.time)?;

        let reader_observer = Arc::clone(observer);
        let (stream, plaintext) =
            meter(stream, Algorithm::Blake3, move |bytes| reader_observer.event(&Event::BytesRead(bytes)));
        let (stream, reports) = self.verify_stream(&spec.subject, &format, stream, observer);
        let (stream, choice, outcome) = match differ {
            Some(differ) => {
                let Encoded { stream, choice, outcome } = differ.begin(stream, compression, &label).await;
                (stream, choice, Some(outcome))
            }
            None => (stream, Choice::Full, None),
        };
        let key = self.artifact_key(&name, &format, &choice, compression)?;
        let (stream, encoded) = digest_difference(stream, &choice);
        let (stream, compression_stats) = compression.compress(stream, &label);
        let (stream, sealed) = meter(self.encrypt_stream(stream, &label), Algorithm::Sha256, |_| {});
        let (branches, failure) = fan_out(stream, self.destinations.len());

        let ships = self.destinations.iter().zip(branches).map(async |(destination, branch)| {
            let (branch, bytes) = counted(branch, destination.name.clone(), Arc::clone(observer));
            let result = destination.store.ship(&key, branch).await;
            let bytes = bytes.load(Ordering::Relaxed);
            if let (Err(error), None) = (&result, failure.get()) {
                observer.event(&Event::DestinationFailed { destination: &destination.name, error });
            }
            Delivery { destination: destination.name.clone(), result, bytes, took: begun.elapsed(), manifest: None }
        });
        let mut deliveries = join_all(ships).await;
        if let Some(error) = failure.get() {
            return Err(error.clone());
        }
        let notes = notes.get().cloned().unwrap_or_default();
        let compression_stats = compression_stats.get().copied();
        let base_manifest = base_manifest.and_then(|manifest| manifest.get().cloned());
        if deliveries.iter().all(|delivery| delivery.result.is_err()) {
            return Ok(Shipped {
                name,
                manifest: None,
                base_manifest: None,
                snapshot: None,
                notes,
                compression_stats,
                difference: None,
                deliveries,
            });
        }

        let digest_of = |digest: &OnEnd<Digest>| digest.get().cloned().ok_or_else(|| unfinished(&label));
        let reports: Vec<VerifyReport> = reports.iter().filter_map(|reports| reports.get().cloned()).collect();
        let difference = difference_of(choice, encoded.as_ref(), &label)?;
        let mut manifest = Manifest {
            format: Manifest::required_format(&spec.subject, &format, difference.as_ref()),
            longshore: env!("CARGO_PKG_VERSION").to_owned(),
            job: spec.job.clone(),
            run: spec.run.clone(),
            run_backups: spec.run_backups,
            time: spec.time,
            started,
            finished: to_millis(dumped_at.unwrap_or_else(Utc::now)),
            cluster: spec.cluster.clone(),
            subject: spec.subject.clone(),
            database,
            base: reports
                .iter()
                .find_map(|report| report.base.clone())
                .map(|base| BaseFacts { finished: notes.finished.map(to_millis), ..base }),
            adopted_from: spec.adopted_from.clone(),
            tool,
            undo: notes.undo.clone(),
            artifact: Artifact {
                key,
                format,
                compression: (compression != Compression::None).then(|| "zstd".to_owned()),
                encryption: self.encrypt.as_ref().map(|encrypt| encrypt.name().to_owned()),
                decryption: self.encrypt.as_ref().and_then(|encrypt| encrypt.undo().map(str::to_owned)),
                difference: difference.map(Box::new),
                plaintext: digest_of(&plaintext)?,
                sealed: digest_of(&sealed)?,
            },
            details: None,
            verified: reports.iter().map(|report| report.verification.clone()).collect(),
            not_captured: notes.not_captured.clone(),
            run_not_captured: spec.run_not_captured.clone(),
            // Warnings name tables, so they are as confidential as the plaintext.
            warnings: if self.encrypt.is_none() { notes.warnings.clone() } else { Vec::new() },
            needs: Vec::new(),
            shipments: deliveries.iter().map(Delivery::shipment).collect(),
            recipients: self.encrypt.as_ref().map_or_else(Vec::new, |encrypt| encrypt.recipients()),
        };
        manifest.started = to_millis(manifest.started);
        let details = match self.encrypt_details(&name, &manifest, &reports, &notes).await {
            Ok(details) => details,
            Err(error) => {
                // Without a manifest, the uploaded artifacts are not backups.
                for delivery in deliveries.iter_mut().filter(|delivery| delivery.result.is_ok()) {
                    delivery.result = Err(error.clone());
                }
                return Ok(Shipped {
                    name,
                    manifest: None,
                    base_manifest: None,
                    snapshot: None,
                    notes,
                    compression_stats,
                    difference: None,
                    deliveries,
                });
            }
        };
        manifest.details = details.as_ref().map(|(file, _)| file.clone());

        let records = self.destinations.iter().zip(&mut deliveries).map(async |(destination, delivery)| {
            if delivery.result.is_ok() {
                let mut needs = spec.needs.get(&destination.name).cloned().unwrap_or_default();
                needs.extend(manifest.artifact.difference.iter().map(|difference| difference.full.clone()));
                let manifest = Manifest { needs, ..manifest.clone() };
                delivery.result = self.expect_wal(destination, &manifest, observer).await;
                if delivery.result.is_err() {
                    return;
                }
                delivery.manifest = manifest.to_bytes().ok().map(|bytes| Digest::of(&bytes));
                delivery.result = ship_manifest(&*destination.store, &name, manifest, details.as_ref()).await;
                delivery.manifest.take_if(|_| delivery.result.is_err());
                delivery.took = begun.elapsed();
            }
        });
        join_all(records).await;
        let (manifest, difference) = (Some(manifest), outcome);
        Ok(Shipped { name, manifest, base_manifest, snapshot, notes, compression_stats, difference, deliveries })
    }

    /// Returns the key of an artifact, whose suffixes show how to undo it.
    fn artifact_key(
        &self,
        name: &BackupName,
        format: &manifest::Format,
        choice: &Choice,
        compression: Compression,
    ) -> Result<Key> {
        let form = if *choice == Choice::Full { "" } else { EXTENSION };
        let encryption = self.encrypt.as_ref().map_or("", |encrypt| encrypt.extension());
        name.artifact(&format!("{}{form}{}{encryption}", format.extension(), compression.extension()))
    }

    /// Waits for the archived WAL of a base backup that contains none.
    async fn expect_wal(
        &self,
        destination: &Destination,
        manifest: &Manifest,
        observer: &Arc<dyn Observer>,
    ) -> Result<()> {
        if !manifest.base.as_ref().is_some_and(|base| base.wal == WalLocation::Archive) {
            return Ok(());
        }
        match &self.needed_wal {
            Some(needed) => {
                let mut arrival = needed.expect(destination, manifest);
                if let Ok(arrived) = tokio::time::timeout(SILENT_WAIT, &mut arrival).await {
                    return arrived;
                }
                let message =
                    format!("\"{}\": waiting for the server to archive the WAL of the backup", destination.name);
                observer.event(&Event::Warned(&message));
                arrival.await
            }
            None => {
                let message = "contains no WAL, and no archive is expected to have it";
                Err(Error::new(Stage::Ship, Kind::Refused, manifest.subject.to_string(), message)
                    .hint("set wal = \"include\""))
            }
        }
    }

    /// Passes the stream through all verifiers.
    fn verify_stream(
        &self,
        subject: &Subject,
        format: &manifest::Format,
        stream: ByteStream,
        observer: &Arc<dyn Observer>,
    ) -> (ByteStream, Vec<OnEnd<VerifyReport>>) {
        verifiers_of(&self.verify, format).into_iter().fold((stream, Vec::new()), |(stream, mut reports), verify| {
            let verified = verify.verify(subject, format.clone(), stream, observer);
            reports.push(verified.report);
            (verified.stream, reports)
        })
    }

    fn encrypt_stream(&self, stream: ByteStream, subject: &str) -> ByteStream {
        match &self.encrypt {
            Some(encrypt) => encrypt.encrypt(stream, subject),
            None => stream,
        }
    }

    /// Encrypts the confidential details, if there are any, together with the name of their backup.
    async fn encrypt_details(
        &self,
        name: &BackupName,
        manifest: &Manifest,
        reports: &[VerifyReport],
        notes: &DumpNotes,
    ) -> Result<Option<(SealedFile, bytes::Bytes)>> {
        let mut all = notes.details.clone();
        for report in reports {
            all.extend(report.details.clone());
        }
        if self.encrypt.is_some() && !notes.warnings.is_empty() {
            all.insert("warnings".to_owned(), notes.warnings.clone().into());
        }
        if all.is_empty() {
            return Ok(None);
        }
        all.extend(Provenance::from_manifest(manifest).into_details());
        let json = serde_json::Value::Object(all);
        let subject = manifest.subject.to_string();
        let (extension, sealed) = encrypt_json(self.encrypt.as_deref(), &json, &subject).await?;
        let file = SealedFile { key: name.details(extension)?, sealed: Digest::of(&sealed) };
        Ok(Some((file, sealed)))
    }
}

/// Encrypts a confidential record if encryption is configured. Returns the suffix of its name, and
/// the bytes.
pub async fn encrypt_json<'a>(
    encrypt: Option<&'a dyn Encrypt>,
    record: &serde_json::Value,
    subject: &str,
) -> Result<(&'a str, bytes::Bytes)> {
    let json = stream::from_bytes(record.to_string());
    let sealed = match encrypt {
        Some(encrypt) => encrypt.encrypt(json, subject),
        None => json,
    };
    let sealed = stream::collect(sealed, MAX_DETAILS_BYTES, Stage::Encrypt, subject).await?;
    Ok((encrypt.map_or("", |encrypt| encrypt.extension()), sealed))
}

/// Digests a difference.
fn digest_difference(stream: ByteStream, choice: &Choice) -> (ByteStream, Option<OnEnd<Digest>>) {
    if *choice == Choice::Full {
        return (stream, None);
    }
    let (stream, digest) = meter(stream, Algorithm::Blake3, |_| {});
    (stream, Some(digest))
}

/// Returns the description of a difference, if that is what was stored.
fn difference_of(choice: Choice, encoded: Option<&OnEnd<Digest>>, subject: &str) -> Result<Option<Difference>> {
    let Choice::Difference { full, full_plaintext, block_bytes } = choice else { return Ok(None) };
    let encoded = encoded.and_then(OnEnd::get).cloned().ok_or_else(|| unfinished(subject))?;
    Ok(Some(Difference { form: Difference::RDIFF.to_owned(), full, full_plaintext, encoded, block_bytes }))
}

/// Returns the same bytes, and a counter of the bytes read.
fn counted(stream: ByteStream, destination: String, observer: Arc<dyn Observer>) -> (ByteStream, Arc<AtomicU64>) {
    let uploaded_bytes = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&uploaded_bytes);
    let stream = stream.inspect(move |chunk| {
        let bytes = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        counter.fetch_add(bytes, Ordering::Relaxed);
        observer.event(&Event::BytesShipped { destination: &destination, bytes });
    });
    (stream.boxed(), uploaded_bytes)
}

/// Uploads the details, the manifest's signature and then the manifest, which completes the backup.
async fn ship_manifest(
    store: &dyn Store,
    name: &BackupName,
    manifest: Manifest,
    details: Option<&(SealedFile, bytes::Bytes)>,
) -> Result<()> {
    if let Some((SealedFile { key, .. }, bytes)) = details {
        ship_record(store, key, bytes.clone()).await?;
    }
    let (key, bytes) = (name.manifest(), manifest.to_bytes()?);
    if let Some((signature_key, signature)) = sign_record(store, &key, &bytes).await? {
        ship_record(store, &signature_key, signature).await?;
    }
    ship_record(store, &key, bytes.into()).await
}

/// Truncates a time to the precision of manifests.
fn to_millis(time: DateTime<Utc>) -> DateTime<Utc> {
    use chrono::SubsecRound as _;
    time.trunc_subsecs(3)
}

fn unfinished(subject: &str) -> Error {
    let message = "the destination reported success before the end of the artifact";
    Error::new(Stage::Ship, Kind::Failed, subject, message).hint("report this bug of the destination's plugin")
}
