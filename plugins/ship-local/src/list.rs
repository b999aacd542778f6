//! Lists the files of a destination in the order of keys.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::vec;

use chrono::DateTime;
use futures_util::TryStreamExt;
use futures_util::stream::{self, BoxStream, StreamExt};
use longshore_core::key::Key;
use longshore_core::stage::Entry;
use longshore_core::{Error, Kind, Result, Stage};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use crate::is_not_found;
use crate::root_dir::failure;

/// The number of entries per batch: waking the reader for each would take longer than finding it.
const ENTRIES_AT_ONCE: usize = 256;

/// Returns every file below `root`, or below the folder `under` in it, whose path is a key, in the
/// order of keys, except for those below the folders to skip. Only the folders on the current path
/// are in memory.
pub(crate) fn entries(root: PathBuf, under: Option<&Key>, is_skipped: IsSkipped) -> BoxStream<'static, Result<Entry>> {
    let (sender, receiver) = channel(1);
    let prefix = under.map_or_else(String::new, |folder| format!("{folder}/"));
    let walker = tokio::task::spawn_blocking(move || walk(&root, &prefix, is_skipped, &sender));
    let batches = stream::unfold(Some((receiver, walker)), next_batch);
    batches.map_ok(|batch| stream::iter(batch).map(Ok)).try_flatten().boxed()
}

/// Returns true for a folder to skip, given its path below the root, with a slash at its end.
type IsSkipped = fn(&str) -> bool;

type Walk = (Receiver<Vec<Entry>>, JoinHandle<Result<()>>);

/// Returns the next batch; after the last, the walker's result: only its success ends the list
/// cleanly.
async fn next_batch(walk: Option<Walk>) -> Option<(Result<Vec<Entry>>, Option<Walk>)> {
    let (mut receiver, walker) = walk?;
    if let Some(batch) = receiver.recv().await {
        return Some((Ok(batch), Some((receiver, walker))));
    }
    let result = walker.await.unwrap_or_else(|error| {
        Err(Error::new(Stage::Ship, Kind::Failed, "", "listing the directory was aborted").because(error))
    });
    result.err().map(|error| (Err(error), None))
}

/// A file or folder, with the name that it is sorted by.
struct DirEntry {
    /// The key of a file; for a folder the prefix of its keys, with a slash at the end.
    name: String,
    metadata: Metadata,
}

fn walk(root: &Path, prefix: &str, is_skipped: IsSkipped, sender: &Sender<Vec<Entry>>) -> Result<()> {
    // A folder that is a link leads out of this destination, and a missing one is empty.
    if !prefix.is_empty() && !is_folder(root, prefix)? {
        return Ok(());
    }
    let mut batch = Vec::new();
    let result = walk_folders(root, prefix, is_skipped, sender, &mut batch);
    match sender.blocking_send(batch) {
        Ok(()) => result,
        // The reader was dropped, and with it the receiver of the result.
        Err(_) => Ok(()),
    }
}

/// Returns true if every part of the path of `prefix` below `root` is a folder, and not a link.
fn is_folder(root: &Path, prefix: &str) -> Result<bool> {
    let mut path = root.to_owned();
    for part in prefix.trim_end_matches('/').split('/') {
        path.push(part);
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Ok(false),
            Err(error) if is_not_found(&error) => return Ok(false),
            Err(error) => return Err(failure(&path, "cannot inspect the folder", error)),
        }
    }
    Ok(true)
}

fn walk_folders(
    root: &Path,
    prefix: &str,
    is_skipped: IsSkipped,
    sender: &Sender<Vec<Entry>>,
    batch: &mut Vec<Entry>,
) -> Result<()> {
    let mut stack = vec![read_folder(root, prefix)?];
    while let Some(folder) = stack.last_mut() {
        let Some(entry) = folder.next() else {
            stack.pop();
            continue;
        };
        if entry.metadata.is_dir() {
            if !is_skipped(&entry.name) {
                stack.push(read_folder(root, &entry.name)?);
            }
            continue;
        }
        let modified = entry.metadata.modified().ok().map(DateTime::from);
        batch.push(Entry { key: Key::parse(&entry.name)?, bytes: entry.metadata.len(), modified });
        if batch.len() == ENTRIES_AT_ONCE && sender.blocking_send(std::mem::take(batch)).is_err() {
            // The reader was dropped.
            return Ok(());
        }
    }
    Ok(())
}

/// Returns the content of a folder in the order of keys: a folder sorts by its name and a slash, so
/// `a-b/x` precedes `a/x`.
fn read_folder(root: &Path, prefix: &str) -> Result<vec::IntoIter<DirEntry>> {
    let folder = root.join(prefix);
    let read_error = |error| failure(&folder, "cannot read the directory", error);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        let Some(mut name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}")) else {
            continue;
        };
        // Hidden names are temporary, lock or foreign files, and other names cannot be keys. Both
        // are skipped.
        if Key::parse(&name).is_err() {
            continue;
        }
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // The file was removed after its name was read.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failure(&entry.path(), "cannot inspect the file", error)),
        };
        if metadata.is_dir() {
            name.push('/');
        }
        // Symbolic links are not followed: their targets are outside of this destination.
        if metadata.is_dir() || metadata.is_file() {
            found.push(DirEntry { name, metadata });
        }
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found.into_iter())
}
