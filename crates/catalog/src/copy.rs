//! fetch → digest → Ship: a backup is copied from one destination to another without decryption,
//! with its manifest last.

use std::future::ready;
use std::sync::Arc;

use longshore_core::cleanup::run_cleanup;
use longshore_core::event::{Observer, report_reads};
use longshore_core::pipeline::{has_file, ship_record, stored_bytes};
use longshore_core::stage::Store;
use longshore_core::stream::{collect, drain, from_bytes};
use longshore_model::error::{Kind, Result, Stage};
use longshore_model::header::{HeaderName, MAX_HEADER_BYTES};
use longshore_model::key::Key;
use longshore_model::manifest::{MAX_MANIFEST_BYTES, Manifest};
use longshore_model::mark::MAX_MARK_BYTES;
use longshore_model::signature::signature_key;

use crate::catalog::Backup;
use crate::signature;

/// Copies a backup, its holds and their signatures from one destination to another, and compares
/// the bytes with the digests of the manifest in transit. Files from an interrupted copy are not
/// uploaded again.
pub async fn copy(from: &dyn Store, to: &dyn Store, backup: &Backup, observer: &Arc<dyn Observer>) -> Result<()> {
    let key = backup.name.manifest();
    // The original bytes: the manifest may have been written by a newer version of this program.
    let written = collect(from.fetch(&key, None).await?, MAX_MANIFEST_BYTES, Stage::Catalog, key.as_str()).await?;
    let manifest = Manifest::from_bytes(&key, &written)?;
    // Details first: they identify an artifact as Longshore's if its copy is interrupted.
    let mut copied = Vec::new();
    for file in manifest.files().collect::<Vec<_>>().into_iter().rev() {
        let shipped = async {
            let body = report_reads(stored_bytes(from, &file).await?, Arc::clone(observer));
            to.ship(&file.key, body).await
        };
        match shipped.await {
            Ok(()) => copied.push(file.key),
            Err(error) if error.kind() == Kind::AlreadyExists && has_file(to, &file).await => {}
            Err(error) => {
                if is_missing(to, &file.key).await {
                    for key in copied {
                        // Details that stay are reported at the end, and removed by a later prune.
                        let removed = to.remove(&key).await;
                        run_cleanup(ready(removed)).await;
                    }
                }
                return Err(error);
            }
        }
    }
    copy_holds(from, to, backup).await?;
    copy_headers(from, to, backup).await?;
    match copy_signature(from, to, backup, &key).await {
        // An interrupted upload left a signature without its manifest.
        Err(error) if error.kind() == Kind::AlreadyExists && is_missing(to, &key).await => {
            to.remove(&signature_key(&key)?).await?;
            copy_signature(from, to, backup, &key).await?;
        }
        copied => copied?,
    }
    ship_record(to, &key, written).await
}

/// Copies the signature of a record, if the listing shows one. The record stays that of its signer.
async fn copy_signature(from: &dyn Store, to: &dyn Store, backup: &Backup, record: &Key) -> Result<()> {
    let signature = signature_key(record)?;
    if !backup.signatures.contains(&signature) {
        return Ok(());
    }
    let bytes = signature::fetch(from, &signature).await?;
    ship_record(to, &signature, bytes).await
}

/// Copies the holds of a backup, so that they apply at every destination.
async fn copy_holds(from: &dyn Store, to: &dyn Store, backup: &Backup) -> Result<()> {
    for name in backup.marks.holds() {
        let key = name.key()?;
        let fetched =
            async { collect(from.fetch(&key, None).await?, MAX_MARK_BYTES, Stage::Catalog, key.as_str()).await };
        match fetched.await {
            Ok(mark) => {
                ship_record(to, &key, mark).await?;
                copy_signature(from, to, backup, &key).await?;
            }
            // The backup was pruned in the meantime, or the mark was deleted: no hold is left.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Copies the headers beside a backup's artifact and details, so that the same identities decrypt
/// the backup at every destination. Existing headers are kept.
pub async fn copy_headers(from: &dyn Store, to: &dyn Store, backup: &Backup) -> Result<()> {
    let files: Vec<Key> = backup.manifest.files().map(|file| file.key).collect();
    for header in backup.headers.iter().filter(|header| files.contains(&header.sealed)) {
        match copy_header(from, to, header).await {
            // The backup was pruned in the meantime.
            Err(error) if error.kind() == Kind::NotFound => {}
            copied => copied?,
        }
    }
    Ok(())
}

/// Copies a header, unless the destination has it.
pub async fn copy_header(from: &dyn Store, to: &dyn Store, header: &HeaderName) -> Result<()> {
    let key = header.key()?;
    let body = collect(from.fetch(&key, None).await?, MAX_HEADER_BYTES, Stage::Catalog, key.as_str()).await?;
    match to.ship(&key, from_bytes(body)).await {
        Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
        shipped => shipped,
    }
}

/// Replaces a damaged backup by a good copy. Verifies the good copy first, since the damaged backup
/// is deleted before the upload.
pub async fn replace(from: &dyn Store, to: &dyn Store, backup: &Backup, observer: &Arc<dyn Observer>) -> Result<()> {
    verify_stored(from, backup, observer).await?;
    for key in backup.manifest.keys()?.into_iter().chain([signature_key(&backup.name.manifest())?]) {
        to.remove(&key).await?;
    }
    copy(from, to, backup, observer).await
}

/// Reads the stored bytes of a backup to their end, and compares them with its manifest.
pub async fn verify_stored(store: &dyn Store, backup: &Backup, observer: &Arc<dyn Observer>) -> Result<()> {
    for file in backup.manifest.files() {
        drain(report_reads(stored_bytes(store, &file).await?, Arc::clone(observer))).await?;
    }
    Ok(())
}

/// Returns true if the destination certainly has no file of this key.
async fn is_missing(store: &dyn Store, key: &Key) -> bool {
    store.fetch(key, None).await.is_err_and(|error| error.kind() == Kind::NotFound)
}

/// Returns true if an error means that the backup is damaged, and not that a destination is
/// unreadable.
pub fn is_damage(error: &longshore_model::Error) -> bool {
    error.kind() == Kind::Corrupt || (error.kind() == Kind::NotFound && error.stage() == Stage::Ship)
}
