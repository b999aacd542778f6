//! What is there, in the order of keys, page by page.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use longshore_core::stage::Entry;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::ObjectStore;

use crate::bucket::Backend;

/// Every object that is a key's. Names of others, hidden ones among them, are left out.
pub(crate) fn entries(backend: Arc<Backend>) -> BoxStream<'static, Result<Entry>> {
    let name = backend.place.name();
    let entries = async_stream::try_stream! {
        let mut before: Option<Entry> = None;
        for await found in backend.store.list(backend.place.folder().as_ref()) {
            let found = found.map_err(|error| crate::failure(&backend.place, &name, "cannot list it", error))?;
            let Some(key) = backend.place.key(found.location.as_ref()) else {
                continue;
            };
            let entry = Entry { key, bytes: found.size };
            // Stores list in the order of names; who relies on it must not be told a shorter list by one that does not.
            if before.as_ref().is_some_and(|before| before.key >= entry.key) {
                let message = format!("lists \"{}\" out of order", entry.key);
                Err(Error::new(Stage::Ship, Kind::Failed, &name, message)
                    .hint("directory buckets and hierarchical namespaces do so: use an ordinary bucket"))?;
            }
            before = Some(entry.clone());
            yield entry;
        }
    };
    entries.boxed()
}
