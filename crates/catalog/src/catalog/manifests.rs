//! The manifests of a destination, fetched concurrently and parsed on threads, in batches.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_core::stage::Store;
use longshore_core::stream::collect;
use longshore_model::error::{Error, Kind, Result, Stage};
use longshore_model::key::{BackupName, Key};
use longshore_model::manifest::{MAX_MANIFEST_BYTES, Manifest};

use super::FETCHES;
use super::lost::Lost;

/// The number of manifests in a batch, large enough to make the cost of a thread negligible.
const BATCH: usize = 64;

/// The number of concurrent batches.
const BATCHES: usize = 2;

/// A manifest's key and the name of its backup.
#[derive(Debug, Clone)]
struct Named {
    name: BackupName,
    key: Key,
}

/// The content of a manifest, or the error of its fetch.
type Body = (Named, Result<Bytes>);

/// A parsed manifest, or the error.
pub(super) struct Read {
    pub(super) name: BackupName,
    pub(super) key: Key,
    pub(super) manifest: Result<Box<Manifest>>,
}

/// Reads the manifests among the keys. Returns them in batches, since moving them into one list is
/// expensive. A damaged or unreadable manifest is returned as an error; a manifest that no longer
/// exists is omitted. Fails if the connection is lost or too many manifests cannot be fetched.
pub(super) async fn read(store: &dyn Store, keys: impl Iterator<Item = &Key>, lost: &Lost) -> Result<Vec<Vec<Read>>> {
    let manifests = keys.filter_map(|key| Some(Named { name: BackupName::of_manifest(key)?, key: key.clone() }));
    let batches = bodies(store, manifests.collect()).map(|batch| async move {
        let failed = batch.iter().filter_map(|(_, body)| body.as_ref().err());
        // A manifest that no longer exists is not a backup.
        let is_lost = |error: &&Error| error.kind() != Kind::NotFound && Lost::is_of_destination(error);
        failed.filter(is_lost).try_for_each(|error| lost.count(error))?;
        let parsed = tokio::task::spawn_blocking(move || batch.into_iter().filter_map(parse).collect());
        parsed.await.map_err(|error| {
            Error::new(Stage::Catalog, Kind::Failed, "", "reading the manifests was aborted").because(error)
        })
    });
    batches.buffered(BATCHES).try_collect().await
}

/// Fetches the contents of the manifests, in batches.
fn bodies(store: &dyn Store, all: Vec<Named>) -> BoxStream<'_, Vec<Body>> {
    let fetched = stream::iter(all).map(move |named| async move {
        let body = async {
            let key = named.key.as_str();
            collect(store.fetch(&named.key, None).await?, MAX_MANIFEST_BYTES, Stage::Catalog, key).await
        };
        let body = body.await;
        (named, body)
    });
    fetched.buffered(FETCHES).chunks(BATCH).boxed()
}

fn parse((Named { name, key }, body): Body) -> Option<Read> {
    let manifest = match body {
        Ok(bytes) => Manifest::from_bytes(&key, &bytes).map(Box::new),
        // A concurrent prune has deleted the backup since the listing.
        Err(error) if error.kind() == Kind::NotFound => return None,
        // An unreadable manifest does not hide the others.
        Err(error) => Err(error),
    };
    Some(Read { name, key, manifest })
}
