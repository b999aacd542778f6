//! Signing the backups of before, once: after each was verified, and an operator has decided.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use longshore_catalog::catalog::Backup;
use longshore_config::Config;
use longshore_config::registry::Registry;
use longshore_core::event::Observer;
use longshore_core::key::BackupName;
use longshore_core::manifest::{MAX_MANIFEST_BYTES, Manifest};
use longshore_core::mark::{Hold, Mark, MarkKind, MarkName};
use longshore_core::pipeline::{ship_record, sign_record};
use longshore_core::plugin::Identities;
use longshore_core::signature::{Verdict, signature_key};
use longshore_core::stream::collect;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use crate::catalogs::{Catalogued, read_catalogs};
use crate::error_report::ErrorReport;
use crate::hold::mark;
use crate::mode::Mode;
use crate::verify::{BackupVerifier, Scope};

/// A request to sign the backups of before.
pub struct AdoptRequest<'a> {
    /// The destination.
    pub destination: &'a str,
    /// Sign, or only verify.
    pub mode: Mode,
    /// The identities that decrypt backups.
    pub identities: &'a Identities,
    /// The observer.
    pub observer: Arc<dyn Observer>,
}

/// The result for one backup.
#[derive(Debug, Serialize)]
pub struct Adopted {
    /// The backup.
    pub name: BackupName,
    /// The state of its signature before: `not signed`, or the reason why the signer may not sign.
    pub before: String,
    /// True if the content was decoded, and not only compared with the digest.
    pub decoded: bool,
    /// The error, if the backup was not signed.
    pub error: Option<ErrorReport>,
}

/// Verifies the backups of a destination without a permitted signature, and signs the good ones.
///
/// # Errors
///
/// Fails if this host has no signing key, or if the destination cannot be read.
pub async fn adopt(config: &Config, registry: &Registry, request: &AdoptRequest<'_>) -> Result<Vec<Adopted>> {
    if config.trust.signing_key()?.is_none() {
        let error = Error::new(Stage::Trust, Kind::Usage, "[signing]", "this host has no key to sign with");
        return Err(error.hint("set key in [signing]; longshore-trust(7)"));
    }
    let lenient = config.clone().accepting_unsigned();
    let (_, at) = read_catalogs(&lenient, Some(request.destination)).await?.swap_remove(0);
    let at = at?;
    let unsigned: Vec<&Backup> = at.catalog.backups().filter(|backup| backup.signature.signer().is_none()).collect();
    let unsigned: Vec<&Backup> = match at.store.capabilities().signatures.is_some_and(|all| all.verifies()) {
        true => unsigned,
        // Without a file of trusted keys, a backup with any signature is left alone.
        false => unsigned.into_iter().filter(|backup| !has_signature(backup)).collect(),
    };
    if unsigned.is_empty() {
        return Ok(Vec::new());
    }
    let verifier = BackupVerifier {
        config: &lenient,
        registry,
        identities: request.identities,
        job: None,
        scratch_dir: None,
        observer: Arc::clone(&request.observer),
    };
    let results = verifier.verify(&Scope::All, Some(request.destination)).await?;
    let mut all = Vec::new();
    for backup in unsigned {
        let own = || results.iter().filter(|result| result.name == backup.name.as_str());
        let failed = own().find(|result| result.depth.is_none() && result.error.is_some());
        let error = match failed.and_then(|result| result.error.clone()) {
            Some(error) => Some(error),
            None if own().all(|result| result.depth.is_none()) => {
                Some(ErrorReport { message: "was not verified".to_owned(), hint: None })
            }
            // A signature would state that it is good.
            None if backup.damage().is_some() => {
                let message = format!("damaged: {}", backup.damage().unwrap_or_default());
                let hint = "`longshore sync JOB --repair` replaces it, or `longshore remove` deletes it".to_owned();
                Some(ErrorReport { message, hint: Some(hint) })
            }
            None if request.mode == Mode::DryRun => None,
            None => sign(&at, backup).await.err().as_ref().map(ErrorReport::from),
        };
        let before = match &backup.signature {
            Verdict::Unverified => Verdict::Unsigned.to_string(),
            verdict => verdict.to_string(),
        };
        let decoded = own().any(|result| result.depth == Some(longshore_core::pipeline::Depth::Decoded));
        all.push(Adopted { name: backup.name.clone(), before, decoded, error });
    }
    Ok(all)
}

fn has_signature(backup: &Backup) -> bool {
    signature_key(&backup.name.manifest()).is_ok_and(|key| backup.signatures.contains(&key))
}

/// Signs the manifest that was verified.
async fn sign(at: &Catalogued, backup: &Backup) -> Result<()> {
    let (store, key) = (&*at.store, backup.name.manifest());
    let bytes = collect(store.fetch(&key, None).await?, MAX_MANIFEST_BYTES, Stage::Catalog, key.as_str()).await?;
    if Manifest::from_bytes(&key, &bytes)? != *backup.manifest {
        return Err(Error::new(
            Stage::Trust,
            Kind::Corrupt,
            key.as_str(),
            "the manifest changed while it was verified",
        ));
    }
    let Some((own_key, signature)) = sign_record(store, &key, &bytes).await? else {
        return Err(Error::new(Stage::Trust, Kind::Usage, key.as_str(), "this host signs no records"));
    };
    if has_signature(backup) {
        // The signature of a key that is no longer trusted.
        store.remove(&own_key).await?;
    }
    ship_record(store, &own_key, signature).await?;
    match replace_marks(at, backup).await {
        // A host without the role prune leaves the marks as they are.
        Err(error) if error.kind() == Kind::Refused => Ok(()),
        replaced => replaced,
    }
}

/// Replaces the marks of before by signed ones: states again whether the backup is held, and
/// withdraws the others. The verification before this wrote a new mark.
async fn replace_marks(at: &Catalogued, backup: &Backup) -> Result<()> {
    let (store, name) = (&*at.store, &backup.name);
    let has_signature = |mark: &MarkName| {
        let key = mark.key().and_then(|key| signature_key(&key));
        key.is_ok_and(|key| backup.signatures.contains(&key))
    };
    let of_before: Vec<&MarkName> = backup.marks.names.iter().filter(|mark| !has_signature(mark)).collect();
    let Some(last) = of_before.iter().map(|mark| mark.time.time()).filter(|time| *time <= Utc::now()).max() else {
        return Ok(());
    };
    let time = Utc::now().max(last + TimeDelta::seconds(1));
    let withdrawal = Mark {
        withdraws: of_before.iter().map(|mark| mark.label()).collect(),
        ..mark(None, "from before the first signature")
    };
    if of_before.iter().any(|mark| matches!(mark.kind, MarkKind::Hold | MarkKind::Released)) {
        let (kind, state) = match &backup.marks.held {
            Some(Hold { until, why }) => (MarkKind::Hold, mark(*until, why)),
            None => (MarkKind::Released, mark(None, "")),
        };
        longshore_catalog::mark::put(&state, store, name, kind, time).await?;
    }
    longshore_catalog::mark::put(&withdrawal, store, name, MarkKind::Withdrawn, time).await.map(drop)
}
