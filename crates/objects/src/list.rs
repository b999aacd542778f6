//! Listings of a destination in key order, page by page.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use longshore_core::key::Key;
use longshore_core::stage::Entry;
use longshore_core::wal_key::{archive_folder, is_in_archive};
use longshore_core::{Error, Kind, Result, Stage};
use object_store::ObjectStore;
use object_store::path::Path;

use crate::bucket::Backend;
use crate::error::convert_error;

/// The objects to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    All,
    /// All but those of WAL archives, which are not even requested, except for the first ones.
    WithoutWal,
}

/// Lists every object below `folder` whose name is a key. Other names, such as hidden ones, are
/// skipped.
pub(crate) fn entries(
    backend: Arc<Backend>,
    folder: Option<Path>,
    contents: Contents,
) -> BoxStream<'static, Result<Entry>> {
    let url = backend.location.url();
    let entries = async_stream::try_stream! {
        let mut previous: Option<Entry> = None;
        let mut objects = backend.store.list(folder.as_ref());
        let mut offset: Option<Path> = None;
        while let Some(object) = objects.next().await {
            let object = object.map_err(|error| convert_error(&backend.location, &url, "cannot list the objects", error))?;
            // Some servers ignore the offset, and list from the start.
            if offset.as_ref().is_some_and(|offset| object.location <= *offset) {
                continue;
            }
            let Some(key) = backend.location.key(object.location.as_ref()) else {
                continue;
            };
            if contents == Contents::WithoutWal && is_in_archive(&key) {
                let end = archive_end(&backend, &key)?;
                if end > object.location {
                    objects = backend.store.list_with_offset(folder.as_ref(), &end);
                    offset = Some(end);
                }
                continue;
            }
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

/// Returns a location after those of all files of the archive that contains a key: the names of
/// their folders begin with hexadecimal digits or with "history".
fn archive_end(backend: &Backend, key: &Key) -> Result<Path> {
    let end = format!("{}zzzz", archive_folder(key).unwrap_or_default());
    backend.location.path(&Key::parse(&end)?)
}
