//! The identities that can decrypt a job's backups: the number of its recipients, and whether the
//! identities of drills still open the oldest backup. No payload is read.

use std::sync::Arc;

use longshore_catalog::catalog::{Backup, Catalog, Series};
use longshore_config::registry::Registry;
use longshore_config::{Config, Job};
use longshore_core::check::Finding;
use longshore_core::plugin::{Ask, Identities, Passphrase};
use longshore_core::stage::{Decrypt, Store};
use longshore_core::{Error, Kind, Result};
use secrecy::SecretString;

use crate::headers::fetch;
use crate::identity::drill_identities;
use crate::rekey::header_of;

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
    let none =
        Identities { files: Vec::new(), texts: Vec::new(), passphrase: Passphrase::Unused, ask: Arc::new(NoAnswer) };
    let configured = drill_identities(&none, &job.drill, config).await.ok()?;
    let decrypt = registry.decrypt.build(encryption, &configured).ok()?;
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

/// A prompt that cannot be answered: the check does without identities that need a passphrase.
struct NoAnswer;

impl Ask for NoAnswer {
    fn secret(&self, _: &str) -> Option<SecretString> {
        None
    }
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
        let Ok(catalog) = Catalog::read(&*store).await else { continue };
        let Some(oldest) = oldest(&catalog, job) else { continue };
        let subject = format!("destination {name}");
        let lacking = recipients_without_access(oldest, recipients);
        if lacking > 0 {
            let time = oldest.manifest.time;
            let message =
                format!("{lacking} of {} recipients cannot decrypt the backups since {time}", recipients.len());
            let remedy = format!("`longshore rekey {} -i OLD_IDENTITY` adds them", job.name);
            findings.push(Finding::warning(&subject, message, remedy));
        }
        if !identities.is_empty() {
            findings.extend(check_identity(registry, &*store, oldest, &identities, &subject).await);
        }
    }
    findings
}

/// Returns the oldest encrypted backup of a job.
fn oldest<'a>(catalog: &'a Catalog, job: &Job) -> Option<&'a Backup> {
    let is_of_job = |series: &Series| series.job == job.name && series.cluster == job.site.cluster.name;
    let backups = catalog.series.iter().filter(|(series, _)| is_of_job(series)).flat_map(|(_, backups)| backups);
    let sealed = backups.filter(|backup| backup.manifest.artifact.encryption.is_some());
    sealed.min_by_key(|backup| backup.manifest.time)
}

/// Returns the number of recipients for which a backup was neither encrypted nor rekeyed. A header
/// lists no recipients: the one for exactly these recipients is for all of them.
fn recipients_without_access(backup: &Backup, recipients: &[String]) -> usize {
    let set = longshore_core::header::RecipientSet::of(recipients);
    if backup.headers_of(&backup.manifest.artifact.key).any(|header| header.recipients == set) {
        return 0;
    }
    recipients.iter().filter(|recipient| !backup.manifest.recipients.contains(recipient)).count()
}

/// Tests whether the identities open the header of a backup.
async fn check_identity(
    registry: &Registry,
    store: &dyn Store,
    backup: &Backup,
    identities: &Identities,
    subject: &str,
) -> Option<Finding> {
    let name = backup.name.to_string();
    let opened = async {
        let encryption = backup.manifest.artifact.encryption.as_deref().unwrap_or_default();
        let decrypt = registry.decrypt.build(encryption, identities)?;
        opens(&*decrypt, store, backup).await
    };
    match opened.await {
        Ok(true) => Some(Finding::good(subject, format!("the identity decrypts the oldest backup, {name}"))),
        Ok(false) => None,
        Err(error) if error.kind() == Kind::Denied && error.subject() == backup.manifest.artifact.key.as_str() => {
            let message = format!("the identity does not decrypt the oldest backup, {name}");
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
async fn opens(decrypt: &dyn Decrypt, store: &dyn Store, backup: &Backup) -> Result<bool, Error> {
    let Some(open) = decrypt.headers() else { return Ok(false) };
    let artifact = &backup.manifest.artifact;
    let own = header_of(open, store, &artifact.key, Some(artifact.sealed.bytes)).await?;
    let mut others = Vec::new();
    for header in backup.headers_of(&artifact.key) {
        others.push(fetch(header, &[store]).await?);
    }
    open.file_key(own, others, artifact.key.as_str()).await.map(|_| true)
}
