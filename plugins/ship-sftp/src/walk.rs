//! Lists the files of a destination in the order of keys, and the leftovers of interrupted writers.

use std::sync::Arc;
use std::vec;

use chrono::{DateTime, Utc};
use futures_util::stream::{BoxStream, StreamExt};
use longshore_core::Result;
use longshore_core::draft::is_draft;
use longshore_core::key::Key;
use longshore_core::stage::{Entry, Leftover};
use openssh_sftp_client::metadata::MetaData;

use crate::link::Link;
use crate::root::Root;

/// A file or folder in the destination.
#[derive(Debug)]
pub(crate) struct Found {
    /// The name; that of a folder ends with a slash.
    name: String,
    metadata: MetaData,
}

impl Found {
    /// Returns the file as an entry, if its name is a key.
    fn entry(self) -> Option<Entry> {
        Some(Entry { key: Key::parse(&self.name).ok()?, bytes: self.metadata.len()? })
    }

    /// Returns the file as a leftover, if its name is a draft's.
    pub(crate) fn leftover(self) -> Option<Leftover> {
        let since: DateTime<Utc> = self.metadata.modified()?.as_system_time().into();
        is_draft(&self.name).then(|| Leftover { bytes: self.metadata.len(), name: self.name, since })
    }
}

/// Returns every file whose name is a key, in the order of keys.
pub(crate) fn entries(root: Root, link: Arc<Link>) -> BoxStream<'static, Result<Entry>> {
    let entries = files(root, link).filter_map(async |found| found.map(Found::entry).transpose());
    entries.boxed()
}

/// Returns every file whose name is a key or a draft's. Only the folders on the current path are in
/// memory.
pub(crate) fn files(root: Root, link: Arc<Link>) -> BoxStream<'static, Result<Found>> {
    let files = async_stream::try_stream! {
        let top = read(&root, &link, "").await?;
        let mut ways = vec![top];
        while let Some(way) = ways.last_mut() {
            let Some(found) = way.next() else {
                ways.pop();
                continue;
            };
            if found.name.ends_with('/') {
                let way = read(&root, &link, &found.name).await?;
                ways.push(way);
            } else {
                yield found;
            }
        }
    };
    files.boxed()
}

/// Returns the world-writable folders.
pub(crate) async fn exposed_folders(root: &Root, link: &Arc<Link>) -> Result<Vec<String>> {
    let mut exposed = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for found in read(root, link, &folder).await?.filter(|found| found.name.ends_with('/')) {
            if found.metadata.permissions().is_some_and(|permissions| permissions.write_by_other()) {
                exposed.push(found.name.clone());
            }
            folders.push(found.name);
        }
    }
    Ok(exposed)
}

/// Returns the content of a folder in the order of keys: a folder sorts by its name and a slash, so
/// `a-b/x` precedes `a/x`.
async fn read(root: &Root, link: &Arc<Link>, prefix: &str) -> Result<vec::IntoIter<Found>> {
    let folder = root.path(prefix);
    let mut entries = match link.fs().open_dir(&folder).await {
        Ok(folder) => Box::pin(folder.read_dir()),
        Err(error) => return Err(root.failure(link, &folder, "cannot read the directory", error).await),
    };
    let mut all = Vec::new();
    while let Some(entry) = entries.next().await {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Err(root.failure(link, &folder, "cannot read the directory", error).await),
        };
        let Some(mut name) = entry.filename().to_str().map(|name| format!("{prefix}{name}")) else {
            continue;
        };
        let metadata = entry.metadata();
        let Some(kind) = metadata.file_type() else {
            continue;
        };
        // Symbolic links are not followed: their targets are outside of this destination. Other
        // names cannot be keys.
        if kind.is_dir() && Key::parse(&name).is_ok() {
            name.push('/');
            all.push(Found { name, metadata });
        } else if kind.is_file() && (Key::parse(&name).is_ok() || is_draft(&name)) {
            all.push(Found { name, metadata });
        }
    }
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(all.into_iter())
}
