//! The manifests of a destination, fetched concurrently and parsed on threads, in batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_core::stage::Store;
use longshore_core::stream::collect;
use longshore_model::error::{Error, Kind, Result, Stage};
use longshore_model::key::{BackupName, Key};
use longshore_model::manifest::{MAX_MANIFEST_BYTES, Manifest};
use longshore_model::signature::Verdict;

use super::FETCHES;
use super::failed_reads::FailedReads;
use crate::record_cache::{ManifestSize, RecordCache};
use crate::signature::{ListedSignatures, are_required};

/// The number of manifests in a batch, large enough to make the cost of a thread negligible.
const BATCH: usize = 64;

/// The number of concurrent batches.
const BATCHES: usize = 2;

/// A manifest's key and the name of its backup.
#[derive(Debug, Clone)]
struct ManifestKey {
    name: BackupName,
    key: Key,
}

/// The content of a manifest with the result for its signature, or the error of its fetch.
type Body = (ManifestKey, Result<(Bytes, Verdict)>);

/// A parsed manifest, or the error.
pub(super) struct ParsedManifest {
    pub(super) name: BackupName,
    pub(super) key: Key,
    pub(super) manifest: Result<Arc<Manifest>>,
    pub(super) signature: Verdict,
}

/// Reads the manifests among the keys. Returns them in batches, since moving them into one list is
/// expensive. A manifest that the cache has in the listed size is not fetched. A damaged or
/// unreadable manifest is returned as an error; a manifest that no longer exists is omitted. Fails
/// if the connection is lost or too many manifests cannot be fetched.
pub(super) async fn read(
    store: &dyn Store,
    (sizes, signatures): (&BTreeMap<Key, u64>, &ListedSignatures),
    cache: Option<&RecordCache>,
    failed_reads: &FailedReads,
) -> Result<Vec<Vec<ParsedManifest>>> {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for (key, bytes) in sizes {
        let Some(name) = BackupName::from_manifest_key(key) else { continue };
        let key = key.clone();
        let size = ManifestSize::of(*bytes, sizes, signatures.key(&key));
        match cache.and_then(|cache| cache.manifest(&key, size)) {
            Some((manifest, signature)) => known.push(ParsedManifest { name, key, manifest: Ok(manifest), signature }),
            None => unknown.push(ManifestKey { name, key }),
        }
    }
    let is_required = are_required(store);
    let batches = bodies(store, signatures, unknown).map(|batch| async move {
        let failed = batch.iter().filter_map(|(_, body)| body.as_ref().err());
        // A manifest that no longer exists is not a backup.
        let is_store_failure = |error: &&Error| error.kind() != Kind::NotFound && FailedReads::is_store_error(error);
        failed.filter(is_store_failure).try_for_each(|error| failed_reads.count(error))?;
        let parsed = tokio::task::spawn_blocking(move || {
            batch.into_iter().filter_map(|body| parse(body, is_required)).collect()
        });
        parsed.await.map_err(|error| {
            Error::new(Stage::Catalog, Kind::Failed, "", "reading the manifests was aborted").because(error)
        })
    });
    let mut batches = batches.buffered(BATCHES);
    let mut all = vec![known];
    while let Some::<Vec<ParsedManifest>>(batch) = batches.try_next().await? {
        all.push(match cache {
            None => batch,
            Some(cache) => batch.into_iter().map(|parsed| cached(parsed, (sizes, signatures), cache)).collect(),
        });
    }
    Ok(all)
}

/// Adds a manifest to the cache.
fn cached(
    parsed: ParsedManifest,
    (sizes, signatures): (&BTreeMap<Key, u64>, &ListedSignatures),
    cache: &RecordCache,
) -> ParsedManifest {
    let ParsedManifest { name, key, manifest, signature } = parsed;
    let manifest = manifest.map(|manifest| match sizes.get(&key) {
        Some(bytes) => {
            let size = ManifestSize::of(*bytes, sizes, signatures.key(&key));
            cache.add_manifest((&name, &key), size, (manifest, signature.clone()))
        }
        None => manifest,
    });
    ParsedManifest { name, key, manifest, signature }
}

/// Fetches the contents of the manifests, in batches.
fn bodies<'a>(
    store: &'a dyn Store,
    signatures: &'a ListedSignatures,
    all: Vec<ManifestKey>,
) -> BoxStream<'a, Vec<Body>> {
    let fetched = stream::iter(all).map(move |manifest_key| async move {
        let body = async {
            let key = manifest_key.key.as_str();
            let fetched = store.fetch(&manifest_key.key, None).await?;
            let bytes = collect(fetched, MAX_MANIFEST_BYTES, Stage::Catalog, key).await?;
            let signature = signatures.verify(store, &manifest_key.key, &bytes).await?;
            Ok((bytes, signature))
        };
        let body = body.await;
        (manifest_key, body)
    });
    fetched.buffered(FETCHES).chunks(BATCH).boxed()
}

fn parse((ManifestKey { name, key }, body): Body, is_required: bool) -> Option<ParsedManifest> {
    let mut signature = Verdict::default();
    let manifest = match body {
        Ok((bytes, verdict)) => {
            let accepted = verdict.expect_accepted(&key, is_required);
            signature = verdict;
            accepted.and_then(|()| Manifest::from_bytes(&key, &bytes)).map(Arc::new)
        }
        // A concurrent prune has deleted the backup since the listing.
        Err(error) if error.kind() == Kind::NotFound => return None,
        // An unreadable manifest does not hide the others.
        Err(error) => Err(error),
    };
    Some(ParsedManifest { name, key, manifest, signature })
}
