//! Lists the files of a destination in the order of keys, and the leftovers of interrupted writers.

use std::sync::Arc;
use std::vec;

use chrono::{DateTime, Utc};
use futures_util::stream::{BoxStream, StreamExt};
use longshore_core::Result;
use longshore_core::key::Key;
use longshore_core::stage::{Entry, Leftover};
use longshore_core::temp_name::is_temp_name;
use openssh_sftp_client::metadata::MetaData;

use crate::failure;
use crate::root_dir::RootDir;
use crate::session::Session;

/// A file or folder in the destination.
#[derive(Debug)]
pub(crate) struct DirEntry {
    /// The name; that of a folder ends with a slash.
    name: String,
    metadata: MetaData,
}

impl DirEntry {
    /// Returns the file as an entry, if its name is a key.
    fn entry(self) -> Option<Entry> {
        let modified = self.metadata.modified().map(|time| time.as_system_time().into());
        Some(Entry { key: Key::parse(&self.name).ok()?, bytes: self.metadata.len()?, modified })
    }

    /// Returns the file as a leftover, if its name is that of a temporary file.
    pub(crate) fn leftover(self) -> Option<Leftover> {
        let since: DateTime<Utc> = self.metadata.modified()?.as_system_time().into();
        is_temp_name(&self.name).then(|| Leftover { bytes: self.metadata.len(), name: self.name, since })
    }
}

/// Returns true for a folder to skip, given its path below the root, with a slash at its end.
type IsSkipped = fn(&str) -> bool;

/// Returns every file whose name is a key, in the order of keys, or those below the folder `under`,
/// except for those below the folders to skip.
pub(crate) fn entries(
    root: RootDir,
    session: Arc<Session>,
    under: Option<&Key>,
    is_skipped: IsSkipped,
) -> BoxStream<'static, Result<Entry>> {
    let prefix = under.map_or_else(String::new, |folder| format!("{folder}/"));
    let entries =
        files(root, session, prefix, is_skipped).filter_map(async |entry| entry.map(DirEntry::entry).transpose());
    entries.boxed()
}

/// Returns every file below the folder `prefix` whose name is that of a key or of a temporary file.
/// Only the folders on the current path are in memory.
pub(crate) fn files(
    root: RootDir,
    session: Arc<Session>,
    prefix: String,
    is_skipped: IsSkipped,
) -> BoxStream<'static, Result<DirEntry>> {
    let files = async_stream::try_stream! {
        let mut stack = Vec::new();
        if is_folder(&root, &session, &prefix).await? {
            stack.push(read_folder(&root, &session, &prefix).await?);
        }
        while let Some(folder) = stack.last_mut() {
            let Some(entry) = folder.next() else {
                stack.pop();
                continue;
            };
            if is_skipped(&entry.name) {
                continue;
            }
            if entry.name.ends_with('/') {
                let folder = read_folder(&root, &session, &entry.name).await?;
                stack.push(folder);
            } else {
                yield entry;
            }
        }
    };
    files.boxed()
}

/// Returns true if every part of the path of `prefix` is a folder, and not a link. A missing folder
/// is empty.
async fn is_folder(root: &RootDir, session: &Arc<Session>, prefix: &str) -> Result<bool> {
    for (end, _) in prefix.match_indices('/') {
        let path = root.path(&prefix[..end]);
        match session.fs().symlink_metadata(&path).await {
            Ok(metadata) if metadata.file_type().is_some_and(|kind| kind.is_dir()) => {}
            Ok(_) => return Ok(false),
            Err(error) if failure::is_not_found(&error) => return Ok(false),
            Err(error) => return Err(root.failure(session, &path, "cannot inspect the folder", error).await),
        }
    }
    Ok(true)
}

/// Returns the world-writable folders.
pub(crate) async fn world_writable_folders(root: &RootDir, session: &Arc<Session>) -> Result<Vec<String>> {
    let mut exposed = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in read_folder(root, session, &folder).await?.filter(|entry| entry.name.ends_with('/')) {
            if entry.metadata.permissions().is_some_and(|permissions| permissions.write_by_other()) {
                exposed.push(entry.name.clone());
            }
            folders.push(entry.name);
        }
    }
    Ok(exposed)
}

/// Returns the content of a folder in the order of keys: a folder sorts by its name and a slash, so
/// `a-b/x` precedes `a/x`.
async fn read_folder(root: &RootDir, session: &Arc<Session>, prefix: &str) -> Result<vec::IntoIter<DirEntry>> {
    let folder = root.path(prefix);
    let mut entries = match session.fs().open_dir(&folder).await {
        Ok(folder) => Box::pin(folder.read_dir()),
        Err(error) => return Err(root.failure(session, &folder, "cannot read the directory", error).await),
    };
    let mut found = Vec::new();
    while let Some(entry) = entries.next().await {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Err(root.failure(session, &folder, "cannot read the directory", error).await),
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
            found.push(DirEntry { name, metadata });
        } else if kind.is_file() && (Key::parse(&name).is_ok() || is_temp_name(&name)) {
            found.push(DirEntry { name, metadata });
        }
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found.into_iter())
}
