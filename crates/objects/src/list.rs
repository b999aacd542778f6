//! Listings of a destination in key order, page by page.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use longshore_core::stage::Entry;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::ObjectStore;

use crate::bucket::Backend;

/// Lists every object whose name is a key. Other names, such as hidden ones, are skipped.
pub(crate) fn entries(backend: Arc<Backend>) -> BoxStream<'static, Result<Entry>> {
    let name = backend.place.name();
    let entries = async_stream::try_stream! {
        let mut before: Option<Entry> = None;
        for await found in backend.store.list(backend.place.folder().as_ref()) {
            let found = found.map_err(|error| crate::failure(&backend.place, &name, "cannot list the objects", error))?;
            let Some(key) = backend.place.key(found.location.as_ref()) else {
                continue;
            };
            let entry = Entry { key, bytes: found.size };
            // Callers rely on the order: a listing out of order would look incomplete to them.
            if before.as_ref().is_some_and(|before| before.key >= entry.key) {
                let message = format!("lists \"{}\" out of order", entry.key);
                Err(Error::new(Stage::Ship, Kind::Failed, &name, message)
                    .hint("use an ordinary bucket: directory buckets and hierarchical namespaces list out of order"))?;
            }
            before = Some(entry.clone());
            yield entry;
        }
    };
    entries.boxed()
}
