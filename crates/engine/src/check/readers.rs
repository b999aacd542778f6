//! The identities that can decrypt a job's backups: the number of its recipients, and whether the
//! identities of drills still open the oldest backup. No payload is read.

use futures_util::TryStreamExt;
use longshore_config::registry::Registry;
use longshore_config::{Config, Job};
use longshore_core::check::Finding;
use longshore_core::header::{HeaderName, RecipientSet};
use longshore_core::key::{BackupName, encode_name};
use longshore_core::manifest::{MAX_MANIFEST_BYTES, Manifest};
use longshore_core::plugin::Identities;
use longshore_core::stage::{Decrypt, Store};
use longshore_core::stream::collect;
use longshore_core::{Kind, Result, Stage};

use crate::headers::{fetch, header_of};
use crate::identity::drill_identities;

/// The number of manifests that are read in search of the oldest backup of a job.
const READ_MANIFESTS: usize = 100;

/// Checks the readers of each encrypted job's backups.
pub(super) async fn check_readers(
    config: &Config,
    registry: &Registry,
    jobs: &[&Job],
    given: &Identities,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for job in jobs {
        let Some(Ok(encrypt)) = job.encrypt.as_ref().map(|encrypt| encrypt(&())) else { continue };
        let recipients = encrypt.recipients();
        findings.extend(check_recipient_count(job, &recipients));
        findings.extend(check_offline(config, registry, job, encrypt.name(), &recipients).await);
        findings.extend(check_oldest(config, registry, job, given, &recipients).await);
    }
    findings
}

/// Warns if a single identity decrypts the backups.
fn check_recipient_count(job: &Job, recipients: &[String]) -> Option<Finding> {
    let is_passphrase = recipients.iter().any(|recipient| recipient == "passphrase");
    (recipients.len() == 1 && !is_passphrase).then(|| {
        Finding::warning(
            format!("job {}", job.name),
            "encrypts for one recipient: if that identity is lost, all backups are lost",
            "add the recipient of a second identity that is kept offline, and `longshore rekey` older backups",
        )
    })
}

/// Warns if the identities of all recipients are on this host, where one attacker or one fault may
/// reach all of them.
async fn check_offline(
    config: &Config,
    registry: &Registry,
    job: &Job,
    encryption: &str,
    recipients: &[String],
) -> Option<Finding> {
    // Other findings report identities that cannot be read.
    let none = Identities::none();
    let configured = drill_identities(&none, &job.drill, config).await.ok()?;
    let decrypt = registry.decryption(encryption, &configured).ok()?;
    let here = decrypt.headers()?.recipients();
    let all_here = recipients.len() > 1 && recipients.iter().all(|recipient| here.contains(recipient));
    all_here.then(|| {
        Finding::warning(
            format!("job {}", job.name),
            format!(
                "the identities of all {} recipients are configured on this host: none is offline",
                recipients.len()
            ),
            "add the recipient of an identity that is kept elsewhere, offline",
        )
    })
}

/// The oldest encrypted backup of a job at a destination, with the headers beside its artifact.
struct Oldest {
    manifest: Manifest,
    /// The headers, the newest first.
    headers: Vec<HeaderName>,
}

/// Compares the oldest backup at each destination with the recipients and the identity of drills.
async fn check_oldest(
    config: &Config,
    registry: &Registry,
    job: &Job,
    given: &Identities,
    recipients: &[String],
) -> Vec<Finding> {
    // Another finding reports an identity that cannot be read.
    let Ok(identities) = drill_identities(given, &job.drill, config).await else { return Vec::new() };
    let mut findings = Vec::new();
    for name in &job.ship {
        let Some(Ok(store)) = config.destinations.get(name).map(|destination| destination.open()) else { continue };
        // Other findings report a destination that cannot be listed; one may permit only writes.
        let Ok(Some(oldest)) = oldest(&*store, job).await else { continue };
        let subject = format!("destination {name}");
        let lacking = recipients_without_access(&oldest, recipients);
        if lacking > 0 {
            let time = oldest.manifest.time;
            let message = format!("{lacking} of {} recipients cannot decrypt the backup of {time}", recipients.len());
            let remedy = format!("`longshore rekey {} -i OLD_IDENTITY` adds them", job.name);
            findings.push(Finding::warning(&subject, message, remedy));
        }
        let encryption = oldest.manifest.artifact.encryption.as_deref().unwrap_or_default();
        if registry.can_decrypt(encryption, &identities) {
            findings.extend(check_identity(registry, &*store, &oldest, &identities, &subject).await);
        }
    }
    findings
}

