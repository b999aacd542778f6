//! Listings of a destination in key order, page by page.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use longshore_core::stage::Entry;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::ObjectStore;
use object_store::path::Path;

use crate::bucket::Backend;
use crate::error::convert_error;

/// Lists every object below `folder` whose name is a key. Other names, such as hidden ones, are
/// skipped.
pub(crate) fn entries(backend: Arc<Backend>, folder: Option<Path>) -> BoxStream<'static, Result<Entry>> {
    let url = backend.location.url();
    let entries = async_stream::try_stream! {
        let mut previous: Option<Entry> = None;
        for await object in backend.store.list(folder.as_ref()) {
            let object = object.map_err(|error| convert_error(&backend.location, &url, "cannot list the objects", error))?;
            let Some(key) = backend.location.key(object.location.as_ref()) else {
                continue;
            };
            let entry = Entry { key, bytes: object.size, modified: Some(object.last_modified) };
            // Callers rely on the order: a listing out of order would look incomplete to them.
            if previous.as_ref().is_some_and(|previous| previous.key >= entry.key) {
                let message = format!("lists \"{}\" out of order", entry.key);
                Err(Error::new(Stage::Ship, Kind::Failed, &url, message)
                    .hint("use an ordinary bucket: directory buckets and hierarchical namespaces list out of order"))?;
            }
            previous = Some(entry.clone());
            yield entry;
        }
    };
    entries.boxed()
}
