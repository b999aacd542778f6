//! Leases: marks that stop prunes from deleting a backup during its restore.

use chrono::{TimeDelta, Utc};
use longshore_core::Kind;
use longshore_core::key::{BackupName, Key};
use longshore_core::mark::MarkKind;
use longshore_core::signature::signature_key;
use longshore_core::stage::Store;

use crate::hold::mark;

/// The duration of a lease: a restore is assumed to run that long unless it releases the lease.
const DURATION: TimeDelta = TimeDelta::hours(48);

/// A lease of one backup at one destination.
pub(crate) struct Lease<'a> {
    store: &'a dyn Store,
    /// The mark; `None` if it could not be stored.
    mark: Option<Key>,
}

impl<'a> Lease<'a> {
    /// Stores the mark. Without permission to write, the restore continues without a lease.
    pub(crate) async fn take(store: &'a dyn Store, backup: &BackupName) -> Self {
        let now = Utc::now();
        let mark = mark(Some(now + DURATION), "");
        let stored = longshore_catalog::mark::put(&mark, store, backup, MarkKind::Restoring, now).await;
        match stored.and_then(|name| name.key()) {
            Ok(mark) => Self { store, mark: Some(mark) },
            Err(error) => {
                let error = error.chain();
                tracing::debug!(target: "longshore::restore", %backup, error, "restoring without a lease");
                Self { store, mark: None }
            }
        }
    }

    /// Removes the mark. A mark that cannot be removed expires.
    pub(crate) async fn release(self) {
        let Some(mark) = self.mark else { return };
        let removed = async {
            self.store.remove(&mark).await?;
            match self.store.capabilities().signatures {
                Some(_) => self.store.remove(&signature_key(&mark)?).await,
                None => Ok(()),
            }
        };
        // A host that only verifies made no signature.
        if let Err(error) = removed.await
            && error.kind() != Kind::NotFound
        {
            tracing::debug!(target: "longshore::restore", %mark, error = error.chain(), "the lease stays until it expires");
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_testkit::memory::{Fault, MemoryStore, Operation};

    use super::*;
    use crate::fixture::put_run;

    #[tokio::test]
    async fn lease_exists_until_its_release() {
        let store = MemoryStore::new();
        let backup = put_run(&store, "2026-06-07_091500", &["shop"]).remove(1);
        let before = store.keys().len();
        let lease = Lease::take(&store, &backup).await;
        assert_eq!(store.keys().len(), before + 1);
        lease.release().await;
        assert_eq!(store.keys().len(), before);
    }

    #[tokio::test]
    async fn refused_lease_stops_nothing() {
        let store = MemoryStore::new();
        let backup = put_run(&store, "2026-06-07_091500", &["shop"]).remove(1);
        let before = store.keys().len();
        store.fault(Operation::Ship, Fault::Deny);
        Lease::take(&store, &backup).await.release().await;
        store.heal();
        let lease = Lease::take(&store, &backup).await;
        store.fault(Operation::Remove, Fault::Deny);
        lease.release().await;
        assert_eq!(store.keys().len(), before + 1, "it expires");
    }
}