/// Finds the oldest encrypted backup of a job: by the times in names, so that few manifests are
/// read.
async fn oldest(store: &dyn Store, job: &Job) -> Result<Option<Oldest>> {
    let folder = format!("{}/", encode_name(&job.site.cluster.name));
    let (mut names, mut headers) = (Vec::new(), Vec::new());
    let mut entries = store.list_backups().await?;
    while let Some(entry) = entries.try_next().await? {
        if entry.key.as_str().starts_with(&folder) {
            names.extend(BackupName::from_manifest_key(&entry.key));
            headers.extend(HeaderName::from_key(&entry.key));
        }
    }
    names.sort_by_key(BackupName::time);
    for name in names.iter().take(READ_MANIFESTS) {
        let key = name.manifest();
        let read = collect(store.fetch(&key, None).await?, MAX_MANIFEST_BYTES, Stage::Catalog, key.as_str()).await;
        // A damaged manifest is reported by `status` and `verify`.
        let Ok(manifest) = read.and_then(|bytes| Manifest::from_bytes(&key, &bytes)) else { continue };
        if manifest.job == job.name && manifest.artifact.encryption.is_some() {
            headers.retain(|header: &HeaderName| header.sealed == manifest.artifact.key);
            headers.sort_by(|one, other| other.cmp(one));
            return Ok(Some(Oldest { manifest, headers }));
        }
    }
    Ok(None)
}

/// Returns the number of recipients for which a backup was neither encrypted nor rekeyed. A header
/// lists no recipients: the one for exactly these recipients is for all of them.
fn recipients_without_access(oldest: &Oldest, recipients: &[String]) -> usize {
    let set = RecipientSet::of(recipients);
    if oldest.headers.iter().any(|header| header.recipients == set) {
        return 0;
    }
    recipients.iter().filter(|recipient| !oldest.manifest.recipients.contains(recipient)).count()
}

/// Tests whether the identities open a header of a backup's artifact.
async fn check_identity(
    registry: &Registry,
    store: &dyn Store,
    oldest: &Oldest,
    identities: &Identities,
    subject: &str,
) -> Option<Finding> {
    let artifact = &oldest.manifest.artifact;
    let opened = async {
        let encryption = artifact.encryption.as_deref().unwrap_or_default();
        let decrypt = registry.decryption(encryption, identities)?;
        opens(&*decrypt, store, oldest).await
    };
    let key = artifact.key.as_str();
    match opened.await {
        Ok(true) => Some(Finding::good(subject, format!("the identity decrypts the oldest backup, {key}"))),
        Ok(false) => None,
        Err(error) if error.kind() == Kind::Denied && error.stage() == Stage::Decrypt => {
            let message = format!("the identity does not decrypt the oldest backup, {key}");
            let remedy = "`longshore rekey` with the identity of that backup adds the recipient of this one";
            Some(Finding::warning(subject, message, remedy))
        }
        // Credentials may forbid reads.
        Err(error) if error.kind() == Kind::Denied => None,
        Err(error) => Some(Finding::failed(subject, &error)),
    }
}

/// Returns true if the identities open a header of the artifact, or false if the encryption has
/// none.
async fn opens(decrypt: &dyn Decrypt, store: &dyn Store, oldest: &Oldest) -> Result<bool> {
    let Some(open) = decrypt.headers() else { return Ok(false) };
    let artifact = &oldest.manifest.artifact;
    let own = header_of(open, store, &artifact.key, Some(artifact.sealed.bytes)).await?;
    let mut others = Vec::new();
    for header in &oldest.headers {
        others.push(fetch(header, &[store]).await?);
    }
    open.file_key(own, others, artifact.key.as_str()).await.map(|_| true)
}
