//! The manifests of a destination: fetched many at once, and read on threads, a batch at a time.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::FETCHES;
use super::lost::Lost;
use crate::error::{Error, Kind, Result, Stage};
use crate::key::{BackupName, Key};
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::stage::Store;
use crate::stream::collect;

/// How many are in a batch: enough that handing it to a thread costs nothing beside reading it.
const BATCH: usize = 64;

/// How many batches are under way at once.
const BATCHES: usize = 2;

/// A key that is a manifest's.
#[derive(Debug, Clone)]
struct Named {
    name: BackupName,
    key: Key,
}

/// What lies under it, or why that cannot be had.
type Body = (Named, Result<Bytes>);

/// A manifest that was read, or why it cannot be.
pub(super) struct Read {
    pub(super) name: BackupName,
    pub(super) key: Key,
    pub(super) manifest: Result<Box<Manifest>>,
}

/// Reads those among the keys, in batches: they are large, and are not moved together once more. One that is damaged or cannot be read
/// is told beside the others, one that went away is left out; more than a few that were lost with a connection are an error.
pub(super) async fn read(store: &dyn Store, keys: impl Iterator<Item = &Key>, lost: &Lost) -> Result<Vec<Vec<Read>>> {
    let manifests = keys.filter_map(|key| Some(Named { name: BackupName::of_manifest(key)?, key: key.clone() }));
    let batches = bodies(store, manifests.collect()).map(|batch| async move {
        let batch = batch?;
        let failed = batch.iter().filter_map(|(_, body)| body.as_ref().err());
        // One that is gone is no backup any more.
        let is_lost = |error: &&Error| error.kind() != Kind::NotFound && Lost::is_of_destination(error);
        failed.filter(is_lost).try_for_each(|error| lost.count(error))?;
        let parsed = tokio::task::spawn_blocking(move || batch.into_iter().filter_map(parse).collect());
        parsed
            .await
            .map_err(|error| Error::new(Stage::Catalog, Kind::Failed, "", "reading manifests was cut").because(error))
    });
    batches.buffered(BATCHES).try_collect().await
}

/// What lies under each, in batches.
fn bodies(store: &dyn Store, all: Vec<Named>) -> BoxStream<'_, Result<Vec<Body>>> {
    let Some(gather) = store.gather() else {
        let fetched = stream::iter(all).map(move |named| async move {
            let body = async {
                collect(store.fetch(&named.key, None).await?, MAX_MANIFEST_BYTES, Stage::Catalog, named.key.as_str())
                    .await
            };
            let body = body.await;
            (named, body)
        });
        return fetched.buffered(FETCHES).chunks(BATCH).map(Ok).boxed();
    };
    let batches: Vec<Vec<Named>> = all.chunks(BATCH).map(<[Named]>::to_vec).collect();
    let gathered = stream::iter(batches).map(move |batch| async move {
        let keys: Vec<Key> = batch.iter().map(|named| named.key.clone()).collect();
        let bodies = gather.fetch_all(keys, MAX_MANIFEST_BYTES).await?;
        Ok(batch.into_iter().zip(bodies).collect())
    });
    gathered.buffered(BATCHES).boxed()
}

fn parse((Named { name, key }, body): Body) -> Option<Read> {
    let manifest = match body {
        Ok(bytes) => Manifest::from_bytes(&key, &bytes).map(Box::new),
        // Withdrawn since it was listed: another prune was at work, and the backup is no more.
        Err(error) if error.kind() == Kind::NotFound => return None,
        // One that cannot be read hides no other.
        Err(error) => Err(error),
    };
    Some(Read { name, key, manifest })
}
