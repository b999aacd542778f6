//! fetch → digest → Ship: a backup from one destination to another, sealed as it is, and its manifest last.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::catalog::Backup;
use crate::error::{Kind, Result, Stage};
use crate::key::Key;
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest, SealedFile};
use crate::mark::MAX_MARK_BYTES;
use crate::meter::{Digest, expect};
use crate::progress::Progress;
use crate::stage::Store;
use crate::stream::{self, ByteStream, collect, drain};

/// How long to wait before what could not be reached is tried again: each of these times, in turn.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];

/// Copies a backup from one destination to another, with what holds it. Its bytes are compared with the digests of its manifest as they
/// pass. What is there already of it, from a copy that was cut off, is not copied again.
pub async fn copy(from: &dyn Store, to: &dyn Store, backup: &Backup, progress: &Arc<dyn Progress>) -> Result<()> {
    let key = backup.name.manifest();
    // As it lies there: who wrote it may have known more than this program does.
    let written = collect(from.fetch(&key, None).await?, MAX_MANIFEST_BYTES, Stage::Catalog, key.as_str()).await?;
    let manifest = Manifest::from_bytes(&key, &written)?;
    // Details first: an artifact whose copy is interrupted is known as Longshore's by them.
    for file in manifest.files().collect::<Vec<_>>().into_iter().rev() {
        let body = heard(sealed(from, &file).await?, Arc::clone(progress));
        match to.ship(&file.key, body).await {
            Err(error) if error.kind() == Kind::AlreadyExists && is_there(to, &file).await => {}
            shipped => shipped?,
        }
    }
    keep_held(from, to, backup).await?;
    put(to, &key, written).await
}

/// Copies the marks that hold a backup: what retention must not take at one destination it must not take at another.
async fn keep_held(from: &dyn Store, to: &dyn Store, backup: &Backup) -> Result<()> {
    for name in backup.marks.holds() {
        let key = name.key()?;
        let fetched =
            async { collect(from.fetch(&key, None).await?, MAX_MARK_BYTES, Stage::Catalog, key.as_str()).await };
        match fetched.await {
            Ok(mark) => put(to, &key, mark).await?,
            // Its backup has been pruned since, or somebody has taken it away: nothing is held by it.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts a good copy in the place of a backup that is damaged. The good one is read to its end first: there is nothing to go back to.
pub async fn replace(from: &dyn Store, to: &dyn Store, backup: &Backup, progress: &Arc<dyn Progress>) -> Result<()> {
    prove(from, backup, progress).await?;
    for key in backup.manifest.keys()? {
        to.remove(&key).await?;
    }
    copy(from, to, backup, progress).await
}

/// Reads the sealed bytes of a backup to their end, and holds them against its manifest.
pub async fn prove(store: &dyn Store, backup: &Backup, progress: &Arc<dyn Progress>) -> Result<()> {
    for file in backup.manifest.files() {
        drain(heard(sealed(store, &file).await?, Arc::clone(progress))).await?;
    }
    Ok(())
}

/// Ships a small file, again if the destination could not be reached. That it is there already, with these bytes, is no error: a try
/// before this one may have been heard and not answered.
pub(super) async fn put(store: &dyn Store, key: &Key, bytes: Bytes) -> Result<()> {
    let mut pauses = PAUSES.iter();
    loop {
        match store.ship(key, stream::from_bytes(bytes.clone())).await {
            Err(error) if error.kind() == Kind::Unavailable => match pauses.next() {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(error),
            },
            Err(error) if error.kind() == Kind::AlreadyExists => {
                let file = SealedFile { key: key.clone(), sealed: Digest::of(&bytes) };
                return if is_there(store, &file).await { Ok(()) } else { Err(error) };
            }
            shipped => return shipped,
        }
    }
}

/// Whether a file is there with exactly its bytes.
async fn is_there(store: &dyn Store, file: &SealedFile) -> bool {
    match sealed(store, file).await {
        Ok(bytes) => drain(bytes).await.is_ok(),
        Err(_) => false,
    }
}

/// The bytes of a file, held against its digest.
async fn sealed(store: &dyn Store, file: &SealedFile) -> Result<ByteStream> {
    let bytes = store.fetch(&file.key, None).await?;
    Ok(expect(bytes, file.sealed.clone(), file.key.to_string()))
}

fn heard(stream: ByteStream, progress: Arc<dyn Progress>) -> ByteStream {
    stream.inspect(move |chunk| progress.read(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64))).boxed()
}

/// Whether an error says that the backup is bad, rather than that a destination could not be read.
pub fn is_damage(error: &crate::Error) -> bool {
    error.kind() == Kind::Corrupt || (error.kind() == Kind::NotFound && error.stage() == Stage::Ship)
}
