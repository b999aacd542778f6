//! Reading the signatures of records.

use std::collections::BTreeSet;

use bytes::Bytes;
use longshore_core::stage::{Signatures, Store};
use longshore_core::stream::collect;
use longshore_model::error::{Kind, Result, Stage};
use longshore_model::key::Key;
use longshore_model::signature::{MAX_SIGNATURE_BYTES, Record, Verdict, signature_key};

/// The signatures that a listing of a destination shows.
#[derive(Debug, Clone, Default)]
pub struct ListedSignatures(BTreeSet<Key>);

impl ListedSignatures {
    /// Returns the keys of signatures among these keys.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Self {
        Self(keys.into_iter().filter(|key| Record::from_signature_key(key).is_some()).cloned().collect())
    }

    /// Returns the key of the signature of a record, if it is listed.
    pub fn key(&self, record: &Key) -> Option<Key> {
        signature_key(record).ok().filter(|key| self.0.contains(key))
    }

    /// Verifies a record that was read. Fails if its signature cannot be fetched, and with
    /// [`Kind::NotFound`] if the record was deleted with its signature since the listing.
    pub async fn verify(&self, store: &dyn Store, key: &Key, record: &[u8]) -> Result<Verdict> {
        let Some(signatures) = verifying(store) else { return Ok(Verdict::Unverified) };
        let signature = match self.key(key) {
            None => None,
            Some(signature) => match fetch(store, &signature).await {
                Ok(signature) => Some(signature),
                Err(error) if error.kind() == Kind::NotFound => {
                    store.stat(key).await?;
                    None
                }
                Err(error) if error.kind() == Kind::Corrupt => return Ok(Verdict::Bad(error.to_string())),
                Err(error) => return Err(error),
            },
        };
        Ok(signatures.verify(key, record, signature.as_deref()))
    }
}

/// Returns the signatures of a destination, if this host verifies them.
pub fn verifying(store: &dyn Store) -> Option<&dyn Signatures> {
    store.capabilities().signatures.filter(|signatures| signatures.verifies())
}

/// Returns true if this host requires signatures at a destination.
pub fn are_required(store: &dyn Store) -> bool {
    verifying(store).is_some_and(|signatures| signatures.are_required())
}

/// Fetches a signature.
pub async fn fetch(store: &dyn Store, signature: &Key) -> Result<Bytes> {
    collect(store.fetch(signature, None).await?, MAX_SIGNATURE_BYTES, Stage::Catalog, signature.as_str()).await
}
