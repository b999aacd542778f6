//! The record of a dump: a backup's details, fetched and decrypted.

use longshore_catalog::catalog::Backup;
use longshore_config::registry::Registry;
use longshore_core::manifest::{Manifest, Verification};
use longshore_core::meter::expect;
use longshore_core::pipeline::decrypt_stored;
use longshore_core::plugin::Identities;
use longshore_core::provenance::{Mismatch, Provenance};
use longshore_core::stage::Store;
use longshore_core::stream::collect;
use longshore_core::{Error, Kind, Result, Stage};
use serde_json::{Map, Value};

use crate::headers::decryptor;

/// The maximum size of a backup's details, in bytes.
const MAX_DETAILS_BYTES: usize = 256 << 20;

/// The decrypted details of a backup.
#[derive(Debug, Clone)]
pub(crate) struct Details {
    /// The findings of the dump's verifiers, if the details contain more than warnings.
    pub(crate) record: Option<Map<String, Value>>,
    /// The differences between the manifest and the origin that the details name.
    pub(crate) mismatches: Vec<Mismatch>,
}

/// Returns the findings of the dump's verifiers, if the backup has a record of them.
///
/// # Errors
///
/// Fails with [`Kind::Corrupt`] if the details are damaged or belong to another backup.
pub(crate) async fn fetch_record(
    registry: &Registry,
    identities: &Identities,
    store: &dyn Store,
    backup: &Backup,
) -> Result<Option<Map<String, Value>>> {
    let Some(details) = fetch_details(registry, identities, store, backup).await? else { return Ok(None) };
    expect_same_backup(&backup.manifest, &details)?;
    Ok(details.record)
}

/// Fetches and decrypts a backup's details, if its manifest names any. The details may belong to
/// another backup.
pub(crate) async fn fetch_details(
    registry: &Registry,
    identities: &Identities,
    store: &dyn Store,
    backup: &Backup,
) -> Result<Option<Details>> {
    let Some(file) = &backup.manifest.details else { return Ok(None) };
    let key = file.key.as_str();
    let decryptor = decryptor(registry, identities, backup, &file.key, &[store]).await?;
    let sealed = expect(store.fetch(&file.key, None).await?, file.sealed.clone(), key.to_owned());
    let mut cause = None;
    let opened = match (&backup.manifest.artifact.encryption, decryptor) {
        (None, _) => sealed,
        (Some(_), Some(decryptor)) => {
            let (opened, of_errors) = decrypt_stored(&*decryptor, sealed, key).await?;
            cause = Some(of_errors);
            opened
        }
        (Some(encryption), None) => {
            let by_hand = backup.manifest.artifact.decryption.as_deref();
            return Err(registry.missing_decryption(encryption, by_hand, key));
        }
    };
    let cause = |error: Error| match &cause {
        Some(cause) => cause.of(error),
        None => error,
    };
    let bytes = collect(opened, MAX_DETAILS_BYTES, Stage::Catalog, key).await.map_err(cause)?;
    let details: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|error| {
        cause(Error::new(Stage::Catalog, Kind::Corrupt, key, "not a record of a dump").because(error))
    })?;
    let mismatches = Provenance::mismatches(&backup.manifest, &details);
    // Details with warnings alone do not describe the contents of the dump.
    let has_record = details.keys().any(|key| ![Provenance::KEY, "warnings"].contains(&key.as_str()));
    Ok(Some(Details { record: has_record.then_some(details), mismatches }))
}

/// Fails with [`Kind::Corrupt`] if the details belong to another backup than the manifest.
pub(crate) fn expect_same_backup(manifest: &Manifest, details: &Details) -> Result<()> {
    let key = manifest.details.as_ref().map_or("", |file| file.key.as_str());
    Mismatch::error(&details.mismatches, key).map_or(Ok(()), Err)
}

/// Fails with [`Kind::Corrupt`] if a manifest names no details although the verifier of its dump
/// always writes them.
pub(crate) fn expect_details(manifest: &Manifest) -> Result<()> {
    if manifest.details.is_some() || !manifest.verified.iter().any(Verification::writes_details) {
        return Ok(());
    }
    let subject = manifest.name().map(|name| name.to_string()).unwrap_or_default();
    let message = "damaged: the manifest names no details, but the verifier of the dump always writes them";
    Err(Error::new(Stage::Catalog, Kind::Corrupt, subject, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::manifest;

    #[test]
    fn expect_details_rejects_missing_details() {
        let verified_by = |by: &str| {
            let mut manifest = manifest();
            manifest.details = None;
            manifest.verified[0].by = by.to_owned();
            manifest
        };
        assert_eq!(expect_details(&verified_by("longshore 0.1.0")).unwrap_err().kind(), Kind::Corrupt);
        // An older backup whose job named another verifier, or none, has no details.
        expect_details(&verified_by("pg_restore 17.4")).unwrap();
        expect_details(&Manifest { verified: Vec::new(), ..verified_by("") }).unwrap();
        let named = Manifest { verified: verified_by("longshore 0.1.0").verified, ..manifest() };
        expect_details(&named).unwrap();
    }
}
