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
pub(crate) struct Settling {
    folders: Mutex<HashMap<PathBuf, Arc<Turns>>>,
}

impl Settling {
    /// Flushes the caller's changes in `folder` to disk.
    pub(crate) fn settle(&self, folder: &Path) -> io::Result<()> {
        let turns = {
            let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(folders.entry(folder.to_owned()).or_default())
        };
        turns.settle(|| File::open(folder)?.sync_all())
    }
}

/// The callers that wait for one folder, numbered by arrival.
#[derive(Debug, Default)]
struct Turns {
    came: AtomicU64,
    served: Mutex<Served>,
}

/// The progress: callers before `settled` are done, and those in a failed range receive its error.
#[derive(Debug, Default)]
struct Served {
    settled: u64,
    failed: Vec<(std::ops::Range<u64>, io::ErrorKind)>,
}

impl Turns {
    /// Flushes the folder, unless another caller has flushed it since this one arrived.
    fn settle(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mine = self.came.fetch_add(1, Ordering::SeqCst);
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if mine < served.settled {
            // The kernel reports a failure only once: a second flush would succeed.
            let failed = served.failed.iter().find(|(turn, _)| turn.contains(&mine));
            return failed.map_or(Ok(()), |(_, kind)| Err((*kind).into()));
        }
        let all = served.settled..self.came.load(Ordering::SeqCst);
        let synced = sync();
        served.settled = all.end;
        if let Err(error) = &synced {
            served.failed.push((all, error.kind()));
        }
        synced
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    const WAITING: u64 = 32;

    /// Returns the number of flushes for many callers that arrive during the first, and the result
    /// of each.
    fn crowd(first: fn() -> io::Result<()>) -> (u64, Vec<io::Result<()>>) {
        let (turns, done) = (Turns::default(), AtomicU64::new(0));
        let sync = || {
            if done.fetch_add(1, Ordering::SeqCst) > 0 {
                return Ok(());
            }
            while turns.came.load(Ordering::SeqCst) < WAITING {
                thread::sleep(Duration::from_millis(1));
            }
            first()
        };
        let told = thread::scope(|scope| {
            let all: Vec<_> = (0..WAITING).map(|_| scope.spawn(|| turns.settle(sync))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        (done.into_inner(), told)
    }

    #[test]
    fn those_who_wait_share_what_is_done() {
        let (done, told) = crowd(|| Ok(()));
        assert!(told.iter().all(Result::is_ok));
        assert!(done <= 2, "{done} times for {WAITING}");
    }

    #[test]
    fn who_came_in_time_for_what_failed_hears_of_it() {
        let (_, told) = crowd(|| Err(io::ErrorKind::StorageFull.into()));
        let failed: Vec<_> = told.into_iter().filter_map(Result::err).map(|error| error.kind()).collect();
        assert!(!failed.is_empty() && failed.iter().all(|kind| *kind == io::ErrorKind::StorageFull), "{failed:?}");
    }

    #[test]
    fn who_comes_later_is_served_anew() {
        let (turns, done) = (Turns::default(), AtomicU64::new(0));
        for times in 1..4 {
            turns
                .settle(|| {
                    done.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                })
                .unwrap();
            assert_eq!(done.load(Ordering::SeqCst), times);
        }
    }

    #[test]
    fn what_failed_once_fails_nobody_later() {
        let turns = Turns::default();
        turns.settle(|| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        turns.settle(|| Ok(())).unwrap();
    }
}
