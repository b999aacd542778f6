//! The walk through a destination, in the order of its keys.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::vec;

use futures_util::TryStreamExt;
use futures_util::stream::{self, BoxStream, StreamExt};
use longshore_core::key::Key;
use longshore_core::stage::Entry;
use longshore_core::{Error, Kind, Result, Stage};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use crate::root::failure;

/// How many entries are handed over at a time: to wake the reader for each would take longer than to find it.
const ENTRIES_AT_ONCE: usize = 256;

/// Every file below `root` that is a key's, in the order of keys. What a folder holds is in memory while it is walked, no more.
pub(crate) fn entries(root: PathBuf) -> BoxStream<'static, Result<Entry>> {
    let (sender, receiver) = channel(1);
    let walker = tokio::task::spawn_blocking(move || walk(&root, &sender));
    let batches = stream::unfold(Some((receiver, walker)), next);
    batches.map_ok(|batch| stream::iter(batch).map(Ok)).try_flatten().boxed()
}

type Walk = (Receiver<Vec<Entry>>, JoinHandle<Result<()>>);

/// The next entries; at the end of them, what the walker says: only its word makes a clean end.
async fn next(walk: Option<Walk>) -> Option<(Result<Vec<Entry>>, Option<Walk>)> {
    let (mut receiver, walker) = walk?;
    if let Some(batch) = receiver.recv().await {
        return Some((Ok(batch), Some((receiver, walker))));
    }
    let ended = walker.await.unwrap_or_else(|error| {
        Err(Error::new(Stage::Ship, Kind::Failed, "", "the walk through the directory was cut").because(error))
    });
    ended.err().map(|error| (Err(error), None))
}

/// Something in a folder, under the name that it is sorted by.
struct Found {
    /// The key of a file; what the keys in a folder begin with, slash included.
    name: String,
    metadata: Metadata,
}

fn walk(root: &Path, sender: &Sender<Vec<Entry>>) -> Result<()> {
    let mut batch = Vec::new();
    let walked = walk_on(root, sender, &mut batch);
    match sender.blocking_send(batch) {
        Ok(()) => walked,
        // Nobody reads on, nor hears how it ended.
        Err(_) => Ok(()),
    }
}

fn walk_on(root: &Path, sender: &Sender<Vec<Entry>>, batch: &mut Vec<Entry>) -> Result<()> {
    let mut ways = vec![read(root, "")?];
    while let Some(way) = ways.last_mut() {
        let Some(found) = way.next() else {
            ways.pop();
            continue;
        };
        if found.metadata.is_dir() {
            ways.push(read(root, &found.name)?);
            continue;
        }
        batch.push(Entry { key: Key::parse(&found.name)?, bytes: found.metadata.len() });
        if batch.len() == ENTRIES_AT_ONCE && sender.blocking_send(std::mem::take(batch)).is_err() {
            // Nobody reads on.
            return Ok(());
        }
    }
    Ok(())
}

/// What a folder holds, sorted as keys are: a folder sorts by its name and a slash, so `a-b/x` comes before `a/x`.
fn read(root: &Path, prefix: &str) -> Result<vec::IntoIter<Found>> {
    let folder = root.join(prefix);
    let unread = |error| failure(&folder, "cannot read the directory", error);
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let Some(mut name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}")) else {
            continue;
        };
        // Hidden names are ours or others' affairs; other names are nobody's keys. Neither is looked at any closer.
        if Key::parse(&name).is_err() {
            continue;
        }
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Removed since its name was read.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failure(&entry.path(), "cannot look at it", error)),
        };
        if metadata.is_dir() {
            name.push('/');
        }
        // Links are not followed: what is behind them is not this destination's.
        if metadata.is_dir() || metadata.is_file() {
            all.push(Found { name, metadata });
        }
    }
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(all.into_iter())
}
