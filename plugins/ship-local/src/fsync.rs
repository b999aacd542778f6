//! Flushes directories to disk, once for all concurrent callers: a prune that removes a hundred
//! files of a series waits for the disk a few times, not a hundred times.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The flushes of the folders of one destination.
#[derive(Debug, Default)]
pub(crate) struct DirSync {
    folders: Mutex<HashMap<PathBuf, Arc<FolderSync>>>,
}

impl DirSync {
    /// Flushes the caller's changes in `folder` to disk.
    pub(crate) fn fsync(&self, folder: &Path) -> io::Result<()> {
        let folder_sync = {
            let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(folders.entry(folder.to_owned()).or_default())
        };
        folder_sync.fsync(|| File::open(folder)?.sync_all())
    }
}

/// The callers that wait for one folder, numbered by arrival.
#[derive(Debug, Default)]
struct FolderSync {
    arrivals: AtomicU64,
    progress: Mutex<Progress>,
}

/// The flushes so far: callers before `synced_callers` are done, and callers in a failed range
/// receive its error.
#[derive(Debug, Default)]
struct Progress {
    synced_callers: u64,
    failed: Vec<(std::ops::Range<u64>, io::ErrorKind)>,
}

impl FolderSync {
    /// Flushes the folder, unless another caller has flushed it since this one arrived.
    fn fsync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let own_turn = self.arrivals.fetch_add(1, Ordering::SeqCst);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if own_turn < progress.synced_callers {
            // The kernel reports a failure only once: a second flush would succeed.
            let failed = progress.failed.iter().find(|(turn, _)| turn.contains(&own_turn));
            return failed.map_or(Ok(()), |(_, kind)| Err((*kind).into()));
        }
        let batch = progress.synced_callers..self.arrivals.load(Ordering::SeqCst);
        let result = sync();
        progress.synced_callers = batch.end;
        if let Err(error) = &result {
            progress.failed.push((batch, error.kind()));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    const CALLERS: u64 = 32;

    /// Returns the number of flushes for many callers that arrive during the first, and the result
    /// of each.
    fn fsync_concurrently(first: fn() -> io::Result<()>) -> (u64, Vec<io::Result<()>>) {
        let (folder_sync, flushes) = (FolderSync::default(), AtomicU64::new(0));
        let sync = || {
            if flushes.fetch_add(1, Ordering::SeqCst) > 0 {
                return Ok(());
            }
            while folder_sync.arrivals.load(Ordering::SeqCst) < CALLERS {
                thread::sleep(Duration::from_millis(1));
            }
            first()
        };
        let results = thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| folder_sync.fsync(sync))).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        (flushes.into_inner(), results)
    }

    #[test]
    fn concurrent_callers_share_flushes() {
        let (flushes, results) = fsync_concurrently(|| Ok(()));
        assert!(results.iter().all(Result::is_ok));
        assert!(flushes <= 2, "{flushes} times for {CALLERS}");
    }

    #[test]
    fn waiting_callers_receive_the_error() {
        let (_, results) = fsync_concurrently(|| Err(io::ErrorKind::StorageFull.into()));
        let failed: Vec<_> = results.into_iter().filter_map(Result::err).map(|error| error.kind()).collect();
        assert!(!failed.is_empty() && failed.iter().all(|kind| *kind == io::ErrorKind::StorageFull), "{failed:?}");
    }

    #[test]
    fn later_callers_flush_again() {
        let (folder_sync, flushes) = (FolderSync::default(), AtomicU64::new(0));
        for times in 1..4 {
            folder_sync
                .fsync(|| {
                    flushes.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                })
                .unwrap();
            assert_eq!(flushes.load(Ordering::SeqCst), times);
        }
    }

    #[test]
    fn failures_do_not_affect_later_callers() {
        let folder_sync = FolderSync::default();
        folder_sync.fsync(|| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        folder_sync.fsync(|| Ok(())).unwrap();
    }
}
